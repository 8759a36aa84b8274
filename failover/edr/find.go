package edr

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// Hosts lists the hosts of all vendors, merged by name, in order of their names.
// A vendor that failed, or whose list matches ErrImplausible, is a gap: its hosts,
// and its half of the others, are missing.
func (f *Fleet) Hosts(ctx context.Context) (failover.Result[[]Host], error) {
	found, err := f.believed(ctx)(f.records(ctx, "hosts", Query{}))
	out := failover.Result[[]Host]{Served: found.Served, Gaps: found.Gaps}
	byName := map[string][]Record{}
	for _, answer := range found.Value {
		for _, r := range answer.Value {
			label, _ := splitName(r.Hostname)
			byName[label] = append(byName[label], r)
		}
	}
	for _, records := range byName {
		out.Value = append(out.Value, merge(records)...)
	}
	slices.SortFunc(out.Value, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// merge joins the records of one name into machines: one record of each vendor,
// unless there are several or they contradict each other; then each stays alone.
func merge(records []Record) []Host {
	if h, against := machine(records); against == "" {
		return []Host{h}
	}
	var out []Host
	for _, r := range records {
		out = append(out, Host{Name: name([]Record{r}), Records: []Record{r}})
	}
	return out
}

// Find returns the one host that the query means, with its record at every
// vendor that answered. It fails with an error that matches ErrHostNotFound or
// ErrAmbiguousHost.
func (f *Fleet) Find(ctx context.Context, q Query) (failover.Result[Host], error) {
	if err := q.validate(); err != nil {
		return failover.Result[Host]{}, err
	}
	found, err := f.find(ctx, "find", q)
	if err == nil {
		f.fillStates(ctx, &found)
	}
	return found, err
}

// fillStates asks the vendors whose records do not tell it for the state. One
// that does not answer is a gap, and its record stays unknown.
func (f *Fleet) fillStates(ctx context.Context, found *failover.Result[Host]) {
	group := f.group.Only(func(m failover.Member[Driver]) bool {
		r, ok := found.Value.Record(m.ID)
		return ok && r.State == StateUnknown
	})
	states, _ := failover.Each(ctx, group, failover.Call{Name: "find", Kind: resilience.Read},
		func(ctx context.Context, m failover.Member[Driver]) (State, error) {
			r, _ := found.Value.Record(m.ID)
			return m.Value.Isolate.State(ctx, r.ID)
		})
	found.Gaps = append(found.Gaps, states.Gaps...)
	for _, answer := range states.Value {
		for i := range found.Value.Records {
			if r := &found.Value.Records[i]; r.Provider == answer.Provider {
				r.State, r.AsOf = answer.Value, time.Now()
			}
		}
	}
}

func (f *Fleet) find(ctx context.Context, operation string, q Query) (failover.Result[Host], error) {
	found, err := f.records(ctx, operation, q)
	out := failover.Result[Host]{Served: found.Served, Gaps: found.Gaps}
	if err != nil {
		return out, err
	}
	var records []Record
	for _, answer := range found.Value {
		records = append(records, answer.Value...)
	}
	if len(records) == 0 {
		return out, &NotFoundError{Query: q, Gaps: found.Gaps}
	}
	h, against := machine(records)
	if against != "" {
		return out, &AmbiguousHostError{Query: q, Candidates: records, Why: against}
	}
	out.Value = h
	return out, nil
}

// records asks every vendor that the query concerns.
func (f *Fleet) records(ctx context.Context, operation string, q Query) (failover.Result[[]failover.Answer[[]Record]], error) {
	group, err := f.concerned(q)
	if err != nil {
		return failover.Result[[]failover.Answer[[]Record]]{}, err
	}
	// A release looks behind a cordon too: it must happen wherever the host is held.
	return failover.Each(ctx, group, failover.Call{Name: operation, Kind: resilience.Read, EvenCordoned: operation == string(VerbRelease)},
		func(ctx context.Context, m failover.Member[Driver]) ([]Record, error) {
			return collect(ctx, m.Value, q)
		})
}

// concerned are the vendors that a query is about.
func (f *Fleet) concerned(q Query) (*failover.Group[Driver], error) {
	if q.Provider == "" {
		return f.group, nil
	}
	group := f.group.Only(func(m failover.Member[Driver]) bool { return m.ID == q.Provider })
	if len(group.Members()) == 0 {
		return nil, resilience.Misusef("edr: Query.Provider %q is not one of this fleet's: %v", q.Provider, f.Providers())
	}
	return group, nil
}

func collect(ctx context.Context, d Driver, q Query) ([]Record, error) {
	var out []Record
	for r, err := range d.Find.Find(ctx, q) {
		if err != nil {
			return nil, err
		}
		r.Provider = d.Provider
		if q.Matches(r) {
			out = append(out, r)
		}
	}
	return out, nil
}

// State returns a host's containment as the first vendor that answers sees it:
// a read that costs one vendor, for polling. Served tells which one; another
// vendor may hold the host as well, which Find shows.
func (f *Fleet) State(ctx context.Context, q Query) (failover.Result[Record], error) {
	if err := q.validate(); err != nil {
		return failover.Result[Record]{}, err
	}
	group, err := f.concerned(q)
	if err != nil {
		return failover.Result[Record]{}, err
	}
	return failover.Do(ctx, group, failover.Call{Name: "state", Kind: resilience.Read},
		func(ctx context.Context, d Driver) (Record, error) {
			records, err := collect(ctx, d, q)
			switch {
			case err != nil:
				return Record{}, err
			case len(records) == 0:
				return Record{}, elsewhere{&NotFoundError{Query: q}}
			case len(records) > 1:
				_, against := machine(records)
				return Record{}, &AmbiguousHostError{Query: q, Candidates: records, Why: against}
			}
			r := records[0]
			if r.State == StateUnknown {
				if r.State, err = d.Isolate.State(ctx, r.ID); err != nil {
					return Record{}, err
				}
				r.AsOf = time.Now()
			}
			return r, nil
		})
}

// elsewhere is a host that one vendor does not know: another may.
type elsewhere struct{ error }

func (elsewhere) TryNext() bool   { return true }
func (e elsewhere) Unwrap() error { return e.error }
