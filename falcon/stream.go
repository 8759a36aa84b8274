package falcon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/jurymast/jurymast/internal/safe"
	"github.com/jurymast/jurymast/resilience"
)

// Stream is Falcon's event stream. Scope: Event streams read.
type Stream struct{ c *Client }

// StreamConfig says what to read and who gets it.
type StreamConfig struct {
	// AppID names this reader, with at most 32 letters, digits, - and _. Falcon
	// lets one process at a time read under a name; offsets are the same under all
	// of them, so a standby with another name can go on where this one stopped.
	AppID string
	// After holds, by partition, the offset of the last event that was handled.
	// What comes is what follows it.
	After map[int]int64
	// Cursor is asked for the After of a partition that is not in the map, once it
	// is on offer: nobody knows beforehand which there are. Default: nil.
	Cursor func(partition int) (after int64, ok bool)
	// Newest begins partitions that have no After with what happens from now
	// on. Default: with the oldest that Falcon still has. Until the first event of
	// such a partition has been handled, a broken connection loses what happened
	// while it was broken, because there is no offset to go on from.
	Newest bool
	// EventTypes are those to read, spelt as Event.Type. Default: all.
	EventTypes []string
	// Silence is how long a feed may send nothing, not even a heartbeat, before it
	// is given up and opened again. Default 2 minutes (facts/falcon.md 2.5:
	// heartbeats come within one).
	Silence time.Duration
	// MaxLine bounds an event, in bytes; a longer one comes with Event.Err. Default 4 MiB.
	MaxLine int
	// MaxBatch bounds the events of one Handle. Default 500.
	MaxBatch int
	// Handle gets the events of one partition, in order, as many as have arrived;
	// nil acknowledges them. Store the Partition and Offset of the last one without
	// Err with what became of them: that is the After of the next start. Partitions are handled
	// at the same time, each waits for its own Handle and is not read meanwhile. An
	// error ends Run, which returns it. Events with Err must be handled too: they
	// are what could not be read.
	Handle func(ctx context.Context, events []Event) error
	// Heartbeat is told of every sign of life of a partition that is no event, in the
	// goroutine that reads it. Default: nil.
	Heartbeat func(partition int)
}

var appIDs = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

func (cfg *StreamConfig) resolve() error {
	switch {
	case !appIDs.MatchString(cfg.AppID):
		return resilience.Misusef("falcon stream: StreamConfig.AppID %q: want 1 to 32 letters, digits, - and _", cfg.AppID)
	case cfg.Handle == nil:
		return resilience.Misusef("falcon stream: StreamConfig.Handle is nil: set who gets the events")
	case cfg.Silence < 0 || cfg.MaxLine < 0 || cfg.MaxBatch < 0:
		return resilience.Misusef("falcon stream: StreamConfig.Silence, MaxLine and MaxBatch must not be negative")
	}
	if cfg.Silence == 0 {
		cfg.Silence = 2 * time.Minute
	}
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = 500
	}
	return nil
}

// Run reads the stream until ctx ends, whose error it returns, Handle fails, or
// Falcon says that it never will (no permission). Everything else it goes on from,
// after a wait of a second to half a minute: a feed that broke, was silent or
// ended, a session that Falcon forgot, a name that somebody else uses. Every event
// is handled at least once; those that were handled do not come again while Run
// runs. When it returns, no Handle is under way and no goroutine is left.
func (s *Stream) Run(ctx context.Context, cfg StreamConfig) error {
	if err := cfg.resolve(); err != nil {
		return err
	}
	r := &streaming{c: s.c, cfg: cfg, after: maps.Clone(cfg.After)}
	if r.after == nil {
		r.after = map[int]int64{}
	}
	waits := streamWaits()
	for {
		began := time.Now()
		err := r.round(ctx)
		if r.failed != nil {
			return r.failed
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if class := resilience.Of(err).Class; class == resilience.Denied || class == resilience.Misuse || class == resilience.Sunset {
			return fmt.Errorf("falcon stream %s: %w", cfg.AppID, err)
		}
		wait := waits.after(began, err)
		s.c.cfg.Logger.Warn("falcon stream interrupted", "appId", cfg.AppID, "error", err, "again_in", wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// waits are those before a connection or a discovery is tried again.
type waits struct{ *backoff.ExponentialBackOff }

func streamWaits() waits {
	return waits{backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second), backoff.WithMaxInterval(30*time.Second), backoff.WithMaxElapsedTime(0))}
}

// after returns the wait after what began then ended with err: from the shortest
// on again if it had gone well for a minute.
func (w waits) after(began time.Time, err error) time.Duration {
	if time.Since(began) > time.Minute {
		w.Reset()
	}
	return max(w.NextBackOff(), resilience.Of(err).RetryAfter)
}

// streaming is one Run.
type streaming struct {
	c   *Client
	cfg StreamConfig

	mu     sync.Mutex
	after  map[int]int64 // handled, by partition
	failed error         // of Handle or another of the caller's functions: it ends Run whatever else happened meanwhile
}

var errBusy = errors.New("no partition on offer: somebody else reads under this appId, or did until a short time ago")

// round reads all partitions until the session of the first of them is over. They
// end together, because Falcon offers nothing under a name that has a connection
// open (facts/falcon.md 2.5).
func (r *streaming) round(ctx context.Context) error {
	sessions, err := r.c.discover(ctx, r.cfg.AppID)
	if err != nil {
		return err
	}
	if len(sessions) == 0 {
		return errBusy
	}
	for _, s := range sessions {
		if err := r.resume(s.partition); err != nil {
			r.failed = err
			return err
		}
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var partitions sync.WaitGroup
	for _, s := range sessions {
		partitions.Go(func() {
			f := &feed{run: r, session: s}
			stop(f.read(ctx, reading))
		})
	}
	partitions.Wait()
	return context.Cause(reading)
}

// resume takes the After of a partition from its cursor, unless it is known.
func (r *streaming) resume(partition int) (err error) {
	if _, ok := r.handled(partition); ok || r.cfg.Cursor == nil {
		return nil
	}
	defer safe.Catch(&err, "StreamConfig.Cursor")
	if after, ok := r.cfg.Cursor(partition); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.after[partition] = after
	}
	return nil
}

// handled returns where a partition is to go on, false if it is new.
func (r *streaming) handled(partition int) (offset int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	offset, ok = r.after[partition]
	return offset, ok
}

func (r *streaming) acknowledge(partition int, events []Event, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed = err
		return
	}
	for _, e := range events {
		// A bad line's offset may be anything: one far ahead would hide all that follows.
		if last, ok := r.after[partition]; e.Err == nil && e.Offset >= 0 && (!ok || e.Offset > last) {
			r.after[partition] = e.Offset
		}
	}
}
