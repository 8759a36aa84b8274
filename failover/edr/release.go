package edr

import (
	"context"
	"errors"

	"github.com/jurymast/jurymast/failover"
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
	var all targets
	for _, r := range found.Value.Records {
		all.add(r, false)
	}
	for _, e := range owed {
		all.add(Record{Provider: e.Provider, ID: e.HostID, Hostname: e.Name}, true)
	}
	if found.Value.Name == "" && len(owed) > 0 {
		res.Value.Host.Name = owed[0].Name
	}
	weak := err
	res, err = f.releaseAll(ctx, res, all, intent)
	for _, r := range doubtful {
		if !all.at(r.Provider) && f.mayHold(ctx, r) {
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
	d, err := f.driver(r.Provider)
	if err != nil {
		return true
	}
	held, err := d.Isolate.State(ctx, r.ID)
	return err != nil || held.Holds()
}

// owed lists the ledger's entries that concern the query, or the host that it
// found, and are not undone.
func (f *Fleet) owed(ctx context.Context, q Query, h Host) ([]Entry, error) {
	entries, err := f.ledger.list(ctx, Entry.Owed)
	if len(entries) == 0 {
		return nil, err
	}
	var out []Entry
	errs := []error{err}
	meant := f.meant(ctx, q, h)
	for _, e := range entries {
		switch ours, err := q.concerns(meant, e); {
		case err != nil:
			errs = append(errs, err)
		case ours:
			out = append(out, e)
		}
	}
	return out, errors.Join(errs...)
}
