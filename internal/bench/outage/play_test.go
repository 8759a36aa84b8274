package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// In virtual time, where the machine has no part in the numbers, Jurymast keeps
// what docs/performance.md promises. The backup's own p99 is 18 ms.
func TestJurymastKeepsItsPromises(t *testing.T) {
	const own = 18 * time.Millisecond
	for _, tc := range []struct {
		scenario  string
		p99       float64 // at most, in ms
		toPrimary float64 // at most
		toBackup  float64 // at most, as a share of the calls
	}{
		{"refuse", 1.3 * 18, 100, 1.1},
		{"blackhole", 1.6 * 18, 100, 1.1},
		{"503", 1.3 * 18, 100, 1.1},
		{"slow", 1.6 * 18, 100, 1.1},
		{"flaky", 2 * 12, 1e9, 0.02},
		{"healthy", 1.1 * 12, 1e9, 0.001},
	} {
		t.Run(tc.scenario, func(t *testing.T) {
			chosen, err := choose(tc.scenario)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				r, err := play(t.Context(), impl{"jurymast", jurymast}, chosen[0], plan(1, 0))
				if err != nil {
					t.Fatal(err)
				}
				got := r.score(own)
				calls := max(got.toPrimary, got.toBackup)
				switch {
				case got.okPct != 100:
					t.Errorf("%v %% of the calls were answered", got.okPct)
				case got.p99 > tc.p99 || got.toPrimary > tc.toPrimary || got.toBackup > tc.toBackup*calls:
					t.Errorf("p99 %v ms, %v requests to the primary, %v to the backup", got.p99, got.toPrimary, got.toBackup)
				case got.worst > 5*18:
					t.Errorf("the worst call took %v ms", got.worst)
				case !(got.settled <= 200) || !(got.back <= 1500): // not, of a time that never came, either
					t.Errorf("settled after %v ms, back after %v ms", got.settled, got.back)
				}
			})
		})
	}
}
