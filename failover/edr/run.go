package edr

import (
	"context"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// The rhythm of Run.
const (
	settleEvery = time.Minute
	sweepEvery  = 10 * time.Minute
	learnEvery  = 24 * time.Hour
	learnAgain  = time.Hour // if a vendor was missing
)

// Run keeps the fleet ready until ctx ends, whose error it returns. What cannot be done
// is logged, told to Config.OnDebt, and tried again.
//
//   - A vendor that calls have left is probed three times in Config.Hold, until calls begin
//     with it again ([failover.Group.Run]).
//   - Once a minute what is not settled is settled, such as effects whose answer was lost
//     and releases that are owed.
//   - Every ten minutes it makes a [Fleet.Sweep], the first one at once.
//   - Once a day, and at the beginning, it learns the links of the vendors' records
//     ([Fleet.Learn]), which reads all hosts of all vendors; an hour later again if one
//     was missing.
//
// Without Run the ledger is as true as the last Contain, Release or Sweep left it, and a
// vendor that calls have left is tried by a call.
func (f *Fleet) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.group.Run(ctx, probe, f.cfg.Hold/3) })
	wg.Go(func() {
		learned := time.Time{}
		f.every(ctx, learnAgain, "the links could not be learned", func() error {
			if time.Since(learned) < learnEvery {
				return nil
			}
			l, err := f.Learn(ctx)
			if err == nil && len(l.Gaps) == 0 {
				learned = time.Now()
			}
			return err
		})
	})
	swept := time.Time{}
	f.every(ctx, settleEvery, "the ledger could not be compared with the vendors", func() error {
		full := time.Since(swept) >= sweepEvery
		if full {
			swept = time.Now()
		}
		_, err := f.sweep(ctx, "settle", full)
		return err
	})
	wg.Wait()
	return context.Cause(ctx)
}

// every does something now and then, until ctx ends.
func (f *Fleet) every(ctx context.Context, d time.Duration, failed string, do func() error) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := do(); err != nil && ctx.Err() == nil {
			f.log.WarnContext(ctx, failed, "error", err.Error())
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// probe asks a vendor for a sign of life.
func probe(ctx context.Context, d Driver) error {
	if d.Probe == nil {
		return resilience.Misusef("edr: the driver of %s cannot probe: calls begin with it again only after Config.Hold, by trial", d.Provider)
	}
	return d.Probe.Probe(ctx)
}

// Current is the vendor that calls begin with, "" if all are cordoned.
func (f *Fleet) Current() string { return f.group.Current() }

// Explain tells which vendor calls begin with and why, how each stands, and what has to
// happen for a failback.
func (f *Fleet) Explain() failover.Explanation { return f.group.Explain() }
