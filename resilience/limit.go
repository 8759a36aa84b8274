package resilience

import (
	"context"
	"time"
)

// limit bounds the calls under way. nil means no bound.
type limit chan struct{}

func newLimit(n int) limit {
	if n < 0 {
		return nil
	}
	return make(limit, n)
}

// acquire waits for a place until the deadline or the caller's end, and reports
// whether it had to.
func (l limit) acquire(ctx context.Context, deadline time.Time) (waited bool, err error) {
	if l == nil {
		return false, nil
	}
	select {
	case l <- struct{}{}:
		return false, nil
	default:
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case l <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return true, context.Cause(ctx)
	case <-expired:
		return true, ErrSaturated
	}
}

func (l limit) release() {
	if l != nil {
		<-l
	}
}

// free is how many places there are, -1 if there is no bound.
func (l limit) free() int {
	if l == nil {
		return -1
	}
	return cap(l) - len(l)
}
