package siem

import (
	"context"
	"errors"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/siem/spool"
	"github.com/jurymast/jurymast/internal/wait"
)

// run gives the primary what went elsewhere, as soon as it takes new events again.
func (r *routes) run(ctx context.Context) error {
	for {
		select {
		case <-r.ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for s, ok := r.next(); ok; s, ok = r.next() {
			if err := r.backfill(ctx, s); err != nil {
				return err
			}
		}
	}
}

// backfill sends one span to the primary, at half the speed at which it takes it:
// new events go first.
func (r *routes) backfill(ctx context.Context, s span) error {
	primary := r.pump.primary()
	to := sender{
		pump: r.pump, health: new(health), count: &r.pump.counts.backfilled,
		group: r.pump.group.Only(func(m failover.Member[Sink]) bool { return m.ID == primary }),
	}
	var l load
	raw := 0
	flush := func(last uint64) error {
		begun := time.Now()
		if len(l.items) > 0 {
			if _, err := to.send(ctx, &l); err != nil {
				return err
			}
		}
		l, raw = load{}, 0
		if err := r.got(ctx, last); err != nil {
			return err
		}
		return wait.For(ctx, time.Since(begun))
	}
	for c, err := range r.pump.spool.ReadFrom(ctx, keep, s.First-1) {
		if gap, ok := errors.AsType[*spool.GapError](err); ok {
			// Another sink has it; that the spool has lost it is told by the live way.
			r.pump.config.Logger.WarnContext(ctx, "siem: backfill: lost in the spool", "sink", primary, "gap", gap)
			continue
		}
		if err != nil {
			return err
		}
		if c.Position > s.Last {
			break
		}
		h, err := r.pump.hold(&c)
		if err != nil {
			return err
		}
		if len(l.items) > 0 && raw+h.raw > maxBatch {
			if err := flush(c.Position - 1); err != nil {
				return err
			}
		}
		l.items, raw = append(l.items, h), raw+h.raw
		if raw >= worthIt || c.Position == s.Last {
			if err := flush(c.Position); err != nil {
				return err
			}
		}
		if c.Position == s.Last {
			return nil // to read on would be to wait for the next chunk
		}
	}
	return flush(s.Last)
}
