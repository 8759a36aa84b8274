package edr

import (
	"context"
	"errors"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// Release lets a host back on the network everywhere: at every vendor that the
// ledger or the vendor itself says holds it. A containment still under way is
// waited for.
//
// The error is nil if no vendor is known to hold the host any more. A vendor that
// may still hold it is a debt: the error is then a [*DebtError], and the ledger
// keeps the debt until a later Release. A vendor that cannot be asked, and that
// the ledger does not name, is only a gap.
func (f *Fleet) Release(ctx context.Context, q Query, intent Intent) (failover.Result[Effect], error) {
	if err := errors.Join(q.validate(), intent.validate()); err != nil {
		return failover.Result[Effect]{}, err
	}
	ctx, decision := f.group.Decide(ctx, "release")
	res, err := f.release(ctx, q, intent)
	decision.End(res.By(), false, res.Value.Outcome.String(), err)
	return res, describe(q, err)
}

func (f *Fleet) release(ctx context.Context, q Query, intent Intent) (failover.Result[Effect], error) {
	var res failover.Result[Effect]
	found, err := f.resolve(ctx, "release", q)
	res.Value.Host, res.Gaps = found.Value, found.Gaps
	host := found.Value
	if err != nil {
		host.Name = q.Name
	}
	var doubtful []Record
	if err == nil {
		if err = f.certain(host); err != nil {
			// Only what the ledger owes is released.
			doubtful, found.Value.Records = found.Value.Records, nil
		}
	}
	unlock, lockErr := f.flight.lock(ctx, host)
	if lockErr != nil {
		return res, lockErr
	}
	defer unlock()
	// Under the lock: a containment that was under way is in the ledger now.
	owed, ledgerErr := f.owed(ctx, q, host)
	if ledgerErr != nil {
		// What is known is released all the same; what is not must be said.
		res.Gaps = append(res.Gaps, failover.Gap{Provider: "ledger", Err: ledgerErr})
	}
	if err != nil && (len(owed) == 0 || errors.Is(err, ErrAmbiguousHost)) {
		return res, err
	}
	targets := map[string]target{}
	for _, r := range found.Value.Records {
		targets[r.Provider] = target{record: r}
	}
	for _, e := range owed {
		t := targets[e.Provider]
		if t.record.ID == "" {
			t.record = Record{Provider: e.Provider, ID: e.HostID, Hostname: e.Name}
		}
		t.owed = true
		targets[e.Provider] = t
	}
	if found.Value.Name == "" && len(owed) > 0 {
		res.Value.Host.Name = owed[0].Name
	}
	weak := err
	res, err = f.releaseAll(ctx, res, targets, intent)
	for _, r := range doubtful {
		if _, released := targets[r.Provider]; !released && f.mayHold(ctx, r) {
			err = errors.Join(err, weak) // it may be this host, still contained
			break
		}
	}
	return res, errors.Join(err, ledgerErr)
}

// mayHold reports whether a vendor holds the host of a record, or cannot say.
func (f *Fleet) mayHold(ctx context.Context, r Record) bool {
	if r.State != StateUnknown {
		return r.State.Holds()
	}
	for _, m := range f.group.Members() {
		if m.ID == r.Provider {
			s, err := m.Value.Isolate.State(ctx, r.ID)
			return err != nil || s.Holds()
		}
	}
	return true
}

// target is a vendor where the host may be held.
type target struct {
	record Record
	owed   bool // the ledger says so
}

func (f *Fleet) releaseAll(ctx context.Context, res failover.Result[Effect], targets map[string]target, intent Intent) (failover.Result[Effect], error) {
	group := f.group.Only(func(m failover.Member[Driver]) bool { _, ok := targets[m.ID]; return ok })
	// All intents before the first effect, and the first of them names the others.
	var with []HostID
	for _, m := range group.Members() {
		with = append(with, HostID{m.ID, targets[m.ID].record.ID})
	}
	written := map[string]intended{}
	for i, m := range group.Members() {
		written[m.ID] = f.intend(ctx, m.ID, targets[m.ID].record, VerbRelease, intent, with[i+1:]...)
	}
	done, _ := failover.Each(ctx, group, failover.Call{Name: string(VerbRelease), Kind: resilience.Effect, EvenCordoned: true},
		func(ctx context.Context, m failover.Member[Driver]) (Action, error) {
			return f.releaseAt(ctx, m.Value, targets[m.ID], written[m.ID])
		})
	var debts []failover.Gap
	res.Served = nil // those who released something
	res.Value.Outcome = failover.Already
	for i, answer := range done.Value {
		res.Value.Actions = append(res.Value.Actions, answer.Value)
		if answer.Value.Outcome != failover.Already {
			res.Value.Outcome = answer.Value.Outcome
			res.Served = append(res.Served, done.Served[i])
		}
	}
	for _, g := range done.Gaps {
		res.Gaps = withGap(res.Gaps, g)
		if _, held := errors.AsType[*heldError](g.Err); held {
			debts = append(debts, g)
			a := Action{Provider: g.Provider, HostID: targets[g.Provider].record.ID, Verb: VerbRelease, Outcome: outcomeOf(g.Err), At: time.Now(), Err: g.Err}
			res.Value.Actions = append(res.Value.Actions, a)
		}
	}
	if len(debts) > 0 {
		res.Value.Outcome = failover.Failed
		return res, &DebtError{Host: res.Value.Host.Name, Debts: debts}
	}
	return res, nil
}

// withGap adds a gap; a vendor's newer one replaces its older.
func withGap(gaps []failover.Gap, g failover.Gap) []failover.Gap {
	for i := range gaps {
		if gaps[i].Provider == g.Provider {
			gaps[i] = g
			return gaps
		}
	}
	return append(gaps, g)
}

// heldError is the failure to release a host that is, or may be, held.
type heldError struct{ err error }

func (e *heldError) Error() string { return e.err.Error() }
func (e *heldError) Unwrap() error { return e.err }

func (f *Fleet) releaseAt(ctx context.Context, d Driver, t target, w intended) (Action, error) {
	if !t.owed {
		s := t.record.State
		if s == StateUnknown {
			var err error
			if s, err = d.Isolate.State(ctx, t.record.ID); err != nil {
				f.forget(ctx, w) // nobody says that it is held
				return Action{}, err
			}
		}
		if !s.Holds() {
			f.forget(ctx, w)
			return Action{Provider: d.Provider, HostID: t.record.ID, Verb: VerbRelease, Outcome: failover.Already, At: time.Now()}, nil
		}
	}
	for delay := 200 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		a, err := f.act(ctx, ctx, d, w)
		if err == nil {
			return a, nil
		}
		// A conflict is a containment still under way: the vendor takes the release
		// only after it.
		if resilience.Of(err).Class != resilience.Conflict || !pause(ctx, delay) {
			return a, &heldError{err}
		}
	}
}

// owed lists the ledger's entries that concern the query, or the host that it
// found, and are not undone.
func (f *Fleet) owed(ctx context.Context, q Query, h Host) ([]Entry, error) {
	var out []Entry
	var errs []error
	var meant map[string][]recordID
	for e, err := range f.ledger.all(ctx) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !e.Owed() {
			continue
		}
		if meant == nil {
			meant = f.meant(ctx, q, h)
		}
		switch ours, err := q.concerns(meant, e); {
		case err != nil:
			errs = append(errs, err)
		case ours:
			out = append(out, e)
		}
	}
	return out, errors.Join(errs...)
}
