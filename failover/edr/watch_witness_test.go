package edr

import (
	"strings"
	"testing"
	"time"
)

// Every cell: vendor, vendor, and then what a host is that sends heartbeats, has
// stopped, or never sent any.
const allCells = `
covered covered | protected      protected      protected
covered blind   | single_covered single_covered single_covered
covered weak    | single_covered single_covered single_covered
covered muted   | single_covered single_covered single_covered
covered absent  | single_covered single_covered single_covered
blind   blind   | unknown        unknown        unknown
blind   weak    | unknown        unknown        unknown
blind   muted   | unknown        unknown        unknown
blind   absent  | unknown        unknown        unknown
weak    weak    | unprotected    unknown        unprotected
weak    muted   | unprotected    unknown        unprotected
weak    absent  | unprotected    unknown        unprotected
muted   muted   | unprotected    unknown        unknown
muted   absent  | unprotected    unknown        unknown
absent  absent  | unprotected    unknown        unknown
`

func TestEveryCellOfTheTruthTable(t *testing.T) {
	word := map[string]witness{"absent": absent, "muted": muted, "weak": weak, "blind": blind, "covered": covered}
	seen := map[[2]witness]bool{}
	for line := range strings.Lines(strings.TrimSpace(allCells)) {
		f := strings.Fields(line)
		a, b := word[f[0]], word[f[1]]
		for p, want := range f[3:] {
			// In either order, and with a third vendor that has nothing to say.
			for _, words := range [][]witness{{a, b}, {b, a}, {a, absent, b}, {absent, b, a}} {
				if got := verdict(words, pulse(p)); got.String() != want {
					t.Errorf("%s, %s, pulse %d: %v, want %s", f[0], f[1], p, got, want)
				}
			}
		}
		seen[[2]witness{a, b}], seen[[2]witness{b, a}] = true, true
	}
	if len(seen) != 25 || len(verdicts) != 15 {
		t.Errorf("%d pairs are tested, the table has %d rows", len(seen), len(verdicts))
	}
	for w := range covered + 1 { // a fleet of one vendor is never protected
		for p := beating; p <= unheard; p++ {
			if verdict([]witness{w}, p) == Protected {
				t.Errorf("%d alone protects", w)
			}
		}
	}
	if got := verdict([]witness{muted, blind, muted}, beating); got != ProtectionUnknown {
		t.Errorf("a third vendor that did not answer: %v", got)
	}
}

func TestAnAgentIsHeldAgainstTheLifeOfItsHost(t *testing.T) {
	now := time.Date(2024, 7, 19, 6, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, tc := range []struct {
		name        string
		seen, alive time.Duration // ago
		every       time.Duration
		impaired    string
		want        witness
	}{
		{"it spoke last", 0, 0, time.Hour, "", covered},
		{"it spoke last, a while ago, as all did", 3 * day, 3 * day, time.Hour, "", covered},
		{"within what it takes to report", time.Hour, 0, time.Hour, "", covered},
		{"a bit late", time.Hour + 1, 0, time.Hour, "", blind},
		{"as late as it may be", 2 * time.Hour, 0, time.Hour, "", blind},
		{"too late", 2*time.Hour + 1, 0, time.Hour, "", muted},
		{"the same, of a vendor that reports once a day", 2*time.Hour + 1, 0, day, "", covered},
		{"impaired", 0, 0, time.Hour, "rfm", weak},
		{"impaired and late", time.Hour + 1, 0, time.Hour, "rfm", blind},
		{"impaired and silent", 3 * time.Hour, 0, time.Hour, "rfm", muted},
		{"all are silent", 7*day + 1, 7*day + 1, time.Hour, "", muted},
		{"all are nearly silent", 7 * day, 7 * day, time.Hour, "", covered},
	} {
		r := Record{LastSeen: now.Add(-tc.seen), Impaired: tc.impaired}
		if got := word(r, tc.every, now.Add(-tc.alive), now, 7*day); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
	if got := word(Record{}, day, now, now, 7*day); got != blind {
		t.Errorf("a record that does not say when: %d", got)
	}
	for _, tc := range []struct {
		name        string
		last, alive time.Duration // ago
		want        pulse
	}{
		{"now", 0, 0, beating},
		{"an hour ago", time.Hour, time.Hour, beating},
		{"longer ago, and nothing since", time.Hour + 1, time.Hour + 1, stopped},
		{"longer ago, and an agent not much later", 3 * time.Hour, 2 * time.Hour, stopped},
		{"longer ago, and an agent much later", 3*time.Hour + 1, 2 * time.Hour, unheard},
	} {
		if got := beat(now.Add(-tc.last), now.Add(-tc.alive), now); got != tc.want {
			t.Errorf("heartbeat %s: %d, want %d", tc.name, got, tc.want)
		}
	}
	if got := beat(time.Time{}, now, now); got != unheard {
		t.Errorf("no heartbeat: %d", got)
	}
}

// A heartbeat that may be another machine's is nobody's.
func TestHeartbeatsAreFoundByName(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC) }
	last := map[string]time.Time{
		"WS-1.corp.example": at(1), "ws-1.corp.example.": at(2), "ws-1.lab.example": at(3),
		"ws-2": at(4), "SRV-3.corp.example": at(5), "": at(6),
	}
	for range 20 { // in whatever order the map has
		if got := heartbeatsOf(last).of("ws-1.corp.example", true); !got.Equal(at(2)) {
			t.Fatalf("the older heartbeat counts: %v", got)
		}
	}
	beats := heartbeatsOf(last)
	for _, tc := range []struct {
		name  string
		alone bool
		want  time.Time
	}{
		{"ws-1.corp.example", false, at(2)},
		{"WS-1.LAB.example", false, at(3)},
		{"ws-1", true, time.Time{}},               // of two machines
		{"ws-1.other.example", true, time.Time{}}, // of none
		{"ws-2.corp.example", true, at(4)},
		{"ws-2.corp.example", false, time.Time{}}, // of one of several
		{"srv-3", true, at(5)},
		{"srv-3.lab.example", true, time.Time{}},
		{"nobody", true, time.Time{}},
	} {
		if got := beats.of(tc.name, tc.alone); !got.Equal(tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
