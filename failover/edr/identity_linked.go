package edr

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jurymast/jurymast/failover"
)

// linkOf is the link of the record that a query names, nil if there is none, or
// none good enough to act on. A store that cannot be read is a gap.
func (f *Fleet) linkOf(ctx context.Context, q Query) (*Link, []failover.Gap) {
	if q.ID == "" {
		return nil, nil
	}
	t := f.links.table()
	l := t.agreed(ctx, recordID{q.Provider, q.ID})
	if l != nil && l.Grade < f.cfg.MinIdentity {
		l = nil
	}
	return l, linkGaps(t.errs)
}

func linkGaps(errs []error) []failover.Gap {
	if len(errs) == 0 {
		return nil
	}
	return []failover.Gap{{Provider: "links", Err: errors.Join(errs...)}}
}

// known is what the store says of some records; of all if they are nil.
func (f *Fleet) known(ctx context.Context, records []Record) (view, []failover.Gap) {
	var v view
	var errs []error
	if records == nil {
		v.links, errs = f.links.everything(ctx)
	} else {
		t := f.links.table()
		v.links = map[recordID]*Link{}
		for _, r := range records {
			if l := t.agreed(ctx, r.key()); l != nil {
				v.links[r.key()] = l
			}
		}
		errs = t.errs
	}
	docks, _, err := f.links.docks(ctx)
	if v.docks = docks; err != nil {
		errs = append(errs, err)
	}
	return v, linkGaps(errs)
}

// stillLinked leaves only the named record if it speaks against the link, or the
// vendor that the query names answered and does not have it any more: then the
// linked records are gaps.
func (f *Fleet) stillLinked(q Query, link *Link, records []Record, gaps []failover.Gap) ([]Record, []failover.Gap) {
	named := Host{Records: records}
	r, found := named.Record(q.Provider)
	m, _ := link.Member(q.Provider)
	why := ""
	switch {
	case found:
		why = m.renamed(r)
	case !hasGap(gaps, q.Provider):
		why = "no longer exists"
	default:
		return records, gaps // it could not be asked: this is what links are for
	}
	if why == "" && link.Pinned == nil {
		_, why = view{}.machine(records)
	}
	if why == "" {
		return records, gaps
	}
	for _, other := range records {
		if other.Provider != q.Provider {
			gaps = append(gaps, failover.Gap{Provider: other.Provider, Err: &StaleLinkError{Link: *link, Member: m, Why: why}})
		}
	}
	if !found {
		return nil, gaps
	}
	return []Record{r}, gaps
}

// pinnedElsewhere adds the records of pins that have another name at a vendor than
// the one that was asked for.
func (f *Fleet) pinnedElsewhere(ctx context.Context, operation string, known view, records []Record, gaps []failover.Gap) ([]Record, []failover.Gap) {
	for _, r := range records {
		l := known.links[r.key()]
		if l == nil || l.Pinned == nil {
			continue
		}
		group := f.group.Only(func(m failover.Member[Driver]) bool {
			_, linked := l.Member(m.ID)
			return linked && !containsProvider(records, m.ID) && !hasGap(gaps, m.ID)
		})
		if len(group.Members()) == 0 {
			continue
		}
		more, _ := f.recordsOf(ctx, group, operation, Native(r.Provider, r.ID), l)
		gaps = append(gaps, more.Gaps...)
		for _, answer := range more.Value {
			records = append(records, answer.Value...)
			for _, added := range answer.Value {
				known.links[added.key()] = l
			}
		}
	}
	order := f.Providers()
	slices.SortStableFunc(records, func(a, b Record) int {
		return slices.Index(order, a.Provider) - slices.Index(order, b.Provider)
	})
	return records, gaps
}

func hasGap(gaps []failover.Gap, provider string) bool {
	for _, g := range gaps {
		if g.Provider == provider {
			return true
		}
	}
	return false
}

// gapsBut stands for all vendors but one, which were not asked.
func (f *Fleet) gapsBut(provider string) []failover.Gap {
	var out []failover.Gap
	for _, p := range f.Providers() {
		if p != provider {
			out = append(out, failover.Gap{Provider: p})
		}
	}
	return out
}

// settle makes the one host that a name means of the records that the vendors
// have of it, or says why nobody knows which it is.
func (v view) settle(records []Record, gaps []failover.Gap) (Host, string) {
	kept, left := v.current(records)
	h, against := v.machine(v.chosen(kept, gaps))
	if against != "" {
		return h, against
	}
	for _, l := range left {
		if r, ok := h.Record(l.by.Provider); ok && r.ID == l.by.ID {
			h.Evidence = append(h.Evidence, l.String())
		}
	}
	return h, ""
}

// chosen leaves of a vendor that has several records of a name the one that is pinned
// with the only record of another vendor; or, if no other answered, the one that is
// pinned with a vendor that could not be asked. A link that was learned chooses nothing:
// that two records are one machine does not say that it is the one that is meant, and
// the other record may be what became of it since.
func (v view) chosen(records []Record, gaps []failover.Gap) []Record {
	by := map[string][]Record{}
	for _, r := range records {
		by[r.Provider] = append(by[r.Provider], r)
	}
	if len(by) == len(records) {
		return records
	}
	isMeant := func(r Record) bool {
		l := v.links[r.key()]
		if l == nil || l.Pinned == nil {
			return false
		}
		for _, m := range l.Members {
			others := by[m.Provider]
			switch {
			case m.Provider == r.Provider:
			case len(others) == 1 && others[0].ID == m.ID:
				return true
			case len(by) == 1 && len(others) == 0 && hasGap(gaps, m.Provider):
				return true
			}
		}
		return false
	}
	var out []Record
	for _, r := range records {
		if len(by[r.Provider]) == 1 || isMeant(r) {
			out = append(out, r)
		}
	}
	for provider := range by { // one that nothing chooses stays ambiguous
		if !containsProvider(out, provider) {
			out = append(out, by[provider]...)
		}
	}
	return out
}

func containsProvider(records []Record, provider string) bool {
	_, ok := Host{Records: records}.Record(provider)
	return ok
}

// meant are the records that a query means, the links of those that were found
// included.
func (f *Fleet) meant(ctx context.Context, q Query, h Host) map[string][]recordID {
	out := map[string][]recordID{}
	known, _ := f.known(ctx, append([]Record{{Provider: q.Provider, ID: q.ID}}, h.Records...))
	for id, l := range known.links {
		out[id.provider] = append(out[id.provider], id)
		for _, m := range l.Members {
			out[m.Provider] = append(out[m.Provider], m.key())
		}
	}
	for _, r := range h.Records {
		out[r.Provider] = append(out[r.Provider], r.key())
	}
	return out
}

// concerns reports whether a ledger's entry is of the host that a query means: by
// the records that are meant, or else by name. Of a name that was cut, at a vendor
// of which no record is known, nobody can say.
func (q Query) concerns(meant map[string][]recordID, e Entry) (bool, error) {
	r := Record{Provider: e.Provider, ID: e.HostID, Hostname: e.Name, FQDN: e.Name}
	if slices.Contains(meant[e.Provider], r.key()) {
		return true, nil
	}
	label, _ := r.fullName()
	want, _ := splitName(q.Name)
	switch {
	case !q.Matches(r):
		return false, nil
	case q.ID != "" || label == want:
		return true, nil
	case len(meant[e.Provider]) > 0:
		return false, nil // another one of the same beginning
	}
	return false, fmt.Errorf("%s holds %s (%s), and may mean this host: one of the names was cut to %d characters; release it with edr.Native", e.Provider, e.HostID, e.Name, netbios)
}
