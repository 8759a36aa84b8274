package resilience

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/jurymast/jurymast/internal/wait"
)

// Window is a vendor's quota: at most Calls in any period of Per.
type Window struct {
	Calls int
	Per   time.Duration
}

// Quota keeps the calls that share it within every one of its windows, by
// spreading them: a fifth of a window may go out at once, the rest evenly, so
// that no period of Per sees more than Calls. It also believes what the vendor
// says is left ([Quota.Learn]), because others spend the same quota. A part is
// kept for calls with Call.Reserve. It is safe for concurrent use.
type Quota struct {
	windows []Window
	buckets []bucket
	told    told

	mu      sync.Mutex
	paused  time.Time    // a vendor asked for silence until then
	strikes atomic.Int32 // answers of that kind since the last good one
}

// firstPause bounds the silence after one such answer; each further one doubles
// it. A header that is wrong, by a skewed clock or another unit, costs seconds.
const firstPause = 5 * time.Second

type bucket struct {
	limiter *rate.Limiter
	reserve float64 // tokens that only urgent calls may take
}

// One in so many places of a burst is kept for calls with Call.Reserve.
const reserved = 4

// NewQuota returns a quota with all the given windows, for instance 100 calls a
// minute and 1,500 an hour.
func NewQuota(windows ...Window) (*Quota, error) {
	if len(windows) == 0 {
		return nil, errors.New("resilience: a quota needs at least one window")
	}
	q := &Quota{windows: slices.Clone(windows)}
	for i, w := range windows {
		if w.Calls < 1 || w.Per <= 0 {
			return nil, fmt.Errorf("resilience: quota window %d: Calls (%d) and Per (%v) must be positive", i, w.Calls, w.Per)
		}
		burst := max(1, w.Calls/5)
		every := rate.Limit(float64(max(1, w.Calls-burst)) / w.Per.Seconds())
		q.buckets = append(q.buckets, bucket{rate.NewLimiter(every, burst), float64(burst / reserved)})
	}
	return q, nil
}

// throttled keeps all callers back after a 429: a vendor that throttles one counts
// the calls of all of them.
func (q *Quota) throttled(now time.Time, retryAfter time.Duration) {
	strikes := q.strikes.Add(1)
	until := now.Add(min(retryAfter, firstPause<<min(strikes-1, 10)))
	q.mu.Lock()
	defer q.mu.Unlock()
	if until.After(q.paused) {
		q.paused = until
	}
}

// served notes a good answer.
func (q *Quota) served() {
	if q.strikes.Load() != 0 {
		q.strikes.Store(0)
	}
}

// pause is how long a vendor's silence lasts for this caller. Callers who wait
// together must not come back together.
func (q *Quota) pause(now time.Time) time.Duration {
	q.mu.Lock()
	left := q.paused.Sub(now)
	q.mu.Unlock()
	if left <= 0 {
		return 0
	}
	return left + rand.N(left/4+1)
}

// take waits for room until the deadline. On failure it gives back what it took.
func (q *Quota) take(ctx context.Context, deadline time.Time, urgent bool) error {
	now := time.Now()
	wait := q.pause(now)
	taken := make([]*rate.Reservation, 0, 2)
	for _, b := range q.buckets {
		r := b.limiter.ReserveN(now, 1)
		taken = append(taken, r)
		wait = max(wait, r.DelayFrom(now))
		if left := b.limiter.TokensAt(now); !urgent && left < b.reserve {
			wait = max(wait, time.Duration((b.reserve-left)/float64(b.limiter.Limit())*float64(time.Second)))
		}
	}
	wait, slot := q.told.take(now, wait, deadline, urgent)
	giveBack := func() {
		for _, r := range taken {
			r.CancelAt(time.Now())
		}
		q.told.giveBack(slot)
	}
	if !deadline.IsZero() && now.Add(wait).After(deadline) {
		giveBack()
		return &quotaError{wait: wait}
	}
	if err := sleep(ctx, wait); err != nil {
		giveBack()
		return err
	}
	return nil
}

// Remaining is the share of the quota that may go out now, between 0 and 1: the
// least of what its windows and the vendor's last word leave.
func (q *Quota) Remaining() float64 {
	now := time.Now()
	left := q.told.share(now)
	for _, b := range q.buckets {
		left = min(left, b.limiter.TokensAt(now)/float64(b.limiter.Burst()))
	}
	return max(0, left)
}

// quotaError is ErrQuota with the time after which there would be room.
type quotaError struct{ wait time.Duration }

func (e *quotaError) Error() string {
	return fmt.Sprintf("%v: the next place is %v away", ErrQuota, e.wait.Round(time.Millisecond))
}
func (e *quotaError) Unwrap() error { return ErrQuota }

func (e *quotaError) Failure() Failure {
	return Failure{Class: Saturated, Sent: NotSent, RetryAfter: e.wait}
}

// sleep waits for d or for the end of ctx, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil // also to a caller that has left: nothing was waited for
	}
	return wait.For(ctx, d)
}
