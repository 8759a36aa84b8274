package edr

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/jurymast/jurymast/resilience"
)

// Query says which host is meant.
type Query struct {
	Name     string // host name, with or without domain
	Provider string // with ID: one vendor's own id
	ID       string
}

// Hostname means the host of this name, short or fully qualified; case does not
// matter.
func Hostname(name string) Query { return Query{Name: name} }

// Native means the host that a vendor knows by this id. It is looked up, and
// acted on, at that vendor, and, if the fleet has a [Link] of it, at the others
// that know the machine.
func Native(provider, id string) Query { return Query{Provider: provider, ID: id} }

// String is the query for messages.
func (q Query) String() string {
	if q.ID != "" {
		return q.Provider + ":" + q.ID
	}
	return fmt.Sprintf("%q", q.Name)
}

func (q Query) validate() error {
	switch {
	case q.ID != "" && q.Provider == "":
		return resilience.Misusef("edr: Query.Provider is empty: an id means nothing without its vendor; use edr.Native")
	case q.ID == "" && strings.TrimSpace(q.Name) == "":
		return resilience.Misusef("edr: the query names no host: use edr.Hostname or edr.Native")
	}
	return nil
}

// Matches reports whether a record may be of the host that the query means. A
// query with a domain does not match a record of another domain. A name of exactly
// 15 characters matches those that begin with it, and they match it: Windows may
// have cut it.
func (q Query) Matches(r Record) bool {
	if q.ID != "" {
		return r.Provider == q.Provider && r.ID == q.ID
	}
	if q.Name == "" {
		return true
	}
	wantLabel, wantDomain := splitName(q.Name)
	label, domain := splitName(r.Hostname)
	if _, d := splitName(r.FQDN); d != "" {
		domain = d
	}
	return sameLabel(label, wantLabel) && (wantDomain == "" || domain == "" || domain == wantDomain)
}

func splitName(name string) (label, domain string) {
	label, domain, _ = strings.Cut(strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), ".")), ".")
	return label, domain
}

// Host is one machine with the records that the vendors have of it, in the
// fleet's order of preference.
type Host struct {
	Name     string
	Records  []Record
	Grade    Grade    // how sure it is that the records are of one machine
	Evidence []string // what says so
	Missing  []string // vendors that could not be asked, and may know it, and hold it
}

// Record returns the host's record at a provider.
func (h Host) Record(provider string) (Record, bool) {
	i := slices.IndexFunc(h.Records, func(r Record) bool { return r.Provider == provider })
	if i < 0 {
		return Record{}, false
	}
	return h.Records[i], true
}

// State is the host's containment as far as its records tell: contained if any
// vendor says that it contains it, otherwise unknown if any could not say, or could not
// be asked.
func (h Host) State() State {
	var s State
	unknown := len(h.Records) == 0 || len(h.Missing) > 0
	for _, r := range h.Records {
		if r.State.Holds() {
			return r.State
		}
		unknown = unknown || r.State == StateUnknown
		s = max(s, r.State)
	}
	if unknown {
		return StateUnknown
	}
	return s
}

// name is the fully qualified name if any vendor knows it, else the short one; one
// that was cut only if there is no other.
func name(records []Record) string {
	best, bestLabel := "", ""
	for _, r := range records {
		n := strings.ToLower(cmp.Or(r.FQDN, r.Hostname))
		label, domain := splitName(n)
		_, bestDomain := splitName(best)
		if best == "" || isCut(bestLabel, label) || !isCut(label, bestLabel) && bestDomain == "" && domain != "" {
			best, bestLabel = n, label
		}
	}
	return best
}

// normalMAC drops the separators, in which vendors differ.
func normalMAC(mac string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ':' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(mac))
}
