package edr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Link says which vendors' records are of one machine, so that it is still known
// when one of them is down. [Fleet.Learn] learns links, [Fleet.Pin] sets them.
type Link struct {
	Members []Linked `json:"members"` // at most one of a provider, in the order of their ids
	Grade   Grade    `json:"grade"`   // Exact if pinned
	// Evidence is what joined the records when that was last proven.
	Evidence []string  `json:"evidence,omitempty"`
	Learned  time.Time `json:"learned"`          // when it was first known
	Proven   time.Time `json:"proven"`           // when the vendors last proved it, to within a day
	Pinned   *Pin      `json:"pinned,omitempty"` // nil if it was learned
}

// Linked is a vendor's record that a [Link] names.
type Linked struct {
	Provider string `json:"provider"`
	ID       string `json:"id"`
	// Name is the short name that the record had. A record that has another one now
	// is not acted on through the link. Of a pin it may be empty: then the name does
	// not matter.
	Name string `json:"name,omitempty"`
}

// Pin says who set a link, and why.
type Pin struct {
	By  string    `json:"by"`
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}

func (m Linked) key() recordID { return recordID{m.Provider, m.ID} }

// String is provider:id.
func (m Linked) String() string { return m.Provider + ":" + m.ID }

// Member returns the link's record at a provider.
func (l Link) Member(provider string) (Linked, bool) {
	i := slices.IndexFunc(l.Members, func(m Linked) bool { return m.Provider == provider })
	if i < 0 {
		return Linked{}, false
	}
	return l.Members[i], true
}

// String names the records and what joins them.
func (l Link) String() string {
	var ids []string
	for _, m := range l.Members {
		ids = append(ids, m.String())
	}
	return strings.Join(ids, " and ") + ", " + l.since()
}

// since is a link's evidence for Host.Evidence.
func (l Link) since() string {
	if l.Pinned != nil {
		return fmt.Sprintf("pinned by %s: %s", l.Pinned.By, l.Pinned.Why)
	}
	s := "linked since " + l.Learned.UTC().Format(time.DateOnly)
	if len(l.Evidence) > 0 {
		s += " by " + strings.Join(l.Evidence, ", ")
	}
	return s
}

// sort puts the members into the order in which they are kept.
func (l *Link) sort() {
	slices.SortFunc(l.Members, func(a, b Linked) int {
		return cmp.Or(strings.Compare(a.Provider, b.Provider), strings.Compare(a.ID, b.ID))
	})
}

// sameMembers reports whether two links, or copies of one, join the same records.
func (l Link) sameMembers(k Link) bool {
	return slices.EqualFunc(l.Members, k.Members, func(a, b Linked) bool { return a.key() == b.key() })
}

// clash returns the first provider at which two links name different records.
func (l Link) clash(k Link) (mine, other Linked, ok bool) {
	for _, m := range l.Members {
		if o, known := k.Member(m.Provider); known && o.ID != m.ID {
			return m, o, true
		}
	}
	return Linked{}, Linked{}, false
}

// linked is the key that a record has from its link, if any.
func (v view) linked(r Record) []hardware {
	l := v.links[r.key()]
	if l == nil {
		return nil
	}
	return []hardware{{key: "link", value: l.Members[0].String()}}
}

// compare grades two records by what they say, and by what is known of them. A pin
// wins over everything. A link that was learned counts as long as nothing
// contradicts it, and gives way to other evidence if that is Strong.
func (v view) compare(a, b face) likeness {
	l := compare(a, b)
	var joins, other *Link
	for _, pair := range [][2]face{{a, b}, {b, a}} {
		k := v.links[pair[0].key()]
		if k == nil {
			continue
		}
		m, known := k.Member(pair[1].Provider)
		switch {
		case !known:
		case m.ID == pair[1].ID:
			joins = k // and the other's too: see table.agreed
		default:
			other = prefer(other, k)
		}
	}
	switch {
	case joins != nil && joins.Pinned != nil:
		evidence := []string{joins.since()}
		if l.against != "" {
			evidence[0] += " (although " + l.against + ")"
		}
		return likeness{grade: Exact, evidence: append(evidence, l.evidence...)}
	case other != nil && other.Pinned != nil:
		return likeness{grade: Weak, against: fmt.Sprintf("%s, and not %s with %s", other, a.Record.key(), b.Record.key())}
	case l.against != "":
	case other != nil && l.grade < Strong:
		return likeness{grade: Weak, against: fmt.Sprintf("%s, and not %s with %s", other, a.Record.key(), b.Record.key())}
	case joins != nil && l.grade < joins.Grade:
		l.grade = joins.Grade
		l.evidence = append([]string{joins.since()}, l.evidence...)
	}
	return l
}

// prefer keeps the pin of two links.
func prefer(a, b *Link) *Link {
	if a == nil || a.Pinned == nil && b.Pinned != nil {
		return b
	}
	return a
}

// ErrStaleLink: a link names a record that is gone, or of another host now. See
// StaleLinkError.
var ErrStaleLink = errors.New("stale link")

// StaleLinkError says why nothing is done at a vendor through a link.
type StaleLinkError struct {
	Link   Link
	Member Linked // the record in question
	Why    string
}

// Error names the link, what became of it, and how to go on.
func (e *StaleLinkError) Error() string {
	fix := "Fleet.Learn learns it anew"
	if e.Link.Pinned != nil {
		fix = "Fleet.Unpin it"
	}
	return fmt.Sprintf("edr: the link of %s is stale: %s %s; %s, or name the host with edr.Hostname", e.Link, e.Member, e.Why, fix)
}

// Is matches ErrStaleLink.
func (e *StaleLinkError) Is(target error) bool { return target == ErrStaleLink }

// Failure makes StaleLinkError Classified.
func (e *StaleLinkError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Conflict, Sent: resilience.NotSent}
}

// throughLink finds the record that a link names, at a vendor that the query does
// not name itself. It looks by name, as a query by name does: that shows whether the
// record is left or re-imaged too.
func throughLink(ctx context.Context, d Driver, l *Link) ([]Record, error) {
	m, _ := l.Member(d.Provider)
	stale := func(format string, args ...any) ([]Record, error) {
		return nil, &StaleLinkError{Link: *l, Member: m, Why: fmt.Sprintf(format, args...)}
	}
	name := m.Name
	if name == "" {
		byID, err := collect(ctx, d, Native(m.Provider, m.ID))
		switch {
		case err != nil:
			return nil, err
		case len(byID) == 0:
			return stale("no longer exists")
		}
		name, _ = byID[0].fullName()
	}
	records, err := collect(ctx, d, Hostname(name))
	if err != nil {
		return nil, err
	}
	kept, left := view{}.current(records)
	for _, r := range kept {
		if r.ID == m.ID {
			return []Record{r}, nil
		}
	}
	for _, o := range left {
		if o.old.ID == m.ID {
			return stale("was re-imaged: the machine is %s now", o.by.ID)
		}
	}
	byID, err := collect(ctx, d, Native(m.Provider, m.ID))
	switch {
	case err != nil:
		return nil, err
	case len(byID) == 0:
		return stale("no longer exists")
	}
	if why := m.renamed(byID[0]); why != "" {
		return stale("%s", why)
	}
	return stale("has no agent any more, or was merged into another")
}

// renamed says that a record does not have the name it had when it was linked, ""
// if it has.
func (m Linked) renamed(r Record) string {
	if label, _ := r.fullName(); m.Name != "" && !sameLabel(label, m.Name) {
		return fmt.Sprintf("is called %s now, and was %s", label, m.Name)
	}
	return ""
}
