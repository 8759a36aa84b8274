package edr

import (
	"context"
	"errors"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// Contain cuts a host off the network, at one vendor.
//
// All vendors are asked for the host first; then the preferred one that answered
// and knows it isolates it. The next vendor is taken if the failed one provably
// did nothing, or if its answer was lost, could not be read back within
// Config.ReconcileFor, and Config.OnUnknown allows it; then Effect.Holding names
// both. One operation on a host goes on at a time.
//
// The error is nil if the host is contained or will be. Otherwise it matches
// ErrHostNotFound, ErrAmbiguousHost, ErrWeakIdentity, ErrGuard, ErrUnknownOutcome or
// resilience.ErrReadOnly, or tells by resilience.Of what each vendor said.
func (f *Fleet) Contain(ctx context.Context, q Query, intent Intent) (failover.Result[Effect], error) {
	if err := errors.Join(q.validate(), intent.validate()); err != nil {
		return failover.Result[Effect]{}, err
	}
	ctx, decision := f.group.Decide(ctx, "contain")
	res, err := f.contain(ctx, q, intent)
	decision.End(res.By(), len(res.Served) > 0 && res.Served[0].FellOver, res.Value.Outcome.String(), err)
	return res, describe(q, err)
}

func (f *Fleet) contain(ctx context.Context, q Query, intent Intent) (failover.Result[Effect], error) {
	found, err := f.resolve(ctx, "contain", q)
	if err != nil {
		return failover.Result[Effect]{Value: Effect{Host: found.Value}, Gaps: found.Gaps}, err
	}
	return f.containFound(ctx, found, q.Provider, intent)
}

// containFound contains a host that was found, at the vendor that the caller named if
// that can be.
func (f *Fleet) containFound(ctx context.Context, found failover.Result[Host], named string, intent Intent) (failover.Result[Effect], error) {
	return f.guarded(ctx, found, intent, func(res *failover.Result[Effect]) error {
		if named == "" {
			named = f.holder(ctx, found.Value)
		}
		done, err := failover.Do(ctx, f.group.From(named), failover.Call{Name: "contain", Kind: resilience.Effect},
			func(share context.Context, d Driver) (Action, error) {
				r, err := recordAt(found, d.Provider)
				if err != nil {
					return Action{}, err
				}
				a, err := f.act(share, ctx, d, f.intend(ctx, d.Provider, r, VerbContain, intent))
				res.Value.Actions = append(res.Value.Actions, a)
				res.Value.Outcome = worst(res.Value.Outcome, a.Outcome)
				return a, err
			})
		if err == nil {
			res.Value.Outcome = done.Value.Outcome
		}
		res.Served, res.Gaps = done.Served, done.Gaps
		return err
	})
}

// recordAt is a vendor's record of a host that was found, or why nothing can be asked
// of it there: it could not be asked for the host, so not to act either, or it does not
// know it.
func recordAt(found failover.Result[Host], provider string) (Record, error) {
	if err := missing(found.Gaps)[provider]; err != nil {
		return Record{}, resilience.BeforeSending(err)
	}
	r, ok := found.Value.Record(provider)
	if !ok {
		return Record{}, elsewhere{errNotEnrolled}
	}
	return r, nil
}

// guarded contains a host if it is certain which one is meant and no guard refuses, as
// the only operation on it.
func (f *Fleet) guarded(
	ctx context.Context, found failover.Result[Host], intent Intent, contain func(*failover.Result[Effect]) error,
) (failover.Result[Effect], error) {
	res := failover.Result[Effect]{Value: Effect{Host: found.Value}, Gaps: found.Gaps}
	if err := f.certain(found.Value); err != nil {
		return res, err
	}
	unlock, err := f.flight.lock(ctx, found.Value)
	if err != nil {
		return res, err
	}
	defer unlock()
	after, err := f.guard(ctx, found.Value, intent)
	if err != nil {
		res.Value.Outcome = failover.NotSent
		f.audit(ctx, AuditRecord{Verb: VerbContain, Intent: intent, Host: found.Value.Name, Outcome: failover.NotSent}, err)
		return res, err
	}
	defer func() { after(res.Value.Outcome) }()
	err = contain(&res)
	return res, err
}

// holder is the vendor that holds the host already, as far as its record or the ledger
// tells: calls begin with another one since, and a host is contained at one. "" if none
// does.
func (f *Fleet) holder(ctx context.Context, h Host) string {
	for _, r := range h.Records {
		if r.State.Holds() {
			return r.Provider
		}
	}
	for _, r := range h.Records {
		if e, _, err := f.ledger.get(ctx, r.Provider, r.ID); err == nil && e.Verb == VerbContain && e.Outcome.OK() {
			return r.Provider
		}
	}
	return ""
}

// certain refuses to act on records that may be of different machines.
func (f *Fleet) certain(h Host) error {
	if h.Grade == Alone || h.Grade >= f.cfg.MinIdentity {
		return nil
	}
	return &WeakIdentityError{Host: h, Want: f.cfg.MinIdentity}
}

// resolve finds the host in a part of the time, so that a vendor that never
// answers leaves enough of it to act.
func (f *Fleet) resolve(ctx context.Context, operation string, q Query) (failover.Result[Host], error) {
	ctx, cancel := f.within(ctx, 3)
	defer cancel()
	return f.find(resilience.WithBackup(ctx), operation, q)
}

// worst keeps Unknown: one vendor that may hold the host is what matters.
func worst(a, b failover.Outcome) failover.Outcome {
	if a == failover.Unknown {
		return a
	}
	return b
}
