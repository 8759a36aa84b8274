package edr

import (
	"slices"
	"strings"
	"testing"
)

func TestGrades(t *testing.T) {
	base := Record{Provider: "a", ID: "1", Hostname: "WS-042", FQDN: "ws-042.corp.example", MACs: []string{"00-15-5d-00-00-01"}, Serial: "5CG1234XYZ", Instance: "i-0abc", EntraID: "e1"}
	for _, tc := range []struct {
		name    string
		a, b    func(*Record)
		grade   Grade
		against string
	}{
		{"all agree", nil, nil, Exact, ""},
		{"Entra alone", only("EntraID"), only("EntraID"), Exact, ""},
		{"the cloud's id alone, in another case", only("Instance"), func(r *Record) { only("Instance")(r); r.Instance = "I-0ABC" }, Exact, ""},
		{"serial alone", only("Serial"), only("Serial"), Strong, ""},
		{"full name and card", only("FQDN", "MACs"), only("FQDN", "MACs"), Strong, ""},
		{"full name alone", only("FQDN"), only("FQDN"), Probable, ""},
		{"card alone, written otherwise", only("MACs"), func(r *Record) { only("MACs")(r); r.MACs = []string{"aa:bb:cc:00:00:01", "0015.5D00.0001"} }, Probable, ""},
		{"short name alone", only(), only(), Weak, ""},
		{"a domain at one only", only(), only("FQDN"), Weak, ""},
		{"serials that are none", func(r *Record) { only()(r); r.Serial = "Default string" }, func(r *Record) { only()(r); r.Serial = "default String " }, Weak, ""},
		{"a random card proves nothing", func(r *Record) { only("FQDN")(r); r.MACs = []string{"da:a1:19:00:00:01"} }, func(r *Record) { only("FQDN")(r); r.MACs = []string{"da:a1:19:00:00:01"} }, Probable, ""},
		{"and contradicts nothing", func(r *Record) { only("FQDN")(r); r.MACs = []string{"da:a1:19:00:00:01"} }, only("FQDN", "MACs"), Probable, ""},
		{"other cards", only("FQDN", "MACs"), func(r *Record) { only("FQDN")(r); r.MACs = []string{"00155d000002"} }, Weak, "no network address in common"},
		{"other cards of a machine that is known", nil, func(r *Record) { r.MACs = []string{"00155d000002"} }, Exact, ""},
		{"two cards", macs("00-15-5d-00-00-01", "00-15-5d-00-00-02"), macs("00155D000002", "00:15:5d:00:00:01"), Strong, ""},
		{"one card, listed twice", macs("00-15-5d-00-00-01", "00155d000001"), macs("00155d000001", "0015.5d00.0001"), Probable, ""},
		{"the card of a VPN", macs("00-05-9a-3c-7a-00"), macs("00059A3C7A00"), Weak, ""},
		{"a group address is no card", macs("01-00-5e-00-00-01"), macs("01005e000001"), Weak, ""},
		{"a dock's card proves nothing", func(r *Record) { only("FQDN")(r); r.MACs = []string{"d4:81:d7:00:00:0d"} }, func(r *Record) { only("FQDN")(r); r.MACs = []string{"D4-81-D7-00-00-0D"} }, Probable, ""},
		{"and contradicts nothing either", only("FQDN", "MACs"), func(r *Record) { only("FQDN")(r); r.MACs = []string{"D4-81-D7-00-00-0D"} }, Probable, ""},
		{"a cut name alone", called("ACCOUNTING-LAPT"), called("accounting-laptop-07"), Weak, ""},
		{"a cut name and the domain", called("ACCOUNTING-LAPT.corp.example"), called("accounting-laptop-07.corp.example"), Weak, ""},
		{"a cut name and a card", called("ACCOUNTING-LAPT.corp.example", "MACs"), called("accounting-laptop-07.corp.example", "MACs"), Probable, ""},
		{"a cut name and the serial", called("ACCOUNTING-LAPT", "Serial"), called("accounting-laptop-07", "Serial"), Strong, ""},
		{"a cut name and Entra", called("ACCOUNTING-LAPT", "EntraID"), called("accounting-laptop-07", "EntraID"), Exact, ""},
		{"a cut name in another domain", called("ACCOUNTING-LAPT.corp.example", "MACs"), called("accounting-laptop-07.lab.example", "MACs"), Weak, "domain is"},
		{"another serial", nil, func(r *Record) { r.Serial = "other" }, Weak, "serial number is 5cg1234xyz at a and other at b"},
		{"another cloud machine", nil, func(r *Record) { r.Instance = "i-1" }, Weak, "cloud instance"},
		{"another Entra device", nil, func(r *Record) { r.EntraID = "e2" }, Weak, "Entra device id"},
		{"another domain", only("FQDN"), func(r *Record) { only()(r); r.FQDN = "ws-042.lab.example" }, Weak, "domain is corp.example at a and lab.example at b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := base, base
			b.Provider = "b"
			if tc.a != nil {
				tc.a(&a)
			}
			if tc.b != nil {
				tc.b(&b)
			}
			v := view{docks: map[string]bool{"d481d700000d": true}}
			for _, order := range [][2]Record{{a, b}, {b, a}} {
				l := v.compare(v.face(&order[0]), v.face(&order[1]))
				if l.grade != tc.grade || (l.against == "") != (tc.against == "") {
					t.Errorf("%v %q against %q, want %v %q", l.grade, l.evidence, l.against, tc.grade, tc.against)
				}
			}
			if l := v.compare(v.face(&a), v.face(&b)); !strings.Contains(l.against, tc.against) {
				t.Errorf("against %q, want %q", l.against, tc.against)
			}
		})
	}
}

func macs(list ...string) func(*Record) {
	return func(r *Record) { only()(r); r.MACs = list }
}

// called gives a record another name, and keeps the given keys.
func called(name string, keys ...string) func(*Record) {
	return func(r *Record) {
		only(keys...)(r)
		r.FQDN, r.Hostname = "", name
	}
}

// only keeps the short name and the given keys.
func only(keys ...string) func(*Record) {
	return func(r *Record) {
		full := *r
		*r = Record{Provider: r.Provider, ID: r.ID, Hostname: r.Hostname}
		for _, k := range keys {
			switch k {
			case "FQDN":
				r.FQDN = full.FQDN
			case "MACs":
				r.MACs = full.MACs
			case "Serial":
				r.Serial = full.Serial
			case "Instance":
				r.Instance = full.Instance
			case "EntraID":
				r.EntraID = full.EntraID
			}
		}
	}
}

func TestAMachineIsAsSureAsItsWeakestRecord(t *testing.T) {
	a := Record{Provider: "a", Hostname: "ws", Serial: "s1", FQDN: "ws.corp.example"}
	b := Record{Provider: "b", Hostname: "ws", Serial: "s1"}
	c := Record{Provider: "c", Hostname: "ws", FQDN: "ws.corp.example"}
	for _, tc := range []struct {
		records []Record
		want    Grade
	}{{[]Record{a}, Alone}, {[]Record{a, b}, Strong}, {[]Record{a, b, c}, Probable}, {[]Record{b, c, a}, Weak}} {
		if h, against := (view{}).machine(tc.records); h.Grade != tc.want || against != "" || len(h.Records) != len(tc.records) {
			t.Errorf("%d records: %v, %q, want %v", len(tc.records), h.Grade, against, tc.want)
		}
	}
	if h, _ := (view{}).machine([]Record{a, b}); !slices.Equal(h.Evidence, []string{"serial number s1"}) {
		t.Errorf("evidence %q", h.Evidence)
	}
}

// What a link says of two records, and they of themselves.
func TestLinksAndEvidence(t *testing.T) {
	learned := &Link{Members: []Linked{{Provider: "d", ID: "D1"}, {Provider: "f", ID: "F1"}}, Grade: Strong}
	elsewhere := &Link{Members: []Linked{{Provider: "d", ID: "D9"}, {Provider: "f", ID: "F1"}}, Grade: Strong}
	third := &Link{Members: []Linked{{Provider: "f", ID: "F1"}, {Provider: "s", ID: "S1"}}, Grade: Strong}
	pin := func(l *Link) *Link {
		p := *l
		p.Grade, p.Pinned = Exact, &Pin{By: "cmdb", Why: "asset"}
		return &p
	}
	for _, tc := range []struct {
		name    string
		link    *Link
		a, b    string
		grade   Grade
		against string
	}{
		{"learned", learned, "f:F1 ws", "d:D1 ws", Strong, ""},
		{"learned, and more is known", learned, "f:F1 ws vm=i", "d:D1 ws vm=i", Exact, ""},
		{"learned, and contradicted", learned, "f:F1 ws serial=1", "d:D1 ws serial=2", Weak, "serial number"},
		{"learned of another", elsewhere, "f:F1 ws", "d:D1 ws", Weak, "linked since"},
		{"learned of another, and proven anew", elsewhere, "f:F1 ws serial=1", "d:D1 ws serial=1", Strong, ""},
		{"learned with a third vendor", third, "f:F1 ws", "d:D1 ws", Weak, ""},
		{"pinned", pin(learned), "f:F1 ws", "d:D1 ws", Exact, ""},
		{"pinned, whatever contradicts", pin(learned), "f:F1 ws serial=1", "d:D1 ws serial=2", Exact, ""},
		{"pinned to another, whatever proves it", pin(elsewhere), "f:F1 ws serial=1 vm=i", "d:D1 ws serial=1 vm=i", Weak, "pinned by cmdb: asset"},
	} {
		a, b := rec(tc.a), rec(tc.b)
		v := view{links: map[recordID]*Link{}}
		for _, m := range tc.link.Members {
			v.links[m.key()] = tc.link
		}
		for _, l := range []likeness{v.compare(v.face(&a), v.face(&b)), v.compare(v.face(&b), v.face(&a))} {
			if l.grade != tc.grade || (l.against == "") != (tc.against == "") || !strings.Contains(l.against, tc.against) {
				t.Errorf("%s: %v, against %q", tc.name, l.grade, l.against)
			}
		}
	}
}
