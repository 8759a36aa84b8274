package siem

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/siem/spool"
)

// health is how the delivery and the spool stand.
type health struct {
	mu    sync.Mutex
	log   *slog.Logger // nil: discards
	why   error        // nil while batches are taken
	since time.Time
	told  bool // why is in the log

	full map[string]time.Time // feeds that wait for room
	disk error                // other than full, of the last attempt
}

// stuckFor is how long no sink takes a batch before the log tells it.
const stuckFor = 10 * time.Second

func (h *health) warn(ctx context.Context, msg string, args ...any) {
	if h.log != nil {
		h.log.WarnContext(ctx, msg, args...)
	}
}

func (h *health) delivering() {
	h.mu.Lock()
	told, since := h.told, h.since
	h.why, h.since, h.told = nil, time.Time{}, false
	h.mu.Unlock()
	if told {
		h.warn(context.Background(), "siem: batches are taken again", "after", time.Since(since).Round(time.Second))
	}
}

func (h *health) stuck(ctx context.Context, err error) {
	h.mu.Lock()
	if h.why == nil {
		h.since = time.Now()
	}
	h.why = err
	since := h.since
	tell := !h.told && time.Since(since) >= stuckFor
	h.told = h.told || tell
	h.mu.Unlock()
	if tell {
		h.warn(ctx, "siem: no sink takes a batch", "since", since, "error", err)
	}
}

// stored hears of every attempt to store a feed's chunk.
func (h *health) stored(feed string, err error) {
	h.mu.Lock()
	before := len(h.full)
	switch {
	case errors.Is(err, spool.ErrFull):
		if before == 0 {
			h.full = map[string]time.Time{}
		}
		if h.full[feed].IsZero() {
			h.full[feed] = time.Now()
		}
	case err == nil:
		h.disk = nil
		delete(h.full, feed)
	case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, spool.ErrClosed):
		h.disk = err
	}
	after := len(h.full)
	h.mu.Unlock()
	switch {
	case before == 0 && after > 0:
		h.warn(context.Background(), "siem: there is no room, the sources wait", "error", err)
	case before > 0 && after == 0:
		h.warn(context.Background(), "siem: there is room again")
	}
}

func (h *health) isFull() bool { return !h.fullSince().IsZero() }

func (h *health) fullSince() (since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.full {
		since = earlier(since, t)
	}
	return since
}

// standing is the rest of what it knows.
func (h *health) standing() (since time.Time, why, disk error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since, h.why, h.disk
}

// ended forgets who waits: with Run nobody does.
func (h *health) ended() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.full)
}
