package edr

import (
	"context"
	"slices"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// State returns a host's containment with as few calls as that takes, for polling. If
// the ledger says that vendors hold the host, or may, those are asked, and the answer is
// that of one that holds it; one that cannot be asked is a gap, and the record is then
// what the ledger knows of it (Record.FromLedger, Record.AsOf). Otherwise it is what the
// first vendor that answers says, and another may hold the host as well, which Find
// shows. Served tells who answered.
func (f *Fleet) State(ctx context.Context, q Query) (failover.Result[Record], error) {
	if err := q.validate(); err != nil {
		return failover.Result[Record]{}, err
	}
	link, _ := f.linkOf(ctx, q) // without it one vendor is asked
	group, err := f.concerned(q, link)
	if err != nil {
		return failover.Result[Record]{}, err
	}
	owed, ledgerErr := f.owed(ctx, q, Host{})
	if len(owed) > 0 {
		return f.stateOf(ctx, owed)
	}
	res, err := failover.Do(ctx, group.From(q.Provider), failover.Call{Name: "state", Kind: resilience.Read},
		func(ctx context.Context, d Driver) (Record, error) {
			records, err := ask(ctx, d, q, link)
			switch {
			case err != nil:
				return Record{}, err
			case len(records) == 0:
				return Record{}, elsewhere{&NotFoundError{Query: q}}
			}
			known, _ := f.known(ctx, records)
			h, against := known.settle(records, f.gapsBut(d.Provider))
			if against != "" {
				return Record{}, &AmbiguousHostError{Query: q, Candidates: records, Why: against}
			}
			return stated(ctx, d, h.Records[0])
		})
	res.Gaps = ledgerGap(res.Gaps, ledgerErr)
	if err == nil { // what was released just now
		one := []Record{res.Value}
		res.Gaps = f.overlayEach(ctx, res.Gaps, one)
		res.Value = one[0]
	}
	return res, err
}

// stated fills in a record's state, if the vendor tells it only by itself.
func stated(ctx context.Context, d Driver, r Record) (Record, error) {
	if r.State != StateUnknown {
		return r, nil
	}
	s, err := d.Isolate.State(ctx, r.ID)
	r.State, r.AsOf = s, time.Now()
	return r, err
}

// stateOf asks the vendors of some entries of one host.
func (f *Fleet) stateOf(ctx context.Context, owed []Entry) (failover.Result[Record], error) {
	of := func(provider string) Entry {
		return owed[slices.IndexFunc(owed, func(e Entry) bool { return e.Provider == provider })]
	}
	group := f.group.Only(func(m failover.Member[Driver]) bool {
		return slices.ContainsFunc(owed, func(e Entry) bool { return e.Provider == m.ID })
	})
	states, err := failover.Each(ctx, group, failover.Call{Name: "state", Kind: resilience.Read},
		func(ctx context.Context, m failover.Member[Driver]) (Record, error) {
			e := of(m.ID)
			records, err := collect(ctx, m.Value, Native(m.ID, e.HostID))
			if err != nil {
				return Record{}, err
			}
			if len(records) == 0 {
				return Record{}, &NotFoundError{Query: Native(m.ID, e.HostID)}
			}
			r, err := stated(ctx, m.Value, records[0])
			e.overlay(&r, time.Now())
			return r, err
		})
	res := failover.Result[Record]{Gaps: states.Gaps}
	// One that holds it; else one that could not be asked, and may; else one that answered.
	for i, a := range states.Value {
		if a.Value.State.Holds() || i == 0 {
			res.Value, res.Served = a.Value, states.Served[i:i+1]
		}
		if a.Value.State.Holds() {
			return res, nil
		}
	}
	if len(states.Gaps) > 0 {
		res.Value, res.Served = of(states.Gaps[0].Provider).remembered(), nil
		return res, nil
	}
	return res, err
}

// remembered is what the ledger knows of a host whose vendor cannot be asked.
func (e Entry) remembered() Record {
	r := Record{Provider: e.Provider, ID: e.HostID, Hostname: e.Name, FromLedger: true, AsOf: e.At}
	switch {
	case e.Verb == VerbContain && !e.Proven.IsZero():
		r.State, r.AsOf = Contained, e.Proven
	case e.Verb == VerbContain && e.Outcome.OK():
		r.State = ContainPending
	}
	return r
}
