package edr

import (
	"context"
	"errors"
	"fmt"

	"github.com/jurymast/jurymast/failover"
)

// linkOf is the link of the record that a query names, nil if there is none, or
// none good enough to act on. A store that cannot be read is a gap.
func (f *Fleet) linkOf(ctx context.Context, q Query) (*Link, []failover.Gap) {
	if q.ID == "" {
		return nil, nil
	}
	t := f.links.table()
	l := t.at(ctx, recordID{q.Provider, q.ID})
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
	t := f.links.table()
	v := view{links: map[recordID]*Link{}}
	var err error
	if v.docks, _, err = f.links.docks(ctx); err != nil {
		t.errs = append(t.errs, err)
	}
	if records == nil {
		t.loadAll(ctx)
		for _, l := range t.all() {
			for _, m := range l.Members {
				v.links[m.key()] = prefer(v.links[m.key()], l)
			}
		}
		return v, linkGaps(t.errs)
	}
	for _, r := range records {
		if l := t.at(ctx, r.key()); l != nil {
			v.links[r.key()] = l
		}
	}
	return v, linkGaps(t.errs)
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

// chosen leaves of a vendor that has several records of a name the one that is
// linked with the only record of another vendor; or, if no other answered, the one
// that is linked with a vendor that could not be asked.
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
		if l == nil {
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

// concerns reports whether a ledger's entry is of the host that a query means: by
// name, by the records that were found, or by their links. Of a name that was cut,
// and that nothing else ties to the host, nobody knows.
func (f *Fleet) concerns(ctx context.Context, q Query, h Host, e Entry) (bool, error) {
	r := Record{Provider: e.Provider, ID: e.HostID, Hostname: e.Name, FQDN: e.Name}
	if found, ok := h.Record(e.Provider); ok && found.ID == e.HostID {
		return true, nil
	}
	if l, _ := f.linkOf(ctx, q); l != nil {
		if m, ok := l.Member(e.Provider); ok && m.ID == e.HostID {
			return true, nil
		}
	}
	if !q.Matches(r) {
		return false, nil
	}
	label, _ := r.fullName()
	want, _ := splitName(q.Name)
	if q.ID != "" || label == want {
		return true, nil
	}
	if l := f.links.table().at(ctx, r.key()); l != nil {
		for _, m := range l.Members {
			if found, ok := h.Record(m.Provider); ok {
				return found.ID == m.ID, nil
			}
		}
	}
	if containsProvider(h.Records, e.Provider) {
		return false, nil // that vendor was asked, and has another record of the name
	}
	return false, fmt.Errorf("%s holds %s (%s), and may mean this host: its name was cut to %d characters; release it with edr.Native", e.Provider, e.HostID, e.Name, netbios)
}
