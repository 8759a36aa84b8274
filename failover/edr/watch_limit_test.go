package edr

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/jurymast/jurymast/resilience"
)

func limit(calls int, per time.Duration, cost int) Limit {
	return Limit{Window: resilience.Window{Calls: calls, Per: per}, Cost: cost}
}

var (
	likeDefender = []Limit{limit(100, time.Minute, 1), limit(1500, time.Hour, 1)}
	likeFalcon   = []Limit{limit(6000, time.Minute, 3)}
)

func TestHowFastAFleetCanBeContained(t *testing.T) {
	for _, tc := range []struct {
		name   string
		n      int
		limits []Limit
		want   time.Duration
	}{
		{"none", 0, likeDefender, 0},
		{"the first minute's", 100, likeDefender, 0},
		{"one more", 101, likeDefender, time.Minute},
		{"the first hour's", 1500, likeDefender, 14 * time.Minute},
		{"the hour is full", 1501, likeDefender, time.Hour},
		{"in the second hour the minutes count again", 1601, likeDefender, 61 * time.Minute},
		{"three hours", 3001, likeDefender, 2 * time.Hour},
		{"three calls each", 2000, likeFalcon, 0},
		{"three calls each, one more", 2001, likeFalcon, time.Minute},
		{"calls that are left over do no good", 3, []Limit{limit(5, time.Minute, 2)}, time.Minute},
		{"no quota is known", 1000, nil, 0},
	} {
		if got := fastest(tc.n, tc.limits); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// Against a clock that ticks: each containment goes at the first tick at which no
// window is over its calls.
func TestFastestAgainstAClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := make([]Limit, rapid.IntRange(1, 3).Draw(t, "limits"))
		for i := range limits {
			cost := rapid.IntRange(1, 3).Draw(t, "cost")
			limits[i] = limit(rapid.IntRange(cost, 12).Draw(t, "calls"), time.Duration(rapid.IntRange(1, 20).Draw(t, "per")), cost)
		}
		n := rapid.IntRange(1, 60).Draw(t, "n")
		var sent []time.Duration
		for now := time.Duration(0); len(sent) < n; {
			room := true
			for _, l := range limits {
				spent := 0
				for _, at := range sent {
					if at > now-l.Window.Per {
						spent += l.Cost
					}
				}
				room = room && spent+l.Cost <= l.Window.Calls
			}
			if room {
				sent = append(sent, now)
			} else {
				now++
			}
		}
		if got := fastest(n, limits); got != sent[n-1] {
			t.Fatalf("%v of %+v takes %v, want %v", n, limits, got, sent[n-1])
		}
	})
}

// What is said of the time that a Quota takes is what it takes, or a little more.
func TestPacedIsWhatAQuotaTakes(t *testing.T) {
	for _, tc := range []struct {
		limits []Limit
		n      int
	}{{likeDefender, 10}, {likeDefender, 90}, {likeDefender, 1000}, {likeFalcon, 300}, {likeFalcon, 3000}, {[]Limit{limit(3, time.Minute, 1)}, 7}} {
		synctest.Test(t, func(t *testing.T) {
			var windows []resilience.Window
			cost := 0
			for _, l := range tc.limits {
				windows, cost = append(windows, l.Window), l.Cost
			}
			quota, err := resilience.NewQuota(windows...)
			if err != nil {
				t.Fatal(err)
			}
			policy, err := resilience.New("test", resilience.Config{Quota: quota})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
			defer cancel()
			begin := time.Now()
			for range tc.n * cost {
				_, err := resilience.Do(ctx, policy, resilience.Call{Name: "read", Kind: resilience.Read, Timeout: time.Hour}, func(context.Context) (int, error) { return 0, nil })
				if err != nil {
					t.Fatal(err)
				}
			}
			took, said := time.Since(begin), paced(tc.n, tc.limits)
			if took > said || took < said*9/10-2*time.Second {
				t.Errorf("%d by %+v: took %v, said %v", tc.n, tc.limits, took, said)
			}
		})
	}
}

func TestALimitThatNothingFitsIsRefused(t *testing.T) {
	for _, l := range []Limit{{}, limit(2, time.Minute, 3), limit(2, 0, 1), limit(2, time.Minute, 0)} {
		if checkLimits([]Limit{likeFalcon[0], l}) == nil {
			t.Errorf("%+v is taken", l)
		}
	}
	if err := checkLimits(likeDefender); err != nil {
		t.Error(err)
	}
}
