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
			for _, order := range [][2]Record{{a, b}, {b, a}} {
				l := (view{}).compare((view{}).face(&order[0]), (view{}).face(&order[1]))
				if l.grade != tc.grade || (l.against == "") != (tc.against == "") {
					t.Errorf("%v %q against %q, want %v %q", l.grade, l.evidence, l.against, tc.grade, tc.against)
				}
			}
			if l := (view{}).compare((view{}).face(&a), (view{}).face(&b)); !strings.Contains(l.against, tc.against) {
				t.Errorf("against %q, want %q", l.against, tc.against)
			}
		})
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
