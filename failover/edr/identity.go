package edr

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Grade is how sure it is that the records of several vendors are of one machine
// (facts/product.md 4.2).
type Grade uint8

// The grades. A host that one vendor alone knows is Alone: there is nothing to
// join.
const (
	Alone    Grade = iota
	Weak           // the short name agrees, and nothing else is known of both
	Probable       // the full name agrees, or a network card
	Strong         // the serial number agrees, or the full name and a network card
	Exact          // the id agrees by which a cloud, or Entra, knows the machine
)

var gradeNames = [...]string{"alone", "weak", "probable", "strong", "exact"}

// String returns the grade's name.
func (g Grade) String() string {
	if int(g) < len(gradeNames) {
		return gradeNames[g]
	}
	return fmt.Sprintf("edr.Grade(%d)", uint8(g))
}

// MarshalText writes the grade's name.
func (g Grade) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// likeness is what two vendors' records say of each other.
type likeness struct {
	grade    Grade
	evidence []string // the keys that agree
	against  string   // why they cannot be one machine, "" if they may be
}

// compare grades two records of the same short name.
func compare(a, b Record) likeness {
	l := likeness{grade: Weak}
	agree := func(g Grade, format string, args ...any) {
		l.grade = max(l.grade, g)
		l.evidence = append(l.evidence, fmt.Sprintf(format, args...))
	}
	for _, key := range []struct {
		grade Grade
		name  string
		a, b  string
	}{
		{Exact, "Entra device id", strings.ToLower(a.EntraID), strings.ToLower(b.EntraID)},
		{Exact, "cloud instance", strings.ToLower(a.Instance), strings.ToLower(b.Instance)},
		{Strong, "serial number", serial(a.Serial), serial(b.Serial)},
	} {
		switch {
		case key.a == "" || key.b == "":
		case key.a == key.b:
			agree(key.grade, "%s %s", key.name, key.a)
		default:
			l.against = fmt.Sprintf("the %s is %s at %s and %s at %s", key.name, key.a, a.Provider, key.b, b.Provider)
		}
	}
	labelA, domainA := a.fullName()
	labelB, domainB := b.fullName()
	named := labelA == labelB && domainA != "" && domainA == domainB
	if named {
		agree(Probable, "full name %s.%s", labelA, domainA)
	} else if domainA != "" && domainB != "" && domainA != domainB {
		l.against = cmp.Or(l.against, fmt.Sprintf("the domain is %s at %s and %s at %s", domainA, a.Provider, domainB, b.Provider))
	}
	cardsA, cardsB := cards(a), cards(b)
	switch card := common(cardsA, cardsB); {
	case card != "" && named:
		agree(Strong, "network card %s", card)
	case card != "":
		agree(Probable, "network card %s", card)
	case len(cardsA) > 0 && len(cardsB) > 0 && l.grade < Strong:
		// A dock or another card is no contradiction where the machine itself is known.
		l.against = cmp.Or(l.against, fmt.Sprintf("the records at %s and %s have no network address in common", a.Provider, b.Provider))
	}
	if l.against != "" {
		l.grade = Weak
	}
	return l
}

// fullName is the record's label and DNS domain, in lower case.
func (r Record) fullName() (label, domain string) {
	label, domain = splitName(r.Hostname)
	if l, d := splitName(r.FQDN); d != "" {
		return l, d
	}
	return label, domain
}

// noSerials are what machines without a serial number of their own say.
var noSerials = []string{
	"default string", "to be filled by o.e.m.", "system serial number", "not specified", "not applicable", "none", "n/a", "unknown",
	"0", "00000000", "123456789", "0123456789", "invalid",
}

func serial(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if slices.Contains(noSerials, s) {
		return ""
	}
	return s
}

// cards are a record's network cards that belong to a machine: an address that
// software made up, as Wi-Fi does for privacy, is none.
func cards(r Record) (out []string) {
	for _, mac := range r.MACs {
		mac = normalMAC(mac)
		if len(mac) == 12 && !strings.ContainsRune("2367abef", rune(mac[1])) && mac != "000000000000" {
			out = append(out, mac)
		}
	}
	return out
}

func common(a, b []string) string {
	for _, mac := range a {
		if slices.Contains(b, mac) {
			return mac
		}
	}
	return ""
}

// machine makes a host of the records of one name, or says why they are not one.
func machine(records []Record) (h Host, against string) {
	h = Host{Name: name(records), Records: records}
	for i, a := range records[:max(len(records)-1, 0)] {
		for _, b := range records[i+1:] {
			if a.Provider == b.Provider {
				return Host{}, a.Provider + " has more than one host of this name"
			}
			if l := compare(a, b); l.against != "" {
				return Host{}, l.against
			}
		}
	}
	for i, r := range records {
		if i == 0 {
			continue
		}
		best := likeness{}
		for _, before := range records[:i] {
			if l := compare(before, r); l.grade > best.grade {
				best = l
			}
		}
		if h.Grade == Alone || best.grade < h.Grade {
			h.Grade = best.grade
		}
		h.Evidence = append(h.Evidence, best.evidence...)
	}
	return h, ""
}
