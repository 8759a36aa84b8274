package resilience

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Sentinels of the failures that a policy makes itself; all of them mean that
// nothing was sent.
var (
	// ErrOpen: the breaker is open. Error.RetryAfter says when it lets a probe through.
	ErrOpen = errors.New("circuit breaker is open")
	// ErrSaturated: no place under the concurrency limit came free in time.
	ErrSaturated = errors.New("concurrency limit reached")
	// ErrQuota: the quota leaves no room before the deadline.
	ErrQuota = errors.New("quota used up")
)

// Sentinels of clients that use the package. Nothing was sent.
var (
	// ErrReadOnly: the client was made to read only.
	ErrReadOnly = Misusef("the client is read-only: set ReadOnly to false in its Config to let it act")
	// ErrClosed: the client was closed.
	ErrClosed = Misusef("the client is closed: create a new one")
)

// Misusef makes the error of an argument that makes no sense, or of a call that
// this client will not make: the caller's mistake, nothing was sent.
func Misusef(format string, args ...any) error {
	return &judged{fmt.Errorf(format, args...), Failure{Class: Misuse, Sent: NotSent}}
}

// BeforeSending marks the failure of a read that is made before an effect:
// nothing of the effect was sent.
func BeforeSending(err error) error {
	if err == nil {
		return nil
	}
	f := Of(err)
	f.Sent = NotSent
	return &judged{fmt.Errorf("before anything was sent: %w", err), f}
}

// judged is an error with a failure of its own.
type judged struct {
	error
	failure Failure
}

func (j *judged) Unwrap() error    { return errors.Unwrap(j.error) }
func (j *judged) Failure() Failure { return j.failure }

// The causes of the policy's own deadlines. They are not context.DeadlineExceeded,
// which is kept for the caller's own.
var (
	errAttemptTimeout = errors.New("no answer within the attempt timeout")
	errTotal          = errors.New("no answer within the total deadline of the policy")
)

// Attempt is one try, or one refusal to try.
type Attempt struct {
	Start time.Time
	Delay time.Duration // waited before it
	Took  time.Duration
	Failure
	Err error
}

// Error is every failure of [Do]. It is immutable.
type Error struct {
	Policy string
	Call   string
	Kind   Kind
	Class  Class // of the last attempt
	// Sent covers all attempts: one that may have been sent is enough.
	Sent Sent
	// Attempts in order, the last one last. Never empty.
	Attempts []Attempt
	// Stopped says why there was no further attempt.
	Stopped string

	err error
}

// Error names the dependency, the call, the class, what is known of the
// request and the cause. It has no secret and no response body in it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", e.Policy, e.Call, e.Class)
	if status := e.Attempts[len(e.Attempts)-1].Status; status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", status)
	}
	if n := len(e.Attempts); n > 1 {
		fmt.Fprintf(&b, " after %d attempts", n)
	}
	if e.Kind != Read {
		b.WriteString(map[Sent]string{
			MaybeSent: ", may have been sent", Answered: ", not done", NotSent: ", not sent",
		}[e.Sent])
	}
	fmt.Fprintf(&b, ": %v", e.err)
	return b.String()
}

// Failure makes Error [Classified]: the last attempt's, with Sent of them all.
func (e *Error) Failure() Failure {
	f := e.Attempts[len(e.Attempts)-1].Failure
	f.Class, f.Sent = e.Class, e.Sent
	return f
}

// Unwrap gives the last attempt's error. It matches context.Canceled and
// context.DeadlineExceeded only if the caller's own context ended.
func (e *Error) Unwrap() error { return e.err }

// NonRetriable makes azcore's retry policy, and whoever else looks for the
// marker, stop: the retries have been made.
func (e *Error) NonRetriable() {}

// TryNext reports whether another provider may be asked to do the same: never
// when an effect may have been sent.
func (e *Error) TryNext() bool {
	return e.Class.TryNext() && (e.Kind == Read || e.Sent != MaybeSent)
}

// Explain tells the story of the call, one attempt a line.
func (e *Error) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (%s): %s, %s, fault: %s\n", e.Policy, e.Call, e.Kind, e.Class, e.Sent, e.Class.Fault())
	begin := e.Attempts[0].Start
	for i, a := range e.Attempts {
		fmt.Fprintf(&b, "  %d. +%v", i+1, a.Start.Sub(begin).Round(time.Millisecond))
		if a.Delay > 0 {
			fmt.Fprintf(&b, " after a delay of %v", a.Delay.Round(time.Millisecond))
		}
		fmt.Fprintf(&b, " took %v: %s, %s", a.Took.Round(time.Microsecond), a.Class, a.Sent)
		if a.Status != 0 {
			fmt.Fprintf(&b, ", HTTP %d", a.Status)
		}
		if a.RequestID != "" {
			fmt.Fprintf(&b, ", request %s", a.RequestID)
		}
		if a.RetryAfter > 0 {
			fmt.Fprintf(&b, ", asked to wait %v", a.RetryAfter)
		}
		fmt.Fprintf(&b, ": %v\n", a.Err)
	}
	fmt.Fprintf(&b, "  stopped: %s", e.Stopped)
	return b.String()
}

// NotCallers makes err stop matching context.DeadlineExceeded and
// context.Canceled, unless ctx, the caller's own, has ended: a deadline that
// somebody else set must not look like the caller's. Everything else that err
// matches, it goes on matching.
func NotCallers(ctx context.Context, err error) error {
	if err == nil || CallerLeft(ctx) || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	return masked{err}
}

// masked hides the context errors that are not the caller's: an attempt timeout
// of ours must not look as if the caller's deadline had ended.
type masked struct{ err error }

func (m masked) Error() string { return m.err.Error() }

func (m masked) Is(target error) bool {
	return target != context.DeadlineExceeded && target != context.Canceled && errors.Is(m.err, target)
}

func (m masked) As(target any) bool { return errors.As(m.err, target) }
