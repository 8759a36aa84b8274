package edr

import (
	"context"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover"
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
		if !pause(ctx, delay) {
			return false
		}
	}
}

// pause waits and reports whether the context still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// act runs one effect at one vendor: intent into the ledger, send, read back if
// the answer was lost, outcome into the ledger. outer is the time beyond this
// vendor's share, in which the answer may still be read back.
func (f *Fleet) act(ctx, outer context.Context, d Driver, r Record, verb Verb, intent Intent) (Action, error) {
	a := Action{Provider: d.Provider, HostID: r.ID, Verb: verb, At: time.Now()}
	entry := Entry{
		Provider: d.Provider, HostID: r.ID, Name: name([]Record{r}), Verb: verb,
		Outcome: failover.Unknown, Intent: intent, At: a.At,
	}
	before, ledgerErr := f.ledger.set(ctx, entry)
	if ledgerErr != nil {
		// A host that must be contained does not wait for a disk.
		f.log.ErrorContext(ctx, "acting without a ledger entry: a crash now would leave no trace of it",
			"jurymast.provider", d.Provider, "host", r.ID, "error", ledgerErr.Error())
	}
	send, wanted := d.Isolate.Isolate, State.Holds
	if verb == VerbRelease {
		send, wanted = d.Isolate.Release, func(s State) bool { return s == NotContained || s == ReleasePending }
	}
	outcome, err := send(ctx, r.ID, intent)
	if err != nil {
		outcome = outcomeOf(err)
	}
	if outcome == failover.Unknown && f.reconcile(outer, d, r.ID, wanted) {
		outcome, err = failover.Accepted, nil
	}
	if outcome == failover.Unknown {
		err = &unknownError{provider: d.Provider, next: f.cfg.OnUnknown == NextProvider, err: err}
	}
	a.Outcome, a.Err = outcome, err
	if ledgerErr == nil {
		entry.Outcome = outcome
		ledgerErr = f.note(ctx, entry, before)
	}
	if ledgerErr != nil && err == nil {
		f.log.ErrorContext(ctx, "the ledger does not have this effect", "jurymast.provider", d.Provider,
			"host", r.ID, "verb", string(verb), "error", ledgerErr.Error())
	}
	return a, err
}

// note writes the outcome. An effect that did not happen leaves the entry that
// was there before; a release that worked leaves none.
func (f *Fleet) note(ctx context.Context, e, before Entry) error {
	switch {
	case e.Verb == VerbRelease && e.Outcome.OK():
		return f.ledger.clear(ctx, e.Provider, e.HostID)
	case e.Verb == VerbContain && !e.Outcome.MayHold() && before.Owed():
		e = before
	case e.Verb == VerbContain && !e.Outcome.MayHold():
		return f.ledger.clear(ctx, e.Provider, e.HostID)
	}
	_, err := f.ledger.set(ctx, e)
	return err
}

func describe(q Query, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("host %s: %w", q, err)
}
