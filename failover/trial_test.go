package failover

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

func TestARecoveredProviderIsCurrentAgainAfterTrialsAndNotBeforeHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b")
		v.set("a", nil)
		begin := time.Now()
		for time.Since(begin) < 30*time.Second {
			if got := do(t, g, v, reading); got != "b" {
				t.Fatalf("asked %s after %v", got, time.Since(begin))
			}
			time.Sleep(time.Second)
		}
		for n := range 3 {
			if g.Current() != "b" {
				t.Fatalf("failed back after %d trials", n)
			}
			for range 3 {
				if got := do(t, g, v, effect); got != "b" {
					t.Fatalf("an effect was a trial: asked %s", got)
				}
			}
			res, err := Do(t.Context(), g, reading, v.ask)
			if err != nil || res.By() != "a" || res.Served[0].FellOver {
				t.Fatalf("trial %d: %+v, %v", n, res, err)
			}
		}
		if got := do(t, g, v, effect); got != "a" || g.Current() != "a" {
			t.Errorf("after three good trials: asked %s", got)
		}
	})
}

func TestAFailedTrialFailsOverAndTheNextWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		next string // whom the next read asks
	}{
		"down":      {down, "b"},
		"denied":    {fail(resilience.Denied, resilience.Answered), "b"}, // or every read would be
		"not found": {elsewhere{fail(resilience.NotFound, resilience.Answered)}, "ab"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, v := switched(t, "a", "b", "c")
				time.Sleep(30 * time.Second)
				v.set("a", tc.err)
				_, _ = Do(t.Context(), g, reading, v.ask)
				if got := v.who(); got[0] != 'a' {
					t.Fatalf("no trial: asked %s", got)
				}
				if got := do(t, g, v, reading); got != tc.next {
					t.Errorf("the next read asked %s, want %s", got, tc.next)
				}
				v.set("a", down)
				time.Sleep(30*time.Second - 1)
				if got := do(t, g, v, reading); name != "not found" && got != "b" {
					t.Errorf("too early: asked %s", got)
				}
				time.Sleep(30 * time.Second)
				if got := do(t, g, v, reading); got != "ab" {
					t.Errorf("after the wait: asked %s, want a trial that fails over", got)
				}
				if g.Current() != "b" {
					t.Errorf("%s is current", g.Current())
				}
			})
		})
	}
}

func TestEveryMorePreferredProviderIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b", "c")
		time.Sleep(30 * time.Second)
		v.set("b", fail(resilience.Open, resilience.NotSent))
		v.set("a", down)
		if got := do(t, g, v, effect); got != "bac" || g.Current() != "c" {
			t.Fatalf("asked %s, %s is current", got, g.Current())
		}
		v.set("b", nil)
		time.Sleep(30 * time.Second)
		if got := do(t, g, v, reading); got != "ac" {
			t.Errorf("asked %s, want a trial of a", got)
		}
		for range 3 {
			if got := do(t, g, v, reading); got != "b" {
				t.Errorf("asked %s, want a trial of b", got)
			}
		}
		if g.Current() != "b" {
			t.Errorf("%s is current", g.Current())
		}
	})
}

func TestOneReadAtATimeIsATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b")
		time.Sleep(30 * time.Second)
		release := make(chan struct{})
		var trial sync.WaitGroup
		trial.Go(func() {
			_, _ = Do(t.Context(), g, reading, func(ctx context.Context, id string) (string, error) {
				if id == "a" {
					<-release
				}
				return id, nil
			})
		})
		synctest.Wait()
		if got := do(t, g, v, reading); got != "b" {
			t.Errorf("a second trial: asked %s", got)
		}
		close(release)
		trial.Wait()
		// A trial that panics is over too, and has not succeeded.
		func() {
			defer func() { _ = recover() }()
			_, _ = Do(t.Context(), g, reading, func(_ context.Context, id string) (int, error) { panic(id) })
		}()
		if got := do(t, g, v, reading); got != "b" {
			t.Errorf("after a panic: asked %s", got)
		}
		v.set("a", nil)
		time.Sleep(30 * time.Second)
		if got := do(t, g, v, reading); got != "a" {
			t.Errorf("no trial any more: asked %s", got)
		}
	})
}
