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
	Weak           // the short name agrees, or what Windows left of it, and nothing else is known of both
	Probable       // the full name agrees, or a network card
	Strong         // the serial number agrees, or two of the keys that are Probable alone
	Exact          // the id agrees by which a cloud, or Entra, knows the machine; or a pin says so
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

// UnmarshalText reads the grade's name.
func (g *Grade) UnmarshalText(text []byte) error {
	i := slices.Index(gradeNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("edr: unknown grade %q", text)
	}
	*g = Grade(i)
	return nil
}

// face is what a record tells of its machine, in one spelling.
type face struct {
	*Record
	label, domain           string
	entra, instance, serial string
	cards                   []string
}

// face reads a record. Cards that several hosts have are none.
func (v view) face(r *Record) face {
	f := face{Record: r, entra: strings.ToLower(r.EntraID), instance: strings.ToLower(r.Instance), serial: serial(r.Serial)}
	f.label, f.domain = r.fullName()
	f.cards = slices.DeleteFunc(cards(*r), func(mac string) bool { return v.docks[mac] })
	return f
}

// likeness is what two vendors' records say of each other.
type likeness struct {
	grade    Grade
	evidence []string // the keys that agree
	against  string   // why they cannot be one machine, "" if they may be
}

// compare grades two records of the same short name.
func compare(a, b face) likeness {
	l := likeness{grade: Weak}
	agree := func(g Grade, key, value string) {
		l.grade = max(l.grade, g)
		l.evidence = append(l.evidence, key+" "+value)
	}
	for _, key := range [...]struct {
		grade Grade
		name  string
		a, b  string
	}{
		{Exact, "Entra device id", a.entra, b.entra},
		{Exact, "cloud instance", a.instance, b.instance},
		{Strong, "serial number", a.serial, b.serial},
	} {
		switch {
		case key.a == "" || key.b == "":
		case key.a == key.b:
			agree(key.grade, key.name, key.a)
		default:
			l.against = fmt.Sprintf("the %s is %s at %s and %s at %s", key.name, key.a, a.Provider, key.b, b.Provider)
		}
	}
	// A name that was cut is the beginning of many: it is no full name.
	named := a.label == b.label && a.domain != "" && a.domain == b.domain
	if named {
		agree(Probable, "full name", a.label+"."+a.domain)
	} else if a.domain != "" && b.domain != "" && a.domain != b.domain {
		l.against = cmp.Or(l.against, fmt.Sprintf("the domain is %s at %s and %s at %s", a.domain, a.Provider, b.domain, b.Provider))
	}
	switch both := common(a.cards, b.cards); {
	case len(both) > 1:
		agree(Strong, "network cards", strings.Join(both, " and "))
	case len(both) == 1 && named:
		agree(Strong, "network card", both[0])
	case len(both) == 1:
		agree(Probable, "network card", both[0])
	case len(a.cards) > 0 && len(b.cards) > 0 && l.grade < Strong:
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
	if l, d := splitName(r.FQDN); d != "" {
		return l, d
	}
	return splitName(r.Hostname)
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

// noCards are addresses that the software of VPNs and of virtual networks gives to
// every machine on which it runs.
var noCards = []string{
	"000000000000",
	"00059a3c7800", "00059a3c7a00", // Cisco
	"00090faa0001", "00090ffe0001", // Fortinet
	"005056c00001", "005056c00008", // VMware
	"204153594eff", "505054503030", // Windows' WAN miniports
}

// cards are a record's network cards that belong to a machine: an address that
// software made up, as Wi-Fi does for privacy, is none.
func cards(r Record) (out []string) {
	for _, mac := range r.MACs {
		mac = normalMAC(mac)
		// Of the second digit, one bit says locally administered, one multicast.
		if len(mac) == 12 && strings.IndexByte("048c", mac[1]) >= 0 && !slices.Contains(noCards, mac) && !slices.Contains(out, mac) {
			out = append(out, mac)
		}
	}
	return out
}

func common(a, b []string) (out []string) {
	for _, mac := range a {
		if slices.Contains(b, mac) {
			out = append(out, mac)
		}
	}
	return out
}
