package edr

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCutNames(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"ws-1", "ws-1", true},
		{"ws-1", "ws-10", false},
		{"accounting-lapt", "accounting-laptop-07", true},
		{"accounting-lap", "accounting-laptop-07", false},       // 14
		{"accounting-lapto", "accounting-laptop-07", false},     // 16
		{"accounting-laptop-07", "accounting-laptop-08", false}, // no cut one
		{"buchhaltung-müll", "buchhaltung-müller", false},       // 16 characters
		{"buchhaltung-mül", "buchhaltung-müller", true},         // 15, in more bytes
		{"accounting-lapt", "accounting-lapx", false},           //
		{"accounting-lapt", "accounting-lapt", true},            //
	} {
		if got := sameLabel(tc.a, tc.b); got != tc.want || sameLabel(tc.b, tc.a) != tc.want {
			t.Errorf("%s, %s: %v", tc.a, tc.b, got)
		}
		if tc.want && cut(tc.a) != cut(tc.b) {
			t.Errorf("%s and %s are in different buckets", tc.a, tc.b)
		}
		if got := Hostname(strings.ToUpper(tc.a)).Matches(Record{Hostname: tc.b, FQDN: tc.b + ".corp.example"}); got != tc.want {
			t.Errorf("query %s, record %s: %v", tc.a, tc.b, got)
		}
	}
	if n := name([]Record{{Hostname: "ACCOUNTING-LAPT", FQDN: "ACCOUNTING-LAPT.corp.example"}, {Hostname: "accounting-laptop-07"}}); n != "accounting-laptop-07" {
		t.Errorf("the host is called %s", n)
	}
}

var day0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// rec makes a record: "provider:id name key=value ... first-last", in days.
func rec(s string) Record {
	var r Record
	for i, f := range strings.Fields(s) {
		key, value, _ := strings.Cut(f, "=")
		switch {
		case i == 0:
			r.Provider, r.ID, _ = strings.Cut(f, ":")
		case i == 1:
			r.Hostname, _, _ = strings.Cut(f, ".")
			if strings.Contains(f, ".") {
				r.FQDN = f
			}
		case key == "mac":
			r.MACs = append(r.MACs, value)
		case key == "serial":
			r.Serial = value
		case key == "entra":
			r.EntraID = value
		case key == "vm":
			r.Instance = value
		case key == "seen":
			var first, last int
			if n, _ := fmt.Sscanf(value, "%d-%d", &first, &last); n != 2 {
				panic(s)
			}
			r.FirstSeen, r.LastSeen = day0.AddDate(0, 0, first), day0.AddDate(0, 0, last)
		default:
			panic(s)
		}
	}
	return r
}

func recs(list ...string) (out []Record) {
	for _, s := range list {
		out = append(out, rec(s))
	}
	return out
}

// ids of the records of hosts, such as "F1+D1 F2".
func ids(hosts []Host) string {
	var out []string
	for _, h := range hosts {
		var of []string
		for _, r := range h.Records {
			of = append(of, r.ID)
		}
		out = append(out, strings.Join(of, "+"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

const (
	card1 = "00-15-5d-00-00-01"
	card2 = "00-15-5d-00-00-02"
	card3 = "00-15-5d-00-00-03"
)

func TestMerge(t *testing.T) {
	for _, tc := range []struct {
		name    string
		records []Record
		want    string
		grade   Grade // of every host with more than one record
	}{
		{"one of each vendor", recs("f:F1 ws.corp.example mac="+card1, "d:D1 ws.corp.example mac="+card1), "F1+D1", Strong},
		{"a contradiction", recs("f:F1 ws serial=1", "d:D1 ws serial=2"), "D1 F1", 0},
		{"two of the name at one vendor, one known by its serial", recs("f:F1 ws serial=1", "d:D1 ws serial=1", "d:D2 ws serial=2"), "D2 F1+D1", Strong},
		{"two of the name at both", recs("f:F1 ws serial=1", "f:F2 ws serial=2", "d:D2 ws serial=2", "d:D1 ws serial=1"), "F1+D1 F2+D2", Strong},
		{"two of the name, and the name alone", recs("f:F1 ws.corp.example", "d:D1 ws.corp.example", "d:D2 ws.corp.example"), "D1 D2 F1", 0},
		{"two live records with one Entra id", recs("f:F1 ws entra=e", "d:D1 ws entra=e seen=1-9", "d:D2 ws entra=e seen=2-9"), "D1 D2 F1", 0},
		{"re-imaged: the newer is the machine", recs("f:F1 ws entra=e", "d:D1 ws entra=e seen=1-4", "d:D2 ws entra=e seen=5-9"), "F1+D2", Exact},
		{"an image cloned without a new serial", recs("f:F1 ws serial=1 seen=1-9", "f:F2 ws serial=1 seen=2-9", "d:D1 ws serial=1"), "D1 F1 F2", 0},
		{"a cut name and the card", recs("f:F1 ACCOUNTING-LAPT.corp.example mac="+card1, "d:D1 accounting-laptop-07.corp.example mac="+card1), "F1+D1", Probable},
		{"a cut name and the serial", recs("f:F1 ACCOUNTING-LAPT serial=1", "d:D1 accounting-laptop-07 serial=1"), "F1+D1", Strong},
		{"a cut name alone", recs("f:F1 ACCOUNTING-LAPT", "d:D1 accounting-laptop-07"), "D1 F1", 0},
		{"two machines share the beginning", recs("f:F1 ACCOUNTING-LAPT", "d:D1 accounting-laptop-07", "d:D2 accounting-laptop-08"), "D1 D2 F1", 0},
		{
			"and a key says which", recs("f:F1 ACCOUNTING-LAPT mac="+card1, "f:F2 ACCOUNTING-LAPT mac="+card2,
				"d:D1 accounting-laptop-07 mac="+card1, "d:D2 accounting-laptop-08 mac="+card2, "d:D3 accounting-laptop-09 mac="+card3), "D3 F1+D1 F2+D2", Probable,
		},
		{"both have the key", recs("f:F1 ACCOUNTING-LAPT vm=i", "d:D1 accounting-laptop-07 vm=i", "d:D2 accounting-laptop-08 vm=i"), "D1 D2 F1", 0},
		{"an exact name of 15 beside longer ones", recs("f:F1 ACCOUNTING-LAPT serial=1", "d:D1 accounting-lapt", "d:D2 accounting-laptop-07 serial=1"), "D1 F1+D2", Strong},
		{"names that only begin alike", recs("f:F1 accounting-laptop-07", "d:D1 accounting-laptop-08"), "D1 F1", 0},
		{"a card of a dock", recs("f:F1 ws-1.corp.example mac="+card1, "d:D1 ws-1.corp.example mac="+card1, "d:D2 ws-2.corp.example mac="+card1), "D2 F1+D1", Probable},
		{"a card of a host that was renamed", recs("f:F1 ws-1.corp.example mac="+card1+" seen=5-9", "d:D1 ws-1.corp.example mac="+card1+" seen=5-9", "d:D2 ws-0.corp.example mac="+card1+" seen=1-4"), "D2 F1+D1", Strong},
		{"three vendors", recs("f:F1 ws serial=1", "d:D1 ws serial=1", "s:S1 ws serial=1"), "F1+D1+S1", Strong},
		{"three vendors, two of the name", recs("f:F1 ws serial=1", "f:F2 ws serial=2", "d:D1 ws serial=1", "s:S1 ws serial=1"), "F1+D1+S1 F2", Strong},
		{"a third knows both", recs("f:F1 ws serial=1", "f:F2 ws vm=i", "d:D1 ws serial=1", "s:S1 ws serial=1 vm=i"), "D1 F1 F2 S1", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, records := range [][]Record{tc.records, reversedWithin(tc.records)} {
				v := view{docks: sharedCards(records, nil)}
				hosts := v.merge(slices.Clone(records))
				if got := ids(hosts); got != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
				for _, h := range hosts {
					if len(h.Records) > 1 && h.Grade != tc.grade || len(h.Records) == 1 && h.Grade != Alone {
						t.Errorf("%s is %v by %q, want %v", h.Name, h.Grade, h.Evidence, tc.grade)
					}
				}
			}
		})
	}
}

// reversedWithin reverses each vendor's records: their order must not matter.
func reversedWithin(records []Record) []Record {
	out := slices.Clone(records)
	slices.Reverse(out)
	rank := []string{"f", "d", "s"}
	slices.SortStableFunc(out, func(a, b Record) int { return slices.Index(rank, a.Provider) - slices.Index(rank, b.Provider) })
	return out
}

func TestReimaged(t *testing.T) {
	for _, tc := range []struct {
		name    string
		records []Record
		want    []string
	}{
		{"same serial", recs("f:old ws serial=1 seen=1-4", "f:new ws serial=1 seen=5-9"), []string{"new"}},
		{"same cloud machine", recs("f:new ws vm=i seen=5-9", "f:old ws vm=I seen=1-4"), []string{"new"}},
		{"same Entra id", recs("d:old ws entra=e seen=1-4", "d:new ws entra=E seen=5-9"), []string{"new"}},
		{"same card", recs("f:old ws mac="+card1+" seen=1-4", "f:new ws mac=00155d000001 seen=5-9"), []string{"new"}},
		{"same random card", recs("f:old ws mac=da-a1-19-00-00-01 seen=1-4", "f:new ws mac=da-a1-19-00-00-01 seen=5-9"), []string{"old", "new"}},
		{"both alive", recs("f:old ws serial=1 seen=1-6", "f:new ws serial=1 seen=5-9"), []string{"old", "new"}},
		{"nobody knows when", recs("f:old ws serial=1", "f:new ws serial=1"), []string{"old", "new"}},
		{"a serial that is none", recs("f:old ws serial=none seen=1-4", "f:new ws serial=none seen=5-9"), []string{"old", "new"}},
		{"another serial, same card", recs("f:old ws serial=1 mac="+card1+" seen=1-4", "f:new ws serial=2 mac="+card1+" seen=5-9"), []string{"old", "new"}},
		{"another domain, same card", recs("f:old ws.a.example mac="+card1+" seen=1-4", "f:new ws.b.example mac="+card1+" seen=5-9"), []string{"old", "new"}},
		{"another name", recs("f:old ws-1 serial=1 seen=1-4", "f:new ws-2 serial=1 seen=5-9"), []string{"old", "new"}},
		{"another vendor", recs("f:old ws serial=1 seen=1-4", "d:new ws serial=1 seen=5-9"), []string{"old", "new"}},
		{"twice", recs("f:a ws serial=1 seen=1-2", "f:b ws serial=1 seen=3-4", "f:c ws serial=1 seen=5-9"), []string{"c"}},
		{"and then cloned", recs("f:a ws serial=1 seen=1-2", "f:b ws serial=1 seen=3-9", "f:c ws serial=1 seen=5-9"), []string{"b", "c"}},
	} {
		kept, left := view{}.current(tc.records)
		var got []string
		for _, r := range kept {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, tc.want) || len(kept)+len(left) != len(tc.records) {
			t.Errorf("%s: kept %v, want %v", tc.name, got, tc.want)
		}
	}
	hosts := view{}.merge(recs("f:old ws serial=1 seen=1-4", "f:new ws serial=1 seen=5-9", "d:D1 ws serial=1"))
	if len(hosts) != 1 || !slices.ContainsFunc(hosts[0].Evidence, func(e string) bool { return strings.Contains(e, "left out f:old") }) {
		t.Errorf("%+v", hosts)
	}
}

func TestSharedCards(t *testing.T) {
	for _, tc := range []struct {
		name    string
		records []Record
		want    bool
	}{
		{"one host at two vendors", recs("f:1 ws mac="+card1, "d:1 WS.corp.example mac=00155D000001"), false},
		{"one host under its cut name", recs("f:1 ACCOUNTING-LAPT mac="+card1, "d:1 accounting-laptop-07 mac="+card1), false},
		{"two hosts", recs("f:1 ws-1 mac="+card1, "f:2 ws-2 mac="+card1), true},
		{"two hosts that share the beginning of their names", recs("f:1 ACCOUNTING-LAPT mac="+card1, "d:1 accounting-laptop-07 mac="+card1, "d:2 accounting-laptop-08 mac="+card1), true},
		{"renamed", recs("f:1 ws-1 mac="+card1+" seen=1-4", "f:2 ws-2 mac="+card1+" seen=5-9"), false},
		{"three names, two at a time", recs("f:1 ws-1 mac="+card1+" seen=1-4", "f:2 ws-2 mac="+card1+" seen=5-9", "f:3 ws-3 mac="+card1+" seen=6-9"), true},
		{"the other vendor's record lasts longer", recs("f:1 ws-1 mac="+card1+" seen=1-4", "d:1 ws-1 mac="+card1+" seen=1-9", "f:2 ws-2 mac="+card1+" seen=5-9"), true},
		{"nobody knows when", recs("f:1 ws-1 mac="+card1+" seen=1-4", "f:2 ws-2 mac="+card1), true},
	} {
		if got := sharedCards(tc.records, nil)["00155d000001"]; got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	if !sharedCards(nil, map[string]bool{"00155d000001": true})["00155d000001"] {
		t.Error("what was known is forgotten")
	}
}

// A fleet in which all hosts share a name, a beginning of it, a card or a serial
// number must not take the square of its size. What is allocated shows it, on any
// machine: four times the hosts must not take much more than four times as much.
func TestMergeOfAlikeHosts(t *testing.T) {
	for name, host := range map[string]func(provider string, i int) Record{
		"name": func(p string, i int) Record {
			return Record{Provider: p, ID: fmt.Sprint(i), Hostname: "localhost", Serial: fmt.Sprint("s", i)}
		},
		"serial": func(p string, i int) Record {
			return Record{Provider: p, ID: fmt.Sprint(i), Hostname: "localhost", Serial: "cloned"}
		},
		"beginning": func(p string, i int) Record {
			r := Record{Provider: p, ID: fmt.Sprint(i), Hostname: fmt.Sprintf("accounting-laptop-%05d", i), Serial: fmt.Sprint("s", i)}
			if p == "f" {
				r.Hostname = r.Hostname[:15]
			}
			return r
		},
		"card": func(p string, i int) Record {
			return Record{Provider: p, ID: fmt.Sprint(i), Hostname: fmt.Sprint("ws-", i), MACs: []string{card1}}
		},
		"card, at different times": func(p string, i int) Record {
			return Record{Provider: p, ID: fmt.Sprint(i), Hostname: fmt.Sprint("ws-", i), MACs: []string{card1}, FirstSeen: day0.AddDate(0, 0, 2*i), LastSeen: day0.AddDate(0, 0, 2*i+1)}
		},
	} {
		merge := func(n int) float64 {
			var records []Record
			for _, p := range []string{"f", "d"} {
				for i := range n {
					records = append(records, host(p, i))
				}
			}
			want := n
			if name == "serial" {
				want = 2 * n
			}
			return testing.AllocsPerRun(1, func() {
				if hosts := (view{docks: sharedCards(records, nil)}).merge(records); len(hosts) != want {
					t.Errorf("same %s: %d hosts, want %d", name, len(hosts), want)
				}
			})
		}
		if few, many := merge(1000), merge(4000); many > 6*few {
			t.Errorf("same %s: 1000 hosts take %.0f allocations, 4000 take %.0f", name, few, many)
		}
	}
}

func fleetOf(n int) []Record {
	out := make([]Record, 0, 2*n)
	for _, p := range []string{"falcon/us-1", "defender"} {
		for i := range n {
			mac := fmt.Sprintf("00-15-5d-%02x-%02x-%02x", i>>16, i>>8&255, i&255)
			r := Record{Provider: p, ID: fmt.Sprintf("%032x", i), Hostname: fmt.Sprintf("WS-%06d", i), MACs: []string{mac}, FirstSeen: day0, LastSeen: day0}
			r.FQDN = r.Hostname + ".corp.example"
			if p == "defender" {
				r.ID, r.MACs = fmt.Sprintf("%040x", i), []string{strings.ReplaceAll(mac, "-", "")}
			} else {
				r.Serial = fmt.Sprintf("5CG%07d", i)
			}
			out = append(out, r)
		}
	}
	return out
}

// BenchmarkMerge joins 100,000 hosts of two vendors.
func BenchmarkMerge(b *testing.B) {
	records := fleetOf(100_000)
	b.ReportAllocs()
	for b.Loop() {
		v := view{docks: sharedCards(records, nil)}
		if hosts := v.merge(records); len(hosts) != 100_000 || hosts[0].Grade != Strong {
			b.Fatalf("%d hosts, %v", len(hosts), hosts[0])
		}
	}
}
