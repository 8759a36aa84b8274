package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// In virtual time, where the machine has no part in the numbers, no caller may
// notice more than slowness while the primary is sick.
func TestJurymastAnswersEveryCall(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := play(t.Context(), impl{"jurymast", jurymast}, s, plan(1, 0))
				if err != nil {
					t.Fatal(err)
				}
				got := r.score(18 * time.Millisecond)
				t.Logf("%+v", got)
				if got.okPct != 100 {
					t.Errorf("%v %% of the calls were answered", got.okPct)
				}
				if s.name == "healthy" && got.toBackup != 0 {
					t.Errorf("%v requests went to the backup of a healthy primary", got.toBackup)
				}
			})
		})
	}
}
