package edr

import (
	"context"
	"errors"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// ContainEverywhere contains a host at every vendor that knows it, for a host that must
// stay cut off although one of its agents is tampered with. Release undoes all of it.
// Otherwise as Contain.
//
// The error is nil if any vendor contains the host, or will; those that do not are in
// Gaps, and Effect.Actions has what each said.
func (f *Fleet) ContainEverywhere(ctx context.Context, q Query, intent Intent) (failover.Result[Effect], error) {
	if err := errors.Join(q.validate(), intent.validate()); err != nil {
		return failover.Result[Effect]{}, err
	}
	ctx, decision := f.group.Decide(ctx, "contain_everywhere")
	res, err := f.containEverywhere(ctx, q, intent)
	decision.End(res.By(), false, res.Value.Outcome.String(), err)
	return res, describe(q, err)
}

func (f *Fleet) containEverywhere(ctx context.Context, q Query, intent Intent) (failover.Result[Effect], error) {
	found, err := f.resolve(ctx, "contain", q)
	if err != nil {
		return failover.Result[Effect]{Value: Effect{Host: found.Value}, Gaps: found.Gaps}, err
	}
	return f.guarded(ctx, found, intent, func(res *failover.Result[Effect]) error {
		known := f.group.Only(func(m failover.Member[Driver]) bool { return containsProvider(found.Value.Records, m.ID) })
		done, err := failover.Each(ctx, known, failover.Call{Name: "contain", Kind: resilience.Effect},
			func(ctx context.Context, m failover.Member[Driver]) (Action, error) {
				r, _ := found.Value.Record(m.ID)
				a, _ := f.act(ctx, ctx, m.Value, f.intend(ctx, m.ID, r, VerbContain, intent))
				return a, nil // its error is in it
			})
		res.Gaps = append(found.Gaps, done.Gaps...)
		var errs []error
		for i, a := range done.Value {
			res.Value.Actions = append(res.Value.Actions, a.Value)
			if a.Value.Outcome.OK() {
				res.Served = append(res.Served, done.Served[i])
			} else {
				res.Gaps, errs = append(res.Gaps, failover.Gap{Provider: a.Provider, Err: a.Value.Err}), append(errs, a.Value.Err)
			}
			res.Value.Outcome = better(res.Value.Outcome, a.Value.Outcome)
		}
		if len(res.Served) > 0 {
			return nil
		}
		return errors.Join(append(errs, err)...)
	})
}

// better keeps that the host is contained; else that it may be.
func better(a, b failover.Outcome) failover.Outcome {
	if a.OK() || a == failover.Unknown && !b.OK() {
		return a
	}
	return b
}
