package edr

import (
	"context"
	"slices"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// Hosts lists the hosts of all vendors in order of their names: the records of a
// name are one host, one record of each vendor, unless there are several or they
// contradict each other; then keys of the machine and links decide, or each stays alone.
// A vendor that failed, or whose list matches ErrImplausible, is a gap: its hosts, and
// its half of the others, are missing.
func (f *Fleet) Hosts(ctx context.Context) (failover.Result[[]Host], error) {
	found, err := f.believed(ctx)(f.records(ctx, "hosts", Query{}))
	out := failover.Result[[]Host]{Served: found.Served, Gaps: found.Gaps}
	known, gaps := f.known(ctx, nil)
	out.Gaps = append(out.Gaps, gaps...)
	total := 0
	for _, answer := range found.Value {
		total += len(answer.Value)
	}
	records := make([]Record, 0, total)
	for i, answer := range found.Value {
		records = append(records, answer.Value...)
		found.Value[i].Value = nil // of a large fleet one copy is enough
	}
	out.Gaps = f.overlayAll(ctx, out.Gaps, records)
	known.docks = sharedCards(records, known.docks)
	out.Value = known.merge(records)
	if absent := f.absent(out.Gaps); len(absent) > 0 {
		for i := range out.Value {
			out.Value[i].Missing = absent
		}
	}
	return out, err
}

// absent are the vendors among the gaps.
func (f *Fleet) absent(gaps []failover.Gap) (out []string) {
	for _, p := range f.Providers() {
		if hasGap(gaps, p) {
			out = append(out, p)
		}
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
		found.Gaps = f.overlayEach(ctx, found.Gaps, found.Value.Records)
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
	link, gaps := f.linkOf(ctx, q)
	group, err := f.concerned(q, link)
	if err != nil {
		return failover.Result[Host]{}, err
	}
	found, err := f.recordsOf(ctx, group, operation, q, link)
	out := failover.Result[Host]{Served: found.Served, Gaps: append(found.Gaps, gaps...)}
	if err != nil {
		return out, err
	}
	var records []Record
	for _, answer := range found.Value {
		records = append(records, answer.Value...)
	}
	if link != nil {
		records, out.Gaps = f.stillLinked(q, link, records, out.Gaps)
	}
	if len(records) == 0 {
		return out, &NotFoundError{Query: q, Gaps: out.Gaps}
	}
	known, gaps := f.known(ctx, records)
	out.Gaps = append(out.Gaps, gaps...)
	if link == nil && q.ID == "" {
		records, out.Gaps = f.pinnedElsewhere(ctx, operation, known, records, out.Gaps)
	}
	h, against := known.settle(records, out.Gaps)
	if against != "" {
		return out, &AmbiguousHostError{Query: q, Candidates: records, Why: against}
	}
	out.Value = h
	out.Value.Missing = f.absent(out.Gaps)
	return out, nil
}

// records asks every vendor that the query concerns.
func (f *Fleet) records(ctx context.Context, operation string, q Query) (failover.Result[[]failover.Answer[[]Record]], error) {
	group, err := f.concerned(q, nil)
	if err != nil {
		return failover.Result[[]failover.Answer[[]Record]]{}, err
	}
	return f.recordsOf(ctx, group, operation, q, nil)
}

func (f *Fleet) recordsOf(
	ctx context.Context, group *failover.Group[Driver], operation string, q Query, link *Link,
) (failover.Result[[]failover.Answer[[]Record]], error) {
	// A release looks behind a cordon too: it must happen wherever the host is held.
	return failover.Each(ctx, group, failover.Call{Name: operation, Kind: resilience.Read, EvenCordoned: operation == string(VerbRelease)},
		func(ctx context.Context, m failover.Member[Driver]) ([]Record, error) {
			return ask(ctx, m.Value, q, link)
		})
}

// ask asks one vendor for what a query means, or for what a link says that is there.
func ask(ctx context.Context, d Driver, q Query, link *Link) ([]Record, error) {
	if link != nil && d.Provider != q.Provider {
		return throughLink(ctx, d, link)
	}
	return collect(ctx, d, q)
}

// concerned are the vendors that a query is about.
func (f *Fleet) concerned(q Query, link *Link) (*failover.Group[Driver], error) {
	if q.Provider == "" {
		return f.group, nil
	}
	linked := func(m failover.Member[Driver]) bool {
		_, ok := link.Member(m.ID)
		return ok
	}
	group := f.group.Only(func(m failover.Member[Driver]) bool { return m.ID == q.Provider || link != nil && linked(m) })
	if !slices.Contains(f.Providers(), q.Provider) {
		return nil, resilience.Misusef("edr: Query.Provider %q is not one of this fleet's: %v", q.Provider, f.Providers())
	}
	return group, nil
}

func collect(ctx context.Context, d Driver, q Query) ([]Record, error) {
	// In chunks: to let one slice grow to a large fleet would copy each record five times.
	var full [][]Record
	var last []Record
	for r, err := range d.Find.Find(ctx, q) {
		if err != nil {
			return nil, err
		}
		r.Provider = d.Provider
		if !q.Matches(r) {
			continue
		}
		if len(last) == chunk {
			full, last = append(full, last), make([]Record, 0, chunk)
		}
		last = append(last, r)
	}
	if full == nil {
		return last, nil
	}
	return slices.Concat(append(full, last)...), nil
}

const chunk = 4096 // records

// elsewhere is a host that one vendor does not know: another may.
type elsewhere struct{ error }

func (elsewhere) TryNext() bool   { return true }
func (e elsewhere) Unwrap() error { return e.error }
