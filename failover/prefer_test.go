package failover

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jurymast/jurymast/resilience"
)

// past is what happened to one provider, as the model remembers it: everything.
type past struct {
	what string // "bad", "refused", "answered", "proved", or "switched": anybody became current
	at   time.Time
}

// reference is the preference as the documentation tells it, by looking back.
type reference struct {
	history  [][]past
	cordoned []bool
	current  int
	moved    time.Time
}

func (m *reference) note(i int, what string, at time.Time) {
	m.history[i] = append(m.history[i], past{what, at})
}

// bad is how many failures there were in a row.
func (m *reference) bad(i int) (n int, last past) {
	for _, e := range slices.Backward(m.history[i]) {
		switch e.what {
		case "bad", "refused":
			if n == 0 {
				last = e
			}
			n++
		case "answered", "proved":
			return n, last
		}
	}
	return n, last
}

func (m *reference) good(i int) (n int) {
	for _, e := range slices.Backward(m.history[i]) {
		switch e.what {
		case "proved":
			n++
		case "bad", "refused", "switched":
			return n
		}
	}
	return n
}

func (m *reference) unfit(i int) bool {
	n, last := m.bad(i)
	return n >= modelAfter || n > 0 && last.what == "refused"
}

func (m *reference) lead() int {
	for n := range m.cordoned {
		if i := (m.current + n) % len(m.cordoned); !m.cordoned[i] {
			return i
		}
	}
	return none
}

// next is where the preference goes, or none.
func (m *reference) next(now time.Time) int {
	from := m.lead()
	if from == none || !m.moved.IsZero() && now.Sub(m.moved) < modelHold {
		return none
	}
	for i := range from {
		if !m.cordoned[i] && m.good(i) >= modelBack {
			return i
		}
	}
	if !m.unfit(from) {
		return none
	}
	var candidates []int
	for i := range m.cordoned {
		if i != from && !m.cordoned[i] && m.score(i, now) < modelAfter {
			candidates = append(candidates, i)
		}
	}
	if len(candidates) == 0 {
		return none
	}
	slices.SortStableFunc(candidates, func(a, b int) int { return m.score(a, now) - m.score(b, now) })
	return candidates[0]
}

func (m *reference) score(i int, now time.Time) int {
	n, last := m.bad(i)
	switch {
	case now.Sub(last.at) >= modelHold:
		return 0
	case m.unfit(i):
		return modelAfter
	}
	return n
}

const (
	modelAfter = 3
	modelBack  = 2
	modelHold  = 30 * time.Second
)

func TestThePreferenceAgreesWithItsModel(t *testing.T) {
	switches, refusals := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "providers")
		now := time.Unix(1_800_000_000, 0)
		cordons := &cordons{byID: map[string]Cordon{}}
		p := newPreference(Config{SwitchAfter: modelAfter, FailbackAfter: modelBack, Hold: modelHold}, cordons)
		m := &reference{history: make([][]past, n), cordoned: make([]bool, n)}
		for i := range n {
			p.add(fmt.Sprint("p", i), "")
		}
		one := rapid.IntRange(0, n-1)
		// Runs of the same event: single ones hardly ever make three in a row.
		for range rapid.IntRange(1, 300).Draw(t, "events") {
			i := one.Draw(t, "provider")
			what := rapid.SampledFrom([]string{"bad", "bad", "bad", "refused", "answered", "proved", "proved", "wait", "wait", "cordon"}).Draw(t, "what")
			for range rapid.IntRange(1, 4).Draw(t, "times") {
				switch what {
				case "bad":
					p.failed(i, resilience.Timeout, "x", now)
				case "refused":
					p.failed(i, resilience.Open, "x", now)
				case "answered":
					p.answered(i)
				case "proved":
					p.proved(i)
				case "wait":
					now = now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "s")) * time.Second)
				case "cordon":
					if m.cordoned[i] = !m.cordoned[i]; m.cordoned[i] {
						cordons.byID[p.ids[i]] = Cordon{Provider: p.ids[i]}
					} else {
						delete(cordons.byID, p.ids[i])
					}
				}
				if what != "wait" && what != "cordon" {
					m.note(i, what, now)
				}
				from, want := m.lead(), m.next(now)
				s, ok := p.reconsider(now)
				switch {
				case ok != (want != none):
					t.Fatalf("after %s of %d: switched %v (%v), the model says %d", what, i, ok, s, want)
				case ok && (s.To != p.ids[want] || s.From != p.ids[from] || s.Why == "" || !s.At.Equal(now)):
					t.Fatalf("%v, the model says from %d to %d", s, from, want)
				case ok:
					switches++
					m.current, m.moved = want, now
					for i := range n {
						m.note(i, "switched", now)
					}
				case from != none && m.unfit(from):
					refusals++
				}
				if got := p.lead(p.usable); got != m.lead() {
					t.Fatalf("the current one is %d, the model says %d", got, m.lead())
				}
			}
		}
	})
	if switches < 100 || refusals < 100 {
		t.Errorf("the test is too tame: %d switches, %d held back", switches, refusals)
	}
}

// Who shares the plane of the provider that failed is the last choice.
func TestTheSubstituteIsOnAnotherPlane(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tc := range []struct {
		planes []string
		failed []int // once
		want   string
	}{
		{[]string{"p", "p", "q"}, nil, "p2"},
		{[]string{"p", "p", "p"}, nil, "p1"},
		{[]string{"", "", "q"}, nil, "p1"},
		{[]string{"p", "p", "q"}, []int{2}, "p1"}, // rather who has not failed
	} {
		p := newPreference(Config{SwitchAfter: 3, FailbackAfter: 3, Hold: time.Second}, &cordons{})
		for i, plane := range tc.planes {
			p.add(fmt.Sprint("p", i), plane)
		}
		for _, i := range append(tc.failed, 0, 0, 0) {
			p.failed(i, resilience.Timeout, "", now)
		}
		if s, ok := p.reconsider(now); !ok || s.To != tc.want {
			t.Errorf("%v: %v, want %s", tc.planes, s, tc.want)
		}
	}
}

// What was proved before a change says little of the time after it.
func TestGoodProbesOfBeforeASwitchDoNotCount(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := &cordons{byID: map[string]Cordon{"a": {}}}
	p := newPreference(Config{SwitchAfter: 3, FailbackAfter: 2, Hold: time.Second}, c)
	for _, id := range []string{"a", "b", "c"} {
		p.add(id, "")
	}
	p.proved(0)
	p.failed(1, resilience.Open, "", now)
	if s, ok := p.reconsider(now); !ok || s.To != "c" {
		t.Fatal(s)
	}
	delete(c.byID, "a")
	now = now.Add(time.Minute)
	for n := 1; n <= 2; n++ {
		p.proved(0)
		if s, ok := p.reconsider(now); ok != (n == 2) {
			t.Errorf("after %d good probes: %v", n, s)
		}
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	p := newPreference(Config{SwitchAfter: 1, FailbackAfter: 1, Hold: time.Second}, &cordons{})
	p.add("a", "")
	p.add("b", "")
	now := time.Unix(1_800_000_000, 0)
	for i := range 100 {
		now = now.Add(time.Minute)
		p.failed(i%2, resilience.Timeout, "a\n\tb"+strings.Repeat("é", 1000), now)
		if _, ok := p.reconsider(now); !ok {
			t.Fatal(i)
		}
	}
	text := p.health[0].last.Text
	if len(p.switches) != keptSwitches || p.switches[keptSwitches-1].At != now || len(text) > keptText+3 || !strings.HasPrefix(text, "a bé") || !strings.HasSuffix(text, "é...") {
		t.Errorf("%d switches, %d bytes: %q", len(p.switches), len(text), text)
	}
}
