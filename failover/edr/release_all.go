package edr

import (
	"context"
	"slices"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// target is a vendor's record of a host that may be held there.
type target struct {
	record Record
	owed   bool // the ledger says so
}

// targets are all that a release is about. A vendor may have several: a machine that
// was re-imaged while it was contained is owed under its old id too.
type targets []target

func (t *targets) add(r Record, owed bool) {
	for i := range *t {
		if (*t)[i].record.key() == r.key() {
			(*t)[i].owed = (*t)[i].owed || owed
			return
		}
	}
	*t = append(*t, target{r, owed})
}

func (t targets) at(provider string) bool {
	return slices.ContainsFunc(t, func(t target) bool { return t.record.Provider == provider })
}

// letGo is what became of a target.
type letGo struct {
	Action
	held bool // it may still be contained there
}

// releaseAll releases a host wherever it may be held, at all vendors at the same time.
func (f *Fleet) releaseAll(ctx context.Context, res failover.Result[Effect], all targets, intent Intent) (failover.Result[Effect], error) {
	group := f.group.Only(func(m failover.Member[Driver]) bool { return all.at(m.ID) })
	// All intents before the first effect, and each names those after it.
	var with []HostID
	for _, t := range all {
		with = append(with, HostID{t.record.Provider, t.record.ID})
	}
	written := make([]intended, len(all))
	for i, t := range all {
		written[i] = f.intend(ctx, t.record.Provider, t.record, VerbRelease, intent, with[i+1:]...)
	}
	done, _ := failover.Each(ctx, group, failover.Call{Name: string(VerbRelease), Kind: resilience.Effect, EvenCordoned: true},
		func(ctx context.Context, m failover.Member[Driver]) (out []letGo, _ error) {
			for i, t := range all {
				if t.record.Provider == m.ID {
					out = append(out, f.releaseAt(ctx, m.Value, t, written[i]))
				}
			}
			return out, nil
		})
	var debts []failover.Gap
	res.Served = nil // those who released something
	res.Value.Outcome = failover.Already
	for i, answer := range done.Value {
		served := false
		for _, r := range answer.Value {
			if r.Err != nil {
				g := failover.Gap{Provider: answer.Provider, Err: r.Err}
				res.Gaps = withGap(res.Gaps, g)
				if r.held {
					debts = append(debts, g)
				}
			}
			if r.Outcome == failover.Unset {
				continue // nothing is known to be held there
			}
			res.Value.Actions = append(res.Value.Actions, r.Action)
			if r.Outcome.OK() && r.Outcome != failover.Already {
				res.Value.Outcome, served = r.Outcome, true
			}
		}
		if served {
			res.Served = append(res.Served, done.Served[i])
		}
	}
	for _, g := range done.Gaps { // its driver panicked: nobody knows
		res.Gaps, debts = withGap(res.Gaps, g), append(debts, g)
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

func (f *Fleet) releaseAt(ctx context.Context, d Driver, t target, w intended) letGo {
	if !t.owed {
		s := t.record.State
		if s == StateUnknown {
			var err error
			if s, err = d.Isolate.State(ctx, t.record.ID); err != nil {
				f.forget(ctx, w) // nobody says that it is held
				return letGo{Action: Action{Provider: d.Provider, HostID: t.record.ID, Verb: VerbRelease, At: time.Now(), Err: err}}
			}
		}
		if !s.Holds() {
			f.forget(ctx, w)
			return letGo{Action: Action{Provider: d.Provider, HostID: t.record.ID, Verb: VerbRelease, Outcome: failover.Already, At: time.Now()}}
		}
	}
	for delay := 200 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		a, err := f.act(ctx, ctx, d, w)
		if err == nil {
			return letGo{Action: a}
		}
		// A conflict is a containment still under way: the vendor takes the release
		// only after it.
		if resilience.Of(err).Class != resilience.Conflict || wait.For(ctx, delay) != nil {
			return letGo{a, true}
		}
	}
}
