package siem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// toySource has feeds of numbered events and reads on from the cursor, as Falcon's
// partitions do.
type toySource struct {
	name  string
	feeds []string
	until uint64        // offset of the last event of each feed
	every time.Duration // between two Puts; 0: as fast as it goes
	batch int           // events of a Put
	raw   func(feed string, offset uint64) string
	fail  func() error // before each Put
}

func (s *toySource) Name() string { return s.name }

func (s *toySource) Read(ctx context.Context, in *Intake) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.feeds))
	for i, feed := range s.feeds {
		wg.Go(func() { errs[i] = s.read(ctx, in, feed) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *toySource) read(ctx context.Context, in *Intake, feed string) error {
	next, _ := in.Cursor(feed)
	for next++; next <= s.until; {
		var events []Event
		for range max(s.batch, 1) {
			if next > s.until {
				break
			}
			events = append(events, s.event(feed, next))
			next++
		}
		if s.fail != nil {
			if err := s.fail(); err != nil {
				return err
			}
		}
		if err := in.Put(ctx, feed, events...); err != nil {
			return err
		}
		if s.every > 0 {
			select {
			case <-time.After(s.every):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func (s *toySource) event(feed string, offset uint64) Event {
	raw := fmt.Sprintf(`{"feed":%q,"n":%d}`, feed, offset)
	if s.raw != nil {
		raw = s.raw(feed, offset)
	}
	return Event{Offset: offset, Time: time.Now(), Type: "Toy", Raw: json.RawMessage(raw)}
}

// toySink keeps the ids of rows, and fails as it is told.
type toySink struct {
	mu    sync.Mutex
	ids   []string
	sends int
	fail  func(*Batch) (Receipt, error) // before anything is kept
}

func (s *toySink) Send(_ context.Context, b *Batch) (r Receipt, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends++
	if s.fail != nil {
		if r, err = s.fail(b); err != nil {
			return r, err
		}
	}
	gz, err := b.Gzip()
	if err != nil {
		return r, err
	}
	rows, err := split(gz, b.Bytes) // what is on the wire, not what the batch says
	if err != nil {
		return r, err
	}
	for i, row := range rows {
		if slices.ContainsFunc(r.Rejected, func(x Rejection) bool { return x.Index == i }) || slices.Contains(r.Unknown, i) {
			continue
		}
		var v struct{ JurymastID string }
		if err := json.Unmarshal(row, &v); err != nil {
			return r, err
		}
		s.ids = append(s.ids, v.JurymastID)
	}
	return r, nil
}

func (s *toySink) set(fail func(*Batch) (Receipt, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// got are the ids in the order in which they arrived.
func (s *toySink) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

func member(id string, s Sink) failover.Member[Sink] {
	return failover.Member[Sink]{ID: id, Value: s, Plane: id}
}

// expected are the ids of a feed's events.
func expected(source *toySource, feed string) (ids []string) {
	for n := uint64(1); n <= source.until; n++ {
		ids = append(ids, fmt.Sprintf("%s:%s:%d", source.name, feed, n))
	}
	return ids
}

// running runs a pump until stop is called, which closes it too.
func running(t *testing.T, cfg Config) (p *Pump, stop func()) {
	t.Helper()
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return p, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func members(sinks ...*toySink) (out []failover.Member[Sink]) {
	for i, s := range sinks {
		out = append(out, member([]string{"first", "second", "third"}[i], s))
	}
	return out
}

// memory is a directory whose syncs cost nothing, for tests with very many of them.
func memory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "siem")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

type memberOf = failover.Member[Sink]

func member1(m memberOf) []memberOf { return []memberOf{m} }
