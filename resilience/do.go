package resilience

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Do calls fn under the policy and returns its value, or an [*Error].
//
// fn may run several times, one after another, and gets a context that ends
// with its attempt. It must not keep the context. Its error is classified by
// [Of]; a vendor's error may implement [Classified]. A failed call counts as
// [MaybeSent] unless fn's error, or a [Wire] that all of fn's requests went
// through, proves otherwise. Do starts no goroutine.
func Do[T any](ctx context.Context, p *Policy, call Call, fn func(context.Context) (T, error)) (T, error) {
	if err := misused(p, call, fn == nil); err != nil {
		var zero T
		return zero, err
	}
	return do(ctx, newRun(p, call), fn)
}

// misused names what is missing. A call without a name would be one without a
// metric, a span and an error that says what failed.
func misused(p *Policy, call Call, noFunction bool) error {
	switch {
	case p == nil:
		return Misusef("resilience: call of %q: the policy is nil: make one with New", call.Name)
	case noFunction:
		return Misusef("resilience: policy %s, call of %q: the function is nil", p.name, call.Name)
	case call.Name == "":
		return Misusef("resilience: policy %s: Call.Name is empty: name the operation", p.name)
	default:
		return nil
	}
}

func do[T any](ctx context.Context, r run, fn func(context.Context) (T, error)) (T, error) {
	defer r.end()
	for r.begin(ctx) {
		if t, ok := r.admit(ctx); ok {
			if v, ok := attempt(ctx, &r, t, fn); ok {
				return v, nil
			}
		}
		if !r.pause(ctx) {
			break
		}
	}
	var zero T
	return zero, r.failed(ctx)
}

// attempt runs fn once. The ticket is settled and the place given back also
// when fn panics or ends its goroutine.
func attempt[T any](ctx context.Context, r *run, t ticket, fn func(context.Context) (T, error)) (v T, ok bool) {
	a, actx, cancel := r.open(ctx)
	settled := false
	defer func() {
		if !a.kept {
			cancel()
		}
		if !settled {
			now := time.Now()
			r.policy.breaker.settle(t, now, errFailed)
			r.op.settle(now, 0, t.slowProbe, false, true, &r.policy.cfg.Breaker)
			endSpan(a.span, Failure{}, true)
		}
	}()
	v, err := fn(actx)
	settled = true
	return v, r.settle(ctx, actx, a, t, err)
}

// run is one call on its way through the policy.
type run struct {
	policy   *Policy
	op       *operation
	call     Call
	start    time.Time
	now      time.Time // when the clock was last read: it costs as much as a breaker
	deadline time.Time // of the whole call; zero: none
	keep     bool      // an attempt's context may outlive it, see evidence.keep
	begun    bool
	placed   bool // holds a place under the limit
	delay    time.Duration
	delays   backoff.BackOff
	attempts []Attempt
	stopped  string
	tries    int
}

func newRun(p *Policy, call Call) run {
	now := time.Now()
	return run{policy: p, op: p.seen.get(call.Name), call: call, start: now, now: now}
}

// begin sets the deadline and takes a place under the limit, once.
func (r *run) begin(ctx context.Context) bool {
	if r.begun {
		return true
	}
	p := r.policy
	if p.cfg.Total > 0 {
		r.deadline = r.start.Add(p.cfg.Total)
		if r.call.Timeout != 0 && (r.call.Timeout < 0 || r.call.Timeout > p.cfg.Total) {
			r.deadline = time.Time{} // a call with a longer bound of its own
		}
	}
	if d, ok := ctx.Deadline(); ok && (r.deadline.IsZero() || d.Before(r.deadline)) {
		r.deadline = d
	}
	if ctx.Err() != nil {
		r.refuse(ctx, context.Cause(ctx))
		return false
	}
	r.begun = true
	if p.cfg.Probe != nil && isBackground(ctx) {
		return true // those who hold the places may be waiting for its verdict
	}
	waited, err := p.limit.acquire(ctx, r.deadline)
	if err != nil {
		r.refuse(ctx, err)
		return false
	}
	if waited {
		r.now = time.Now()
	}
	r.placed = true
	p.budget.deposit()
	return true
}

// end gives the place back.
func (r *run) end() {
	if r.placed {
		r.policy.limit.release()
	}
}

// admit passes quota and breaker.
func (r *run) admit(ctx context.Context) (ticket, bool) {
	p := r.policy
	background := p.cfg.Probe != nil && isBackground(ctx)
	// Asked first, so that a refused call does not spend the quota.
	if wait, no := p.breaker.refused(r.now, background); no {
		r.refuseOpen(wait)
		return ticket{}, false
	}
	if quota := r.quota(); quota != nil {
		if quota == r.call.Quota && r.op.quota.Load() != quota {
			r.op.quota.Store(quota) // for the metric
		}
		if err := quota.take(ctx, r.deadline, r.call.Reserve); err != nil {
			r.refuse(ctx, err)
			return ticket{}, false
		}
		r.now = time.Now()
	}
	probe, wait, ok := r.op.admit(r.now, hasBackup(ctx), &p.cfg.Breaker)
	if !ok {
		r.refuseOpen(wait)
		return ticket{}, false
	}
	t, wait, ok := p.breaker.allow(r.now, r.call.Timeout == 0, background)
	if !ok {
		r.op.settle(r.now, 0, probe, false, false, &p.cfg.Breaker)
		r.refuseOpen(wait)
	}
	t.slowProbe = probe
	return t, ok
}

func (r *run) quota() *Quota {
	if r.call.Quota != nil {
		return r.call.Quota
	}
	return r.policy.cfg.Quota
}

func (r *run) refuseOpen(wait time.Duration) {
	r.attempts = append(r.attempts, Attempt{
		Start: r.now, Delay: r.delay, Err: ErrOpen,
		Failure: Failure{Class: Open, Sent: NotSent, RetryAfter: wait},
	})
}

// refuse notes an attempt that was not made.
func (r *run) refuse(ctx context.Context, err error) {
	f := Of(err)
	f.Sent = NotSent
	switch {
	case CallerLeft(ctx):
		f.Class, err = Canceled, callersError(ctx, err)
	case errors.Is(err, ErrSaturated):
		f.Class = Saturated
	}
	r.now = time.Now()
	r.attempts = append(r.attempts, Attempt{Start: r.now, Delay: r.delay, Failure: f, Err: err})
}

// open prepares the context of one attempt: its evidence, its span and its
// deadline, in one context with one timer.
func (r *run) open(ctx context.Context) (*evidence, context.Context, context.CancelFunc) {
	r.tries++
	ctx, span := r.policy.startSpan(ctx, &r.call, r.tries-1)
	a := &evidence{Context: ctx, policy: r.policy, span: span, start: r.now}
	timeout := r.policy.cfg.Attempt
	if r.call.Timeout != 0 {
		timeout = r.call.Timeout
	}
	deadline, cause := r.deadline, errTotal
	if timeout > 0 {
		if end := a.start.Add(timeout); deadline.IsZero() || end.Before(deadline) {
			deadline, cause = end, errAttemptTimeout
		}
	}
	// At the caller's own deadline its context ends by itself, with its own cause.
	if d, ok := ctx.Deadline(); ok && !d.After(deadline) {
		deadline = time.Time{}
	}
	if r.keep {
		actx, cancel := context.WithCancelCause(a)
		a.cancel = func() { cancel(nil) }
		if !deadline.IsZero() {
			a.deadline = deadline
			a.timer = time.AfterFunc(time.Until(deadline), func() { cancel(cause) })
		}
		return a, actx, a.cancel
	}
	if deadline.IsZero() {
		actx, cancel := context.WithCancel(a)
		return a, actx, cancel
	}
	actx, cancel := context.WithDeadlineCause(a, deadline, cause)
	return a, actx, cancel
}

// settle tells the breaker and the span how the attempt ended and reports
// whether it succeeded.
func (r *run) settle(ctx, actx context.Context, a *evidence, t ticket, err error) bool {
	p := r.policy
	now := time.Now()
	r.now = now
	took := now.Sub(a.start)
	quota := r.quota()
	if quota != nil {
		quota.Learn(a.said())
	}
	if err == nil {
		outcome := error(nil)
		if p.cfg.Breaker.SlowCall > 0 && took >= p.cfg.Breaker.SlowCall && r.call.Timeout == 0 {
			outcome = errFailed
		}
		p.breaker.settle(t, now, outcome)
		r.op.settle(now, took, t.slowProbe, true, false, &p.cfg.Breaker)
		if quota != nil {
			quota.served()
		}
		endSpan(a.span, Failure{}, false)
		p.metrics.done(ctx, r, 0, true)
		return true
	}
	f := Of(err)
	if f.Sent == MaybeSent && a.notSent() {
		f.Sent = NotSent
	}
	if f.Class == Unknown {
		f.Class = a.class()
	}
	answered := f.Status != 0
	atToken := f.Class == Credential // waiting for a token is not waiting for the dependency
	switch {
	case CallerLeft(ctx) && !answered:
		f.Class, err = Canceled, callersError(ctx, err)
	case !answered && errors.Is(context.Cause(actx), ErrOvertaken):
		f.Class, err = Canceled, masked{fmt.Errorf("%w: %w", ErrOvertaken, err)}
	case actx.Err() != nil && !answered && !atToken:
		f.Class = Timeout
		err = masked{fmt.Errorf("%w: %w", context.Cause(actx), err)}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		err = masked{err}
	}
	overtaken := f.Class == Canceled && errors.Is(err, ErrOvertaken)
	outcome := error(nil) // an answer, even an unwelcome one, is a sign of life
	slow := r.op.settle(now, took, t.slowProbe, answered && !f.Class.rule().trips, f.Class.rule().trips, &p.cfg.Breaker)
	switch {
	case f.Class.rule().trips:
		outcome = errFailed
	case f.Class == Canceled && !overtaken && !atToken && (slow || p.cfg.Attempt > 0 && took >= p.cfg.Attempt/2):
		outcome = errFailed // the caller left because nothing came for so long
	case f.Class == Canceled || f.Class == Throttled || f.Class == Credential || f.Sent == NotSent:
		outcome = errNeutral
	}
	if quota != nil && f.Class == Throttled && f.RetryAfter > 0 {
		quota.throttled(now, f.RetryAfter)
	}
	p.breaker.settle(t, now, outcome)
	endSpan(a.span, f, true)
	if f.Class != Canceled {
		p.failures.note(Failed{now, r.op.name, f.Class, f.Status, f.RequestID})
	}
	r.attempts = append(r.attempts, Attempt{Start: a.start, Delay: r.delay, Took: took, Failure: f, Err: err})
	return false
}

// pause decides whether there is a further attempt, and waits for it.
func (r *run) pause(ctx context.Context) bool {
	last := r.attempts[len(r.attempts)-1]
	r.delay, r.stopped = r.next(ctx, last.Failure)
	r.tell(ctx)
	if r.stopped != "" {
		return false
	}
	if err := sleep(ctx, r.delay); err != nil {
		r.stopped = "the caller left"
		r.refuse(ctx, err)
		return false
	}
	r.now = time.Now()
	return true
}

// failed makes the error of the call.
func (r *run) failed(ctx context.Context) error {
	last := &r.attempts[len(r.attempts)-1]
	e := &Error{
		Policy: r.policy.name, Call: r.call.Name, Kind: r.call.Kind,
		Class: last.Class, Sent: last.Sent, Attempts: r.attempts, Stopped: r.stopped, err: last.Err,
	}
	for i := range r.attempts {
		e.Sent = min(e.Sent, r.attempts[i].Sent)
	}
	if e.Stopped == "" { // pause was never asked
		e.Stopped = "nothing was tried"
		r.stopped = e.Stopped
		r.tell(ctx)
	}
	r.policy.metrics.done(ctx, r, e.Class, false)
	return e
}

// CallerLeft reports that the caller's own context ended, and not one by which
// somebody shared out the time of several providers ([ErrShare], [ErrOvertaken]).
func CallerLeft(ctx context.Context) bool {
	if ctx.Err() == nil {
		return false
	}
	cause := context.Cause(ctx)
	return !errors.Is(cause, ErrShare) && !errors.Is(cause, ErrOvertaken)
}

// callersError makes sure that err matches the caller's own context error.
func callersError(ctx context.Context, err error) error {
	if errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}
