package resilience

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// evidence is what the transport saw of one attempt. It rides in the attempt's
// context, and is a context so that carrying it costs no further allocation.
type evidence struct {
	context.Context
	policy *Policy
	span   trace.Span
	start  time.Time

	// Only for attempts whose answer is read after they end.
	timer    *time.Timer
	deadline time.Time // the timer's; zero: the caller's own, if any
	cancel   func()
	kept     bool

	mu       sync.Mutex
	requests int   // that went through a Wire
	sent     int   // of these, not proven unsent
	broken   error // what the transport failed with
	limit    RateLimit
}

// Deadline shows the deadline that timer keeps.
func (e *evidence) Deadline() (time.Time, bool) {
	if e.deadline.IsZero() {
		return e.Context.Deadline()
	}
	return e.deadline, true
}

type evidenceKey struct{}

func (e *evidence) Value(key any) any {
	if key == (evidenceKey{}) {
		return e
	}
	return e.Context.Value(key)
}

// evidenceOf returns the attempt that ctx belongs to, or nil.
func evidenceOf(ctx context.Context) *evidence {
	e, _ := ctx.Value(evidenceKey{}).(*evidence)
	return e
}

// keep stops the attempt's clock and leaves its context alive, for the body of
// an answer to be read: cancel ends it. The caller's context still does too.
func (e *evidence) keep() (cancel func()) {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.kept = true
	return e.cancel
}

func (e *evidence) note(sent bool) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests++
	if sent {
		e.sent++
	}
}

// noteBroken keeps what the transport failed with: on the way up the error may
// lose its type, or its chain (azidentity cuts it).
func (e *evidence) noteBroken(err error) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.broken = err
}

func (e *evidence) noteLimit(said RateLimit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limit = said
}

// said is what the last answer said of the vendor's quota.
func (e *evidence) said() RateLimit {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.limit
}

// class is what the transport's failure was; Unknown if it did not fail.
func (e *evidence) class() Class {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken == nil {
		return Unknown
	}
	if c := classOf(e.broken); c != Unknown {
		return c
	}
	return Broken // HTTP/2's errors have no type to recognise
}

// notSent reports the proof that nothing left: requests were watched, and none
// got out.
func (e *evidence) notSent() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests > 0 && e.sent == 0
}
