package siem

import (
	"context"
	"errors"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/internal/wait"
)

// sighting is a revision of the record and since when nobody has written another.
type sighting struct {
	rev   uint64
	since time.Time
}

// acquire waits until the lease is held. The error is that of ctx.
func (k *keeper) acquire(ctx context.Context) error {
	var seen sighting
	told := ""
	for met := false; ; {
		rec, rev, err := k.get(ctx)
		now := time.Now() // after the answer: the record is at least that old
		free := false
		switch {
		case errors.Is(err, kv.ErrNotFound):
			// A store that has lost the record may have a holder all the same.
			free, err = !met, nil
		case err == nil:
			met = true
			free = rec.Run == "" || rec.Run == k.run
		}
		if err == nil {
			if seen.since.IsZero() || rev != seen.rev {
				seen = sighting{rev, now}
			}
			if free || now.Sub(seen.since) >= k.lease.TTL {
				if err = k.take(ctx, rec, rev); err == nil {
					return nil
				}
			} else {
				err = &takenError{rec.Holder}
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if why := err.Error(); why != told {
			told = why
			k.log.InfoContext(ctx, "siem: standing by", "lease", k.lease.Key, "holder", k.lease.Holder, "reason", err)
		}
		if err := wait.For(ctx, k.lease.TTL/10); err != nil {
			return err
		}
	}
}

// take makes the record ours, if nobody has written it since.
func (k *keeper) take(ctx context.Context, rec leaseRecord, rev uint64) error {
	if err := k.enter(ctx); err != nil {
		return err
	}
	defer k.leave()
	for feed, offset := range rec.Feeds {
		k.delivered(feed, offset)
	}
	begun := time.Now()
	if err := k.put(ctx, k.run, rev); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.until = begun.Add(k.lease.TTL / 3 * 2)
	return nil
}

// offset is up to where all events of a feed are delivered, by whomever.
func (k *keeper) offset(feed string) (uint64, bool) {
	if k == nil {
		return 0, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	offset, ok := k.feeds[feed]
	return offset, ok
}

// delivered hears how far the delivery of a feed is. It may be behind what another
// process has delivered.
func (k *keeper) delivered(feed string, offset uint64) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if before, ok := k.feeds[feed]; !ok || offset > before {
		k.feeds[feed] = offset
	}
}

// begin stores that a feed begins with the event at first, before the event counts as
// read. A standby that did not know it would begin where the source then begins, which
// may be later. While the store is away it waits, as long as the lease lasts.
func (k *keeper) begin(ctx context.Context, feed string, first uint64) error {
	if k == nil || first == 0 {
		return nil
	}
	k.delivered(feed, first-1)
	for {
		err := k.write(ctx)
		if err == nil {
			return nil
		}
		if late := k.check(); late != nil {
			err = late
		} else if wait.For(ctx, k.lease.TTL/15) == nil {
			continue
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.feeds, feed)
		return err
	}
}

// behind hears of the oldest event of a feed that is not delivered, as long as the
// offset is not known: the spool may be older than the lease.
func (k *keeper) behind(feed string, first uint64) {
	if _, known := k.offset(feed); !known && first > 0 {
		k.delivered(feed, first-1)
	}
}
