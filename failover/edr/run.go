package edr

import (
	"context"
	"time"
)

// The rhythm of Run.
const (
	settleEvery = time.Minute
	sweepEvery  = 10 * time.Minute
)

// Run keeps the ledger true until ctx ends, whose error it returns: once a minute it
// settles what is not settled, such as effects whose answer was lost and releases that
// are owed, and every ten minutes it makes a [Fleet.Sweep], the first one at once.
// What cannot be done is logged, told to Config.OnDebt, and tried again.
//
// Without Run the ledger is as true as the last Contain, Release or Sweep left it.
func (f *Fleet) Run(ctx context.Context) error {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	swept := time.Time{}
	for {
		full := time.Since(swept) >= sweepEvery
		if full {
			swept = time.Now()
		}
		if _, err := f.sweep(ctx, "settle", full); err != nil && ctx.Err() == nil {
			f.log.WarnContext(ctx, "the ledger could not be compared with the vendors", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
