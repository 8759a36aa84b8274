package resilience

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Retry says how often and how patiently to try again. Which failures may be
// retried follows from their Class and the call's Kind, not from here.
type Retry struct {
	// Attempts is the most attempts of one call, the first included. Default 3.
	Attempts int
	// Base bounds the first delay, which is random between 0 and Base; each
	// further bound doubles up to Max. Defaults 250 ms and 5 s.
	Base, Max time.Duration
	// Budget is the share of calls that may be retries, over time; a short burst
	// of ten is always allowed. Default 0.2; negative means unbounded.
	Budget float64
}

// worst is the longest that all delays together can be.
func (r Retry) worst() time.Duration {
	var sum time.Duration
	bound := r.Base
	for range r.Attempts - 1 {
		sum += min(bound, r.Max)
		bound *= 2
	}
	return sum
}

// delays gives the full-jitter delays of one call. Made on the first failure,
// because most calls never need one.
func (r Retry) delays() backoff.BackOff {
	// backoff draws from [0, 2 x interval] with this factor: half of each bound
	// makes it full jitter.
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(r.Base/2),
		backoff.WithMaxInterval(r.Max/2),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxElapsedTime(0),
	)
	return b
}

// budget is a token bucket: every call pays in a share of a retry, every retry
// takes a whole one out. When the dependency is sick, the bucket runs dry and
// the retries stop adding to its load.
type budget struct {
	share  int64 // thousandths paid in by a call; negative: unbounded
	tokens atomic.Int64
}

const (
	retryCost   = 1000
	retryBurst  = 10 * retryCost
	healthyRate = 0.3 // at most this share of the last calls failed: worth one immediate retry
)

func (b *budget) init(share float64) {
	b.share = int64(share * retryCost)
	b.tokens.Store(retryBurst)
}

func (b *budget) deposit() {
	if b.share <= 0 {
		return
	}
	for {
		have := b.tokens.Load()
		if have >= retryBurst || b.tokens.CompareAndSwap(have, min(have+b.share, retryBurst)) {
			return
		}
	}
}

func (b *budget) withdraw() bool {
	if b.share < 0 {
		return true
	}
	for {
		have := b.tokens.Load()
		if have < retryCost {
			return false
		}
		if b.tokens.CompareAndSwap(have, have-retryCost) {
			return true
		}
	}
}

// next decides whether the call goes on after a failed attempt and how long it
// waits first. The second result says why it does not go on.
func (r *run) next(ctx context.Context, f Failure) (time.Duration, string) {
	p := r.policy
	attempts := p.cfg.Retry.Attempts
	if r.call.Attempts > 0 {
		attempts = r.call.Attempts
	}
	backup := hasBackup(ctx)
	switch {
	case !f.Class.RetrySame():
		return 0, f.Class.notRetried()
	case r.call.Kind == Effect && f.Sent == MaybeSent:
		return 0, "the effect may have been sent"
	case len(r.attempts) >= attempts:
		return 0, "no attempts left"
	case backup && len(r.attempts) >= 2:
		return 0, "a backup is waiting"
	case backup && (f.Class == Timeout || f.Class == Throttled || f.Class == Refused):
		return 0, "a backup is waiting and the failure is definite"
	case backup && p.breaker.recentFailures() > healthyRate:
		return 0, "a backup is waiting and this dependency has been failing"
	case !p.budget.withdraw():
		return 0, "the retry budget is used up"
	}
	if backup {
		return 0, ""
	}
	if r.delays == nil {
		r.delays = p.cfg.Retry.delays()
	}
	delay := r.delays.NextBackOff()
	if f.RetryAfter > 0 {
		// Callers throttled together must not come back together.
		delay = f.RetryAfter + rand.N(f.RetryAfter/4+time.Millisecond)
	}
	if !r.deadline.IsZero() && r.deadline.Sub(r.now) <= delay {
		return 0, "the next attempt would begin after the deadline"
	}
	return delay, ""
}
