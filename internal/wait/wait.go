// Package wait waits without outliving a context, and knows how long to.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d, or for the end of ctx, whose cause it returns. It makes no timer
// for nothing: two that have expired, selected at once in a synctest bubble, crash
// the race detector of Go 1.26.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Jitter is between half of d and d, so that many who wait do not come back at once.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
