package edr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// Sweep is what came of comparing the ledger with the vendors. Entries are as they
// were judged.
type Sweep struct {
	// Held are what the vendors confirm to hold, Foreign ones among them.
	Held []Entry
	// Pending are too young, or still under way at the vendor.
	Pending []Entry
	// Adopted are new in the ledger: the vendor holds the host, and nobody asked for
	// it here. They are Foreign.
	Adopted []Entry
	// NotDone were accepted, or may have been, and the vendor does not hold the host:
	// it is not contained. They have left the ledger.
	NotDone []Entry
	// Ended were held, and somebody else let them go. They have left the ledger.
	Ended []Entry
	// Released were let go, as was wanted. They have left the ledger.
	Released []Entry
	// Debts are releases that did not succeed, also now.
	Debts []Debt
	// Unread are entries whose vendor could not say how it stands.
	Unread []Debt
}

// Owed are the releases that did not succeed, whether the vendor holds the host or
// could not say: hosts that may be cut off although somebody let them go.
func (s Sweep) Owed() []Debt {
	owed := slices.Clone(s.Debts)
	for _, u := range s.Unread {
		if u.Debt() {
			owed = append(owed, u)
		}
	}
	return owed
}

// Debt is an entry of the ledger that could not be settled, and why.
type Debt struct {
	Entry
	Err error // nil: the vendor is still busy
}

// Sweep compares the ledger with what the vendors say, and both become true again:
// effects whose outcome was unknown are settled, releases that failed are tried
// again, and containments that somebody made in a vendor's console are adopted, to be
// seen and to be released by Release, and never by a Sweep. A vendor that cannot be
// asked is a gap, and what the ledger says of it stays. Fleet.Run does it every ten
// minutes.
//
// The error is nil if any vendor answered; a ledger that cannot be read or written
// is joined to it.
func (f *Fleet) Sweep(ctx context.Context) (failover.Result[Sweep], error) {
	return f.sweep(ctx, "sweep", true)
}

// sweepTime bounds a sweep of all vendors when the caller's context does not: so much
// as lies between two of them.
const sweepTime = sweepEvery

// sweep settles the ledger; a full one looks for foreign containments too, and at
// what was settled before.
func (f *Fleet) sweep(ctx context.Context, operation string, full bool) (failover.Result[Sweep], error) {
	ctx, decision := f.group.Decide(ctx, operation)
	entries, err := f.entries(ctx, full)
	err = errors.Join(err, f.followUp(ctx, entries))
	if full {
		err = errors.Join(err, f.dropJobs(ctx))
	}
	// A release that is owed is owed by a cordoned vendor too.
	res, _ := failover.Each(ctx, f.group.Within(sweepTime), failover.Call{Name: operation, Kind: resilience.Effect, EvenCordoned: true},
		func(ctx context.Context, m failover.Member[Driver]) (swept, error) {
			return f.sweepAt(ctx, m.Value, entries[m.ID], full && !f.cordoned(m.ID)), nil
		})
	out := failover.Result[Sweep]{Gaps: res.Gaps}
	for i, a := range res.Value {
		out.Value.add(a.Value.Sweep)
		if a.Value.gap == nil {
			out.Served = append(out.Served, res.Served[i])
		} else {
			out.Gaps = append(out.Gaps, failover.Gap{Provider: a.Provider, Err: a.Value.gap})
		}
		delete(entries, a.Provider)
	}
	for provider, left := range entries {
		for _, e := range left {
			out.Value.file(e, unread, resilience.Misusef("edr: Config.Drivers has none for %s: add it until the ledger has no entry there", provider))
		}
	}
	if len(out.Served) == 0 {
		err = errors.Join(append(gapErrors(out.Gaps), err)...)
	}
	f.alarm(ctx, out.Value)
	decision.End("", false, "", err)
	return out, err
}

func (f *Fleet) cordoned(provider string) bool {
	return slices.ContainsFunc(f.Cordons(), func(c failover.Cordon) bool { return c.Provider == provider })
}

// entries are those of the ledger by their vendors, all or those that are not settled.
func (f *Fleet) entries(ctx context.Context, all bool) (map[string][]Entry, error) {
	list, err := f.ledger.list(ctx, func(e Entry) bool { return all || !e.settled() })
	out := map[string][]Entry{}
	for _, e := range list {
		out[e.Provider] = append(out[e.Provider], e)
	}
	return out, err
}

func (s *Sweep) add(t Sweep) {
	s.Held, s.Pending = append(s.Held, t.Held...), append(s.Pending, t.Pending...)
	s.Adopted, s.NotDone = append(s.Adopted, t.Adopted...), append(s.NotDone, t.NotDone...)
	s.Ended, s.Released = append(s.Ended, t.Ended...), append(s.Released, t.Released...)
	s.Debts, s.Unread = append(s.Debts, t.Debts...), append(s.Unread, t.Unread...)
}

// swept is a sweep of one vendor.
type swept struct {
	Sweep
	gap error // it could not be asked, or not for the hosts that others contained
}

func (f *Fleet) sweepAt(ctx context.Context, d Driver, entries []Entry, adopt bool) (s swept) {
	held := map[string]Record{}
	if adopt && d.Held != nil {
		if held, s.gap = heldBy(ctx, d); s.gap != nil {
			s.gap = fmt.Errorf("listing the hosts that it holds: %w", s.gap)
		}
	}
	for _, e := range entries {
		state := held[e.HostID].State
		delete(held, e.HostID)
		e, found, err := f.settle(ctx, d, e, state)
		s.file(e, found, err)
		f.tell(ctx, e, found, err)
	}
	if n := len(s.Unread); n > 0 && n == len(entries) && s.gap == nil {
		s.gap = s.Unread[0].Err
	}
	for _, r := range held {
		if e, err := f.adopt(ctx, d, r); err != nil {
			s.gap = errors.Join(s.gap, err)
		} else if e.Provider != "" {
			s.Adopted = append(s.Adopted, e)
		}
	}
	return s
}

func (s *Sweep) file(e Entry, found finding, err error) {
	switch found {
	case unread:
		s.Unread = append(s.Unread, Debt{e, err})
	case pending:
		s.Pending = append(s.Pending, e)
	case proven:
		s.Held = append(s.Held, e)
	case notDone:
		s.NotDone = append(s.NotDone, e)
	case ended:
		s.Ended = append(s.Ended, e)
	case released:
		s.Released = append(s.Released, e)
	case debt:
		s.Debts = append(s.Debts, Debt{e, err})
	}
}

// heldBy is what a vendor says that it holds, by its ids.
func heldBy(ctx context.Context, d Driver) (map[string]Record, error) {
	out := map[string]Record{}
	for r, err := range d.Held.Held(ctx) {
		if err != nil {
			return nil, err
		}
		r.Provider = d.Provider
		out[r.ID] = r
	}
	return out, nil
}

// adopt writes a containment into the ledger that nobody asked for here. It returns
// the zero entry if there is one by now.
func (f *Fleet) adopt(ctx context.Context, d Driver, r Record) (Entry, error) {
	if !r.State.Holds() {
		return Entry{}, nil // being let go
	}
	unlock, err := f.flight.lock(ctx, Host{Name: name([]Record{r})})
	if err != nil {
		return Entry{}, err
	}
	defer unlock()
	if _, rev, err := f.ledger.get(ctx, d.Provider, r.ID); err != nil || rev != 0 {
		return Entry{}, wrapLedger(err)
	}
	now := time.Now()
	e := Entry{
		Provider: d.Provider, HostID: r.ID, Name: name([]Record{r}), Verb: VerbContain,
		Outcome: failover.Applied, At: now, Proven: now, Foreign: true,
	}
	_, err = f.ledger.set(ctx, e)
	if err == nil {
		f.log.WarnContext(ctx, "contained by somebody else", "jurymast.provider", d.Provider, "host", e.Name, "host_id", e.HostID)
	}
	return e, err
}
