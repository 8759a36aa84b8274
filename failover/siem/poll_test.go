package siem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
)

// ledger is a cloud in which things change.
type ledger struct {
	mu     sync.Mutex
	things []thing
	polls  []time.Time // since
	fail   func(row int) error
}

type thing struct {
	Change
	visible time.Time
}

// change notes a change that can be seen after a while.
func (l *ledger) change(id string, at time.Time, after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	raw := fmt.Sprintf(`{"id":%q}`, id)
	l.things = append(l.things, thing{Change{ID: id, Updated: at, Type: "Thing", Raw: json.RawMessage(raw)}, at.Add(after)})
}

func (l *ledger) bad(raw string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.things = append(l.things, thing{Change{Raw: json.RawMessage(raw), Err: errors.New("a bad row")}, time.Now()})
}

// list has the newest on top, as vendors do.
func (l *ledger) list(_ context.Context, since time.Time) iter.Seq2[Change, error] {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.polls = append(l.polls, since)
	var out []Change
	for _, t := range slices.Backward(l.things) {
		if !t.visible.After(time.Now()) && (t.Err != nil || !t.Updated.Before(since)) {
			out = append(out, t.Change)
		}
	}
	if len(out) > 1 { // rows move to the next page while it is read
		out = slices.Insert(out, len(out)/2+1, out[len(out)/2])
	}
	fail := l.fail
	return func(yield func(Change, error) bool) {
		for i, c := range out {
			if fail != nil {
				if err := fail(i); err != nil {
					yield(Change{}, err)
					return
				}
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (l *ledger) asked() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.polls)
}

// ids are those of what has changed, as events.
func (l *ledger) ids() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.things {
		if t.Err == nil {
			out = append(out, t.ID+":"+t.Updated.UTC().Format(time.RFC3339Nano))
		}
	}
	return out
}

// sameOnce wants every change at the sink, once.
func sameOnce(t *testing.T, l *ledger, sink *toySink) {
	t.Helper()
	want, got := l.ids(), sink.got()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %d rows %.300v, want %d %.300v", len(got), got, len(want), want)
	}
}

func polling(t *testing.T, l *ledger, sink *toySink, dir string) (*Pump, func()) {
	t.Helper()
	return running(t, Config{Dir: dir, Sources: []Source{&Poll{Source: "list", Changed: l.list}}, Sinks: members(sink)})
}

func TestPollEveryChangeArrivesOnceAlsoLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink := &ledger{}, &toySink{}
		start := time.Now()
		l.change("a", start.Add(-23*time.Hour), 0)
		_, stop := polling(t, l, sink, memory(t))
		defer stop()
		time.Sleep(time.Second)
		if since := l.asked()[0]; !since.Equal(start.Add(-24 * time.Hour)) {
			t.Errorf("the first poll was from %v on", since)
		}
		for i := range 600 { // ten minutes
			at := time.Now()
			l.change(fmt.Sprint(i%7), at, time.Duration(i%5)*time.Minute)
			l.change(fmt.Sprint("twin", i), at, 0)
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Minute)
		sameOnce(t, l, sink)
		if n := len(l.asked()); n < 20 || n > 22 {
			t.Errorf("%d polls in 20 minutes", n)
		}
		polls := l.asked()
		if last := polls[len(polls)-1]; last.Before(start.Add(10*time.Minute-5*time.Minute-2*time.Second)) || last.After(start.Add(5*time.Minute)) {
			t.Errorf("the last poll was from %v on, %v after the start", last, last.Sub(start))
		}
	})
}

// The process is stopped, and another one goes on where it was.
func TestPollRemembersOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink, dir := &ledger{}, &toySink{}, memory(t)
		begun := time.Now()
		_, stop := polling(t, l, sink, dir)
		time.Sleep(time.Minute)
		stop()
		for i := range 5 { // nothing has happened: the first poll goes back as far as ever
			time.Sleep(20 * time.Hour)
			l.change(fmt.Sprint("first", i), time.Now().Add(-time.Hour), 0)
		}
		for range 10 {
			_, stop := polling(t, l, sink, dir)
			time.Sleep(time.Second)
			if since := l.asked()[1]; !since.Equal(begun.Add(-24 * time.Hour)) {
				t.Errorf("from %v on", since)
			}
			for i := range 3 {
				l.change(fmt.Sprint(i), time.Now(), time.Duration(i)*time.Minute)
			}
			time.Sleep(90 * time.Second)
			stop()
		}
		_, stop = polling(t, l, sink, dir)
		time.Sleep(10 * time.Minute)
		stop()
		sameOnce(t, l, sink)
	})
}

// A list that breaks off has told nothing: what was in its first half may be newer than
// what was to come.
func TestPollAListThatBreaksOffLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink := &ledger{}, &toySink{}
		for i := range 100 {
			l.change(fmt.Sprint(i), time.Now().Add(time.Duration(i-200)*time.Minute), 0)
		}
		broken := true
		l.fail = func(row int) error {
			if row == 50 && broken {
				return errors.New("503")
			}
			return nil
		}
		p, stop := polling(t, l, sink, memory(t))
		defer stop()
		time.Sleep(10 * time.Minute)
		if n := p.counts.spooled.Load(); n != 0 {
			t.Errorf("%d events of half a list", n)
		}
		l.mu.Lock()
		broken = false
		l.mu.Unlock()
		time.Sleep(10 * time.Minute)
		sameOnce(t, l, sink)
	})
}

func TestPollBadRowsAreBuriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink, dir := &ledger{}, &toySink{}, memory(t)
		l.change("a", time.Now().Add(-time.Hour), 0)
		l.bad(`{"id":`)
		l.bad(`{"other":1}`)
		for range 3 {
			_, stop := polling(t, l, sink, dir)
			time.Sleep(10 * time.Minute)
			l.change("b", time.Now(), 0)
			time.Sleep(10 * time.Minute)
			stop()
		}
		sameOnce(t, l, sink)
		undated := []Change{{ID: "undated", Raw: json.RawMessage(`{}`)}, {Updated: time.Now(), Raw: json.RawMessage(`{"nobody":1}`)}}
		_, stop := running(t, Config{Dir: dir, Sinks: members(sink), Sources: []Source{&Poll{
			Source: "other", Changed: func(context.Context, time.Time) iter.Seq2[Change, error] {
				return func(yield func(Change, error) bool) { _ = yield(undated[0], nil) && yield(undated[1], nil) }
			},
		}}})
		time.Sleep(5 * time.Minute)
		stop()
		dead := letters(t, dir)
		n := 0
		for _, l := range dead {
			if l.Reason == errUndated.Error() {
				n++
			}
		}
		if len(dead) != 4 || n != 2 {
			t.Errorf("%d dead letters, %d without a date: %+v", len(dead), n, dead)
		}
	})
}

// A row that is dated wrongly must not hide what happens until then.
func TestPollATimeToComeHidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink := &ledger{}, &toySink{}
		_, stop := polling(t, l, sink, memory(t))
		defer stop()
		time.Sleep(time.Minute)
		l.change("2099", time.Now().AddDate(70, 0, 0), 0)
		l.things[0].visible = time.Now()
		for i := range 60 {
			l.change(fmt.Sprint(i), time.Now(), 0)
			time.Sleep(time.Minute)
		}
		time.Sleep(2 * time.Minute)
		sameOnce(t, l, sink)
	})
}

// More than fits into memory comes piece by piece, the oldest first.
func TestPollALongBacklogIsReadInPieces(t *testing.T) {
	var b backlog
	raw := json.RawMessage(`{"x":"` + strings.Repeat("x", 10_000) + `"}`)
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	const n = 10_000
	for i := range n {
		b.add(Change{ID: fmt.Sprint(i), Updated: begin.Add(time.Duration(i*7919%n) * time.Second), Raw: raw})
		if b.bytes > 2*pollBytes {
			t.Fatalf("%d bytes", b.bytes)
		}
	}
	b.cut(pollBytes)
	if !b.more || b.bytes > pollBytes || len(b.changes) < pollBytes/11_000 {
		t.Errorf("%d changes of %d bytes", len(b.changes), b.bytes)
	}
	for i, c := range b.changes {
		if !c.Updated.Equal(begin.Add(time.Duration(i) * time.Second)) {
			t.Fatalf("change %d is of %v", i, c.Updated)
		}
	}
	// What is dropped must not be passed by something newer that is small enough.
	b = backlog{}
	for i, size := range []int{pollBytes - 10_000, pollBytes, pollBytes, 100} {
		b.add(Change{ID: fmt.Sprint(i), Updated: begin.Add(time.Duration(i) * time.Second), Raw: make(json.RawMessage, size)})
	}
	if b.cut(pollBytes); !b.more || len(b.changes) != 1 || b.changes[0].ID != "0" {
		t.Errorf("%d changes", len(b.changes))
	}
	synctest.Test(t, func(t *testing.T) {
		l, sink := &ledger{}, &toySink{}
		for i := range 3000 {
			l.change(fmt.Sprint(i), time.Now().Add(time.Duration(i*977%3000-4000)*time.Second), 0)
			l.things[i].Raw = raw
			if i%3 == 0 {
				l.things[i].Updated = time.Now().Add(-time.Hour) // very many at once
			}
		}
		_, stop := polling(t, l, sink, memory(t))
		defer stop()
		time.Sleep(30 * time.Second)
		sameOnce(t, l, sink)
		if n := len(l.asked()); n < 4 || n > 8 {
			t.Errorf("%d polls", n)
		}
	})
}

// The spool has lost its tail: what was in it is put again, though it was put before.
func TestPollForgetsWhatTheSpoolHasLost(t *testing.T) {
	r := pollRecord{}
	m := &pollMemory{seen: map[mark]uint64{{1}: 10, {2}: 20, {3}: 0}}
	for k, offset := range m.seen {
		r.Seen = append(append(r.Seen, k[:]...), byte(offset), 0, 0, 0, 0, 0, 0, 0)
	}
	if got := r.marks(15); len(got) != 2 || got[mark{1}] != 10 {
		t.Errorf("got %v", got)
	}
}

// The standby knows the offset, and not what was put: it puts some again, and misses none.
func TestPollAStandbyMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, shared := &ledger{}, kv.NewMemory()
		var sinks [2]toySink
		var stops [2]func()
		for i := range sinks {
			_, stops[i] = running(t, Config{
				Dir: memory(t), Sources: []Source{&Poll{Source: "list", Changed: l.list}}, Sinks: members(&sinks[i]),
				Lease: &Lease{Store: shared, Key: "k", Holder: fmt.Sprint(i)},
			})
			defer stops[i]()
			time.Sleep(time.Second)
		}
		for i := range 100 {
			l.change(fmt.Sprint(i), time.Now(), time.Duration(i%5)*time.Minute)
			time.Sleep(10 * time.Second)
			if i == 50 {
				stops[0]()
			}
		}
		time.Sleep(10 * time.Minute)
		first, second := sinks[0].got(), sinks[1].got()
		all := append(first, second...)
		slices.Sort(all)
		copies := len(all)
		all = slices.Compact(all)
		want := l.ids()
		slices.Sort(want)
		if copies -= len(all); !slices.Equal(all, want) || copies > 40 {
			t.Errorf("%d changes and %d copies of %d", len(all), copies, len(want))
		}
		if len(first) < 30 || len(second) < 40 {
			t.Errorf("%d and %d", len(first), len(second))
		}
	})
}

// A record that cannot be read costs copies, and nothing else.
func TestPollWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink, dir := &ledger{}, &toySink{}, memory(t)
		l.change("a", time.Now(), 0)
		for range 2 {
			_, stop := polling(t, l, sink, dir)
			time.Sleep(time.Minute)
			stop()
			store, err := kv.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			e, err := store.Get(t.Context(), "siem/poll/list")
			if err == nil {
				_, err = store.Put(t.Context(), "siem/poll/list", []byte("?"), e.Rev)
			}
			if err := errors.Join(err, store.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if got := sink.got(); len(got) != 2 || got[0] != got[1] {
			t.Errorf("got %v", got)
		}
	})
}

func TestPollErrorsNameTheField(t *testing.T) {
	l := &ledger{}
	for field, p := range map[string]*Poll{
		"Poll.Changed": {Source: "list"},
		"Poll.Every":   {Source: "list", Changed: l.list, Every: -1},
		"Overlap":      {Source: "list", Changed: l.list, Overlap: -1},
		"Sources[0]":   {Changed: l.list},
	} {
		if _, err := Open(Config{Dir: memory(t), Sources: []Source{p}, Sinks: members(&toySink{})}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func FuzzPollRecord(f *testing.F) {
	f.Add(make([]byte, 100), uint64(7))
	f.Fuzz(func(t *testing.T, seen []byte, stored uint64) {
		r := pollRecord{Seen: seen}
		for _, offset := range r.marks(stored) {
			if offset > stored {
				t.Error("an offset that is not stored")
			}
		}
	})
}

// A list that leaves out for once what it had before makes no copies.
func TestPollRowsThatComeBackAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink := &ledger{}, &toySink{}
		for i := range 10 {
			l.change(fmt.Sprint(i), time.Now().Add(time.Duration(i)*time.Second-time.Minute), 0)
		}
		polls := 0
		_, stop := running(t, Config{Dir: memory(t), Sinks: members(sink), Sources: []Source{&Poll{
			Source: "list", Changed: func(ctx context.Context, since time.Time) iter.Seq2[Change, error] {
				if polls++; polls%2 == 0 {
					return func(func(Change, error) bool) {}
				}
				return l.list(ctx, since)
			},
		}}})
		defer stop()
		time.Sleep(10 * time.Minute)
		sameOnce(t, l, sink)
	})
}
