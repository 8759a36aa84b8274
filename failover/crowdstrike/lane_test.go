package crowdstrike

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
)

// disk is a spool that can be slow, and fail.
type disk struct {
	mu      sync.Mutex
	puts    []int
	offsets []uint64
	story   []string
	delay   time.Duration
	fail    func() error
}

func (d *disk) put(ctx context.Context, _ string, events ...siem.Event) error {
	select {
	case <-time.After(d.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	if d.fail != nil {
		if err := d.fail(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.puts = append(d.puts, len(events))
	for _, e := range events {
		d.offsets = append(d.offsets, e.Offset)
		d.story = append(d.story, fmt.Sprint(e.Offset))
	}
	return nil
}

func (d *disk) bury(_ context.Context, _ string, offset uint64, _ []byte, cause error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.story = append(d.story, fmt.Sprintf("%d %v", offset, cause))
	return nil
}

// lanes runs a test with the way of a stream's events to a disk.
func lanes(t *testing.T, d *disk, test func(*testing.T, *partitions)) {
	synctest.Test(t, func(t *testing.T) {
		p := &partitions{put: d.put, bury: d.bury, lanes: map[int]*lane{}}
		p.ctx, p.stop = context.WithCancelCause(t.Context())
		defer p.wg.Wait()
		defer p.stop(nil)
		test(t, p)
	})
}

func offsets(from, n int) (events []falcon.Event, numbers []uint64) {
	for i := from; i < from+n; i++ {
		events = append(events, falcon.Event{Offset: int64(i), CID: "c", Raw: make([]byte, 1000)})
		numbers = append(numbers, uint64(i))
	}
	return events, numbers
}

// A sync for every event would be a disk's whole strength.
func TestATrickleIsPutTogether(t *testing.T) {
	d := &disk{}
	lanes(t, d, func(t *testing.T, p *partitions) {
		for n := range 1000 { // in two seconds
			some, _ := offsets(n+1, 1)
			if err := p.handle(t.Context(), some); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(groupWait)
		synctest.Wait()
		if n := len(d.puts); n > 2000/25+1 || len(d.offsets) != 1000 {
			t.Errorf("%d puts of %d events", n, len(d.offsets))
		}
	})
}

// While one group is put the next one is read, and no more than that.
func TestWhatWaitsIsBounded(t *testing.T) {
	d := &disk{delay: time.Second}
	lanes(t, d, func(t *testing.T, p *partitions) {
		handed, from := 0, 1
		var want []uint64
		go func() {
			for from < 10_000 {
				some, numbers := offsets(from, 50)
				if p.handle(p.ctx, some) != nil {
					return
				}
				want = append(want, numbers...)
				from, handed = from+50, handed+50
			}
		}()
		synctest.Wait()
		if handed != 1600 { // 800 KB in the put, 800 KB behind it
			t.Errorf("%d events are in memory", handed)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !slices.Equal(d.offsets, want) || len(want) < 9_999 {
			t.Errorf("%d events of %d, or not in order", len(d.offsets), len(want))
		}
		if d.puts[0] != 800 {
			t.Errorf("the puts have %v", d.puts)
		}
	})
}

// A disk that fails for a moment is no reason to give up Falcon's session. One that
// goes on failing ends the reading, also of partitions that are quiet.
func TestADiskThatFails(t *testing.T) {
	bad := errors.New("input/output error")
	n := 0
	d := &disk{fail: func() error {
		if n++; n <= 2 || n > 3 {
			return bad
		}
		return nil
	}}
	lanes(t, d, func(t *testing.T, p *partitions) {
		some, want := offsets(1, 3)
		if err := p.handle(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if !slices.Equal(d.offsets, want) || p.ctx.Err() != nil {
			t.Fatalf("put %v, ended with %v", d.offsets, context.Cause(p.ctx))
		}
		some, _ = offsets(4, 1)
		if err := p.handle(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := context.Cause(p.ctx); !errors.Is(err, bad) {
			t.Errorf("ended with %v", err)
		}
	})
}

// The cursor must not pass a bad line before it is in the dead letters.
func TestBadLinesAreBuriedFirst(t *testing.T) {
	d := &disk{}
	lanes(t, d, func(t *testing.T, p *partitions) {
		some, _ := offsets(1, 3)
		some[1].Err = errors.New("malformed")
		some = append(some, falcon.Event{Offset: -1, Err: errors.New("too long")})
		if err := p.handle(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if want := []string{"2 malformed", "0 too long", "1", "3"}; !slices.Equal(d.story, want) {
			t.Errorf("got %q, want %q", d.story, want)
		}
	})
}

// With Newest Falcon is asked for what follows: unless the first event's offset is
// remembered, a failed put of it loses it.
func TestNewestRemembersWhereItBegan(t *testing.T) {
	s := Events(nil, EventsConfig{Newest: true}).(*events)
	some, _ := offsets(7, 2)
	bad := falcon.Event{Offset: 5, Err: errors.New("malformed")}
	s.note(append([]falcon.Event{bad}, some...))
	s.note([]falcon.Event{{Offset: 9}})
	if after, ok := s.after(0, 0, false); !ok || after != 6 {
		t.Errorf("it begins behind %d, %v", after, ok)
	}
	if after, ok := s.after(0, 8, true); !ok || after != 8 {
		t.Errorf("what is stored does not count: %d, %v", after, ok)
	}
	if _, ok := s.after(1, 0, false); ok {
		t.Error("it knows of a partition that had no event")
	}
}
