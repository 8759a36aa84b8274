package edr

import (
	"context"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// Effect is what Contain or Release did to a host.
type Effect struct {
	Host    Host
	Outcome failover.Outcome
	Actions []Action // at every vendor that was asked to act, in order
}

// Action is what one vendor did.
type Action struct {
	Provider string
	HostID   string
	Verb     Verb
	Outcome  failover.Outcome
	At       time.Time
	Err      error // why the outcome is not what was wanted
}

// Holding lists the vendors that hold, or may hold, the host after a Contain.
// More than one means that an answer was lost; Release undoes them all.
func (e Effect) Holding() []string {
	var out []string
	for _, a := range e.Actions {
		if a.Verb == VerbContain && a.Outcome.MayHold() {
			out = append(out, a.Provider)
		}
	}
	return out
}

// outcomeOf is what an error says became of the effect.
func outcomeOf(err error) failover.Outcome {
	switch f := resilience.Of(err); {
	case f.Sent == resilience.NotSent:
		return failover.NotSent
	case f.Sent == resilience.Answered:
		return failover.Refused
	}
	return failover.Unknown
}

// within gives a part of the time that is left: one divided by parts of it.
func (f *Fleet) within(ctx context.Context, parts int) (context.Context, context.CancelFunc) {
	left := f.cfg.Total
	if d, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(d))
	}
	return context.WithTimeoutCause(ctx, left/time.Duration(parts), resilience.ErrShare)
}

// reconcile reads a host's state until it is as wanted, after an answer was
// lost. It says no when the time is over or the vendor does not answer.
func (f *Fleet) reconcile(ctx context.Context, d Driver, id string, wanted func(State) bool) bool {
	ctx, cancel := f.within(ctx, 2)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(resilience.WithBackup(ctx), f.cfg.ReconcileFor, resilience.ErrShare)
	defer stop()
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		if s, err := d.Isolate.State(ctx, id); err == nil && wanted(s) {
			return true
		}
		if wait.For(ctx, delay) != nil {
			return false
		}
	}
}

// intended is an effect whose intent is in the ledger.
type intended struct {
	entry  Entry
	before Entry // what the ledger said, zero if nothing
	err    error // of the ledger: there is no entry
}

// intend writes to the ledger what is about to be asked of a vendor.
func (f *Fleet) intend(ctx context.Context, provider string, r Record, verb Verb, intent Intent, with ...HostID) intended {
	w := intended{entry: Entry{
		Provider: provider, HostID: r.ID, Name: name([]Record{r}), Verb: verb,
		Outcome: failover.Unknown, Intent: intent, At: time.Now(), With: with,
	}}
	if w.before, w.err = f.ledger.set(ctx, w.entry); w.err != nil {
		// A host that must be contained does not wait for a disk.
		f.log.ErrorContext(ctx, "acting without a ledger entry: a crash now would leave no trace of it",
			"jurymast.provider", provider, "host", r.ID, "error", w.err.Error())
	}
	return w
}

// act runs one effect at one vendor, whose intent is in the ledger: send, read back
// if the answer was lost, outcome into the ledger. outer is the time beyond this
// vendor's share, in which the answer may still be read back.
func (f *Fleet) act(ctx, outer context.Context, d Driver, w intended) (Action, error) {
	e := w.entry
	a := Action{Provider: d.Provider, HostID: e.HostID, Verb: e.Verb, At: e.At}
	send, wanted := d.Isolate.Isolate, State.Holds
	if e.Verb == VerbRelease {
		send, wanted = d.Isolate.Release, State.free
	}
	outcome, err := send(ctx, e.HostID, e.Intent)
	if err != nil {
		outcome = outcomeOf(err)
	}
	if outcome == failover.Unknown && f.reconcile(outer, d, e.HostID, wanted) {
		outcome, err = failover.Accepted, nil
	}
	if outcome == failover.Unknown {
		err = &unknownError{provider: d.Provider, next: f.cfg.OnUnknown == NextProvider, err: err}
	}
	a.Outcome, a.Err = outcome, err
	w.entry.Outcome, w.entry.With = outcome, nil
	f.note(ctx, w)
	f.audit(ctx, w.entry.record(), err)
	return a, err
}

// note writes the outcome. A containment that did not happen leaves what the ledger
// said before.
func (f *Fleet) note(ctx context.Context, w intended) {
	if w.err != nil {
		return
	}
	e := w.entry
	if e.Verb == VerbContain && !e.Outcome.MayHold() {
		f.forget(ctx, w)
		return
	}
	switch before := w.before; {
	case e.Verb == VerbRelease && before.Debt():
		e.At = before.At // a debt is as old as its first release
	case e.Verb == VerbContain && e.Outcome == failover.Already && before.Verb == VerbContain:
		before.Outcome, e = failover.Already, before // who wanted it first
	}
	_, err := f.ledger.set(ctx, e)
	f.noted(ctx, e, err)
}

// forget takes an intent back of which nothing came: the ledger says what it said
// before.
func (f *Fleet) forget(ctx context.Context, w intended) {
	if w.err != nil {
		return
	}
	var err error
	if w.before.Provider != "" {
		_, err = f.ledger.set(ctx, w.before)
	} else {
		err = f.ledger.clear(ctx, w.entry.Provider, w.entry.HostID)
	}
	f.noted(ctx, w.entry, err)
}

func (f *Fleet) noted(ctx context.Context, e Entry, err error) {
	if err != nil {
		f.log.ErrorContext(ctx, "the ledger does not have the outcome of this effect", "jurymast.provider", e.Provider,
			"host", e.HostID, "verb", string(e.Verb), "outcome", e.Outcome.String(), "error", err.Error())
	}
}

func describe(q Query, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("host %s: %w", q, err)
}
