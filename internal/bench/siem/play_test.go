package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func testPlan() plan {
	return plan{partitions: 2, events: 4000, validate: 1, settle: 3 * time.Second, limit: 20 * time.Second}
}

// What a contender does wrong is found, and what it does right is not held against it.
func TestFaultsOfContendersAreFound(t *testing.T) {
	templates := newTemplates(64, 1)
	type want struct{ lost, duplicates, foreign, disordered, dead int }
	for _, tc := range []struct {
		fault string
		plan  func(*plan)
		want  want
	}{
		{"none", func(*plan) {}, want{}},
		{"drops", func(*plan) {}, want{lost: 1}},
		{"twice", func(*plan) {}, want{duplicates: 1}},
		{"invents", func(*plan) {}, want{foreign: 1}},
		{"none", func(p *plan) { p.poison = true }, want{dead: 1}},
		{"drops", func(p *plan) { p.poison = true }, want{lost: 1, dead: 1}},
		{"none", func(p *plan) { p.outage = outage{1000, 200 * time.Millisecond, http.StatusTooManyRequests} }, want{}},
		{"none", func(p *plan) { p.outage = outage{1000, 200 * time.Millisecond, refuseConnections} }, want{}},
	} {
		p := testPlan()
		tc.plan(&p)
		t.Run(tc.fault, func(t *testing.T) {
			t.Parallel()
			r, err := play(t.Context(), fakeContender(tc.fault), p, templates)
			if err != nil {
				t.Fatal(err)
			}
			got := want{lost: r.Lost, duplicates: r.Duplicates, foreign: r.Foreign, disordered: r.Disordered}
			if r.Dead != nil && r.DeadIsIt {
				got.dead = *r.Dead
			}
			if p.outage.status == refuseConnections && got.duplicates <= 2*50 {
				got.duplicates = 0 // of each partition a batch may be cut off from its answer
			}
			if got != tc.want {
				t.Errorf("found %+v, want %+v (%s)", got, tc.want, r.Note)
			}
			if r.CPU <= 0 || r.Peak < 1 || r.Rate <= 0 || r.P99 < r.P50 {
				t.Errorf("numbers that cannot be: %+v", r)
			}
		})
	}
}

func TestDisorderIsCounted(t *testing.T) {
	t.Parallel()
	r, err := play(t.Context(), fakeContender("swaps"), testPlan(), newTemplates(64, 1))
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 0 || r.Duplicates != 0 || r.Disordered < 4000/50/2 {
		t.Errorf("%d lost, %d duplicates, %d out of order", r.Lost, r.Duplicates, r.Disordered)
	}
}

// A contender that reads from the beginning after a kill delivers what it had
// delivered before; one that reads what is new has lost what it held.
func TestKillsAreSurvivedOnlyByWhoRemembers(t *testing.T) {
	for fault, lossless := range map[string]bool{"none": true, "forgets": false} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			p := testPlan()
			p.rate, p.kills, p.killAt, p.killIn = 8000, true, 2000, 3*time.Millisecond
			r, err := play(t.Context(), fakeContender(fault), p, newTemplates(64, 1))
			switch {
			case err != nil:
				t.Fatal(err)
			case lossless && (r.Lost != 0 || r.Duplicates < 1000):
				t.Errorf("%d lost, %d duplicates: it was not killed, or the loss is invented", r.Lost, r.Duplicates)
			case !lossless && r.Lost == 0:
				t.Error("nothing lost by one that forgets what it was sent")
			}
		})
	}
}

// A contender that ends by itself is started again, but not for ever.
func TestOneThatAlwaysDiesIsGivenUp(t *testing.T) {
	t.Parallel()
	r, err := play(t.Context(), fakeContender("dies"), testPlan(), newTemplates(64, 1))
	if err != nil {
		t.Fatal(err)
	}
	if r.Restarts < 3 || r.Lost == 0 || !strings.Contains(r.Note, "ends by itself") {
		t.Errorf("%d restarts, %d lost, note %q", r.Restarts, r.Lost, r.Note)
	}
}

// No green light for what was lost, invented, not set aside or not measured.
func TestTheVerdict(t *testing.T) {
	one, two := 1, 2
	for name, tc := range map[string]struct {
		o    outcome
		want int
	}{
		"kept":         {outcome{result: result{Dead: &one, DeadIsIt: true}}, 0},
		"wrong letter": {outcome{result: result{Dead: &one}}, 1},
		"lost":         {outcome{result: result{Lost: 1}}, 1},
		"invented":     {outcome{result: result{Foreign: 1}}, 1},
		"two letters":  {outcome{result: result{Dead: &two, DeadIsIt: true}}, 1},
		"lost by kill": {outcome{Kills: &kills{Lost: 1}}, 1},
		"not measured": {outcome{Error: "not built"}, 1},
	} {
		r := newReport(&bench{templates: newTemplates(1, 1)})
		r.add("x", "jurymast", []outcome{tc.o})
		r.judge([]*contender{jurymastContender()})
		if len(r.Failures) != tc.want {
			t.Errorf("%s: failures %q, want %d", name, r.Failures, tc.want)
		}
	}
	r := newReport(&bench{templates: newTemplates(1, 1)})
	r.add("throughput", "jurymast", []outcome{
		{result: result{Rate: 3}}, {result: result{Rate: 1, Lost: 1}}, {result: result{Rate: 2}},
	})
	if got := r.Scenarios["throughput"]["jurymast"]; got.Rate != 2 || got.Lost != 1 {
		t.Errorf("of three runs: rate %v and %d lost, want the median rate and the worst loss", got.Rate, got.Lost)
	}
}
