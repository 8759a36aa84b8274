package edr

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// Learned is what a pass of [Fleet.Learn] found. It can be marshalled to JSON.
type Learned struct {
	Hosts int `json:"hosts"` // in the lists of the vendors
	Links int `json:"links"` // stored now, pins included
	// Of the stored links, Added were not known, and Proven found to be still true.
	// Dropped ones were not proven for Config.LinkTTL.
	Added   int `json:"added"`
	Proven  int `json:"proven"`
	Dropped int `json:"dropped"`
	// SharedCards are network cards that several hosts have, such as those of docks:
	// they are no evidence.
	SharedCards    int             `json:"shared_cards"`
	Contradictions []Contradiction `json:"contradictions,omitempty"`
	// Gaps are the vendors that are missing. Nothing of theirs was dropped.
	Gaps []failover.Gap `json:"-"`
}

// Contradiction is a stored link that the vendors' records speak against. The
// machine may have been re-imaged, or replaced.
type Contradiction struct {
	Link Link   `json:"link"`
	Why  string `json:"why"`
	// Replaced is the link that was learned in its place; nil if the stored one was
	// kept: it is pinned, or nothing better is known.
	Replaced *Link `json:"replaced_by,omitempty"`
}

// learnFor bounds the reading of all hosts, if the caller sets no deadline.
const learnFor = 10 * time.Minute

// Learn reads all hosts of all vendors and stores which records are of one machine,
// as far as that is Strong or better. Run it in quiet times, daily or more often:
// when a vendor is down its links are what is left of it. A vendor that does not
// answer deletes and weakens nothing; it is in Gaps. A pass that finds nothing new
// writes nothing, but once a day that the links were proven.
//
// A stored link that the vendors contradict is in Contradictions. A link that was
// learned gives way to other evidence if that is Strong; a pin never does.
//
// Config.Total does not bound it: without a deadline of the caller's it ends after
// ten minutes. The error is nil if any vendor answered and the store took everything.
func (f *Fleet) Learn(ctx context.Context) (Learned, error) {
	found, err := f.believed(ctx)(f.recordsOf(ctx, f.group.Within(learnFor), "learn", Query{}, nil))
	p := learning{
		f: f, now: time.Now().UTC().Truncate(time.Second), missing: map[string]bool{},
		records: map[recordID]*Record{}, alive: map[recordID]bool{}, told: map[string]bool{},
	}
	p.learned.Gaps = found.Gaps
	if err != nil {
		return p.learned, err
	}
	for _, g := range found.Gaps {
		p.missing[g.Provider] = true
	}
	var records []Record
	for _, answer := range found.Value {
		records = append(records, answer.Value...)
	}
	docksErr := p.docks(ctx, records)
	// Links do not count: they would prove themselves.
	p.hosts = p.view.merge(records)
	p.learned.Hosts = len(p.hosts)
	for i := range records {
		p.records[records[i].key()] = &records[i]
	}
	for _, h := range p.hosts {
		for _, r := range h.Records {
			p.alive[r.key()] = true
		}
	}
	err = f.links.change(ctx, func(t *table) error { p.pass(ctx, t); return nil })
	return p.learned, errors.Join(err, docksErr)
}

// learning is one pass of Learn.
type learning struct {
	f       *Fleet
	now     time.Time
	missing map[string]bool // vendors that did not answer
	view    view
	hosts   []Host
	records map[recordID]*Record
	alive   map[recordID]bool // not left out for a newer one
	learned Learned
	told    map[string]bool // contradictions, if the pass is run again
}

// docks stores the network cards that several hosts have. Those of a vendor that is
// missing are kept.
func (p *learning) docks(ctx context.Context, records []Record) error {
	before, rev, err := p.f.links.docks(ctx)
	known := before
	if len(p.missing) == 0 {
		known = nil
	}
	p.view.docks = sharedCards(records, known)
	p.learned.SharedCards = len(p.view.docks)
	same := len(before) == len(p.view.docks)
	for mac := range p.view.docks {
		same = same && before[mac]
	}
	if err != nil || same {
		return err
	}
	return p.f.links.setDocks(ctx, p.view.docks, rev)
}

func (p *learning) pass(ctx context.Context, t *table) {
	p.learned.Added, p.learned.Proven, p.learned.Dropped = 0, 0, 0
	t.loadAll(ctx)
	proven := map[string]bool{}
	for i := range p.hosts {
		if h := &p.hosts[i]; len(h.Records) > 1 && h.Grade >= Strong {
			if l := p.propose(ctx, t, h); l != nil {
				proven[l.key()] = true
			}
		}
	}
	all := t.all()
	p.learned.Links = len(all)
	for k, l := range all {
		if !t.mend(ctx, l) {
			p.learned.Links--
			continue
		}
		if proven[k] {
			continue
		}
		if why := p.against(l); why != "" && !p.told[k] {
			p.contradiction(l, why, nil)
		}
		unheard := slices.ContainsFunc(l.Members, func(m Linked) bool { return p.missing[m.Provider] })
		if l.Pinned == nil && !unheard && p.now.Sub(l.Proven) > p.f.cfg.LinkTTL {
			t.remove(ctx, l)
			p.learned.Dropped++
			p.learned.Links--
		}
	}
	for i := range p.learned.Contradictions {
		c := &p.learned.Contradictions[i]
		if c.Replaced != nil && t.agreed(ctx, c.Replaced.Members[0].key()) != c.Replaced {
			c.Replaced = nil // a pin came between
		}
	}
	slices.SortFunc(p.learned.Contradictions, func(a, b Contradiction) int {
		return strings.Compare(a.Link.key(), b.Link.key())
	})
}

// propose stores the link of a host, unless what is stored wins. It returns the
// link that the host proves.
func (p *learning) propose(ctx context.Context, t *table, h *Host) *Link {
	l := &Link{Grade: h.Grade, Evidence: h.Evidence, Learned: p.now, Proven: p.now}
	var stored []*Link
	for _, r := range h.Records {
		label, _ := r.fullName()
		l.Members = append(l.Members, Linked{Provider: r.Provider, ID: r.ID, Name: label})
		if k := t.at(ctx, r.key()); k != nil && !slices.ContainsFunc(stored, func(s *Link) bool { return s.sameMembers(*k) }) {
			stored = append(stored, k)
		}
	}
	l.sort()
	for _, k := range stored {
		if k.Pinned == nil {
			continue
		}
		if mine, other, clash := k.clash(*l); clash {
			p.contradiction(k, fmt.Sprintf("%s is pinned, and %s is found by %s", mine, other, strings.Join(h.Evidence, ", ")), nil)
			return nil
		}
	}
	for _, k := range stored {
		mine, other, clash := k.clash(*l)
		switch {
		case k.Pinned != nil:
			proven := *k
			proven.Proven = p.now
			t.prove(ctx, &proven)
			p.learned.Proven++
			return &proven
		case clash:
			p.contradiction(k, fmt.Sprintf("%s was linked, and %s is found by %s", mine, other, strings.Join(h.Evidence, ", ")), l)
			t.remove(ctx, k)
		case p.awaits(k, l) && len(stored) == 1:
			// A vendor that is missing weakens nothing: what it knew is kept as it is.
			return k
		default:
			l.Learned = k.Learned
			if k.sameMembers(*l) && k.Grade == l.Grade && slices.Equal(k.Members, l.Members) {
				t.prove(ctx, l)
				p.learned.Proven++
				return l
			}
			t.remove(ctx, k)
		}
	}
	t.put(ctx, l)
	p.learned.Added++
	return l
}

// awaits reports whether a stored link has a member at a vendor that is missing.
func (p *learning) awaits(stored, l *Link) bool {
	return slices.ContainsFunc(stored.Members, func(m Linked) bool {
		_, ok := l.Member(m.Provider)
		return !ok && p.missing[m.Provider]
	})
}

// against says what the records have against a link that they do not prove.
func (p *learning) against(l *Link) string {
	var faces []face
	for _, m := range l.Members {
		r := p.records[m.key()]
		if r == nil {
			continue
		}
		if why := m.renamed(*r); why != "" {
			return fmt.Sprintf("%s %s", m, why)
		}
		if !p.alive[m.key()] {
			return fmt.Sprintf("%s was re-imaged into another record", m)
		}
		faces = append(faces, p.view.face(r))
	}
	for i, a := range faces {
		for _, b := range faces[:i] {
			if k := compare(b, a); k.against != "" {
				return k.against
			}
		}
	}
	return ""
}

func (p *learning) contradiction(l *Link, why string, by *Link) {
	p.told[l.key()] = true
	if k := l.key() + why; !p.told[k] {
		p.told[k] = true
		p.learned.Contradictions = append(p.learned.Contradictions, Contradiction{Link: *l, Why: why, Replaced: by})
	}
}

// Links yields the stored links, for a CMDB. What cannot be read is an error, and
// the iteration goes on.
func (f *Fleet) Links(ctx context.Context) iter.Seq2[Link, error] {
	return func(yield func(Link, error) bool) {
		for n := range linkShards {
			t := f.links.table()
			var links []*Link
			for id, l := range t.load(ctx, n).by {
				if l.Members[0].key() == id { // where its first member is
					links = append(links, l)
				}
			}
			slices.SortFunc(links, func(a, b *Link) int { return strings.Compare(a.key(), b.key()) })
			for _, l := range links {
				if !yield(*l, nil) {
					return
				}
			}
			if err := errors.Join(t.errs...); err != nil && (!yield(Link{}, err) || ctx.Err() != nil) {
				return
			}
		}
	}
}
