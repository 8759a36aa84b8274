package edr_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience/fault"
)

// darkAfterTheEffect lets Falcon contain once, lose the answer and then answer nothing.
func (w *world) darkAfterTheEffect() {
	w.Falcon.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: actionsPath, Count: 1, Delay: time.Second})
	go func() {
		for len(w.Falcon.Effects()) == 0 {
			time.Sleep(time.Millisecond)
		}
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: "/devices"})
	}()
}

// The clouds' records prove: never two effects at one vendor, and a second
// vendor only after NotSent, or after an Unknown that could not be read back.
func TestContainThroughEveryFailureOfFalcon(t *testing.T) {
	for _, tc := range []struct {
		name             string
		break_           func(*world)
		by               string
		falcon, defender int // effects
		holding          int
	}{
		{"healthy", func(*world) {}, "falcon/us-1", 1, 0, 1},
		{"refused", func(w *world) { w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse}) }, "defender", 0, 1, 1},
		{"blackholed", func(w *world) { w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole}) }, "defender", 0, 1, 1},
		{"503 storm", func(w *world) { w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503}) }, "defender", 0, 1, 1},
		{"503 storm of the API, tokens good", func(w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: "/devices"})
		}, "defender", 0, 1, 1},
		{"tokens revoked, token endpoint down", func(w *world) {
			w.Falcon.RevokeTokens()
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: "/oauth2"})
		}, "defender", 0, 1, 1},
		{"the answer is lost after the effect", func(w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: actionsPath, Count: 1})
		}, "falcon/us-1", 1, 0, 1},
		{"every answer to contain is lost", func(w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: actionsPath})
		}, "falcon/us-1", 1, 0, 1},
		{"contain is blackholed, reads work", func(w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: actionsPath})
		}, "defender", 0, 1, 2},
		{"contain answers 503, reads work", func(w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: actionsPath})
		}, "defender", 0, 1, 2},
		{"contained, and then Falcon goes dark", (*world).darkAfterTheEffect, "defender", 1, 1, 2},
	} {
		for _, warm := range []bool{false, true} {
			name := tc.name
			if warm {
				name += ", with open connections and a token"
			}
			t.Run(name, func(t *testing.T) {
				run(t, setup{}, func(t *testing.T, w *world) {
					if warm {
						if _, err := w.fleet.Find(t.Context(), host); err != nil {
							t.Fatal(err)
						}
					}
					tc.break_(w)
					res, err := w.fleet.Contain(t.Context(), host, intent)
					if err != nil {
						t.Fatal(err)
					}
					if res.By() != tc.by || !res.Value.Outcome.OK() {
						t.Errorf("by %s: %v", res.By(), res.Value.Outcome)
					}
					if fell := res.Served[0].FellOver; fell != (tc.by == "defender") || fell == res.Complete() {
						t.Errorf("fell over %v, gaps %v", fell, res.Gaps)
					}
					if f, d := w.effects(); f != tc.falcon || d != tc.defender {
						t.Errorf("effects: falcon %d, defender %d, want %d and %d", f, d, tc.falcon, tc.defender)
					}
					if got := res.Value.Holding(); len(got) != tc.holding {
						t.Errorf("holding %v, want %d vendors", got, tc.holding)
					}
					time.Sleep(3 * time.Second)
					// Whatever happened, once Falcon is back a release undoes all of it.
					w.Falcon.Faults().Heal()
					time.Sleep(2 * time.Minute) // breakers close
					if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
						t.Fatalf("release: %v", err)
					}
					time.Sleep(3 * time.Second)
					if f, d := w.Contained(); len(f)+len(d) > 0 {
						t.Errorf("still held: falcon %v, defender %v", f, d)
					}
					if s, err := w.fleet.Sweep(t.Context()); err != nil || !s.Complete() || len(s.Value.Released) == 0 {
						t.Errorf("sweep: %+v, %v, %v", s.Value, s.Gaps, err)
					}
					for e := range w.fleet.Ledger(t.Context()) {
						t.Errorf("left in the ledger: %+v", e)
					}
				})
			})
		}
	}
}

func TestConcurrentContainsAreOneEffect(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				q := host
				if i%2 == 1 {
					q = edr.Hostname("WS-001.corp.example")
				}
				if _, err := w.fleet.Contain(t.Context(), q, intent); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		posts := 0
		for _, r := range w.Falcon.Requests() {
			if strings.HasPrefix(r.Path, actionsPath) {
				posts++
			}
		}
		if f, d := w.effects(); f != 1 || d != 0 || posts != 1 {
			t.Errorf("effects: falcon %d, defender %d; asked %d times", f, d, posts)
		}
	})
}

// A containment that may be in force stays in the ledger, whatever a later one
// finds.
func TestALaterRefusalDoesNotForgetAnUnknown(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		unknown := w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: actionsPath})
		if res, err := w.fleet.Contain(t.Context(), host, intent); err != nil || len(res.Value.Holding()) != 2 {
			t.Fatalf("%v, %v", res.Value.Holding(), err)
		}
		unknown()
		time.Sleep(2 * time.Minute)
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 429, Path: actionsPath})
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		owed := map[string]bool{}
		for e := range w.fleet.Ledger(t.Context()) {
			owed[e.Provider] = e.Owed()
		}
		if !owed["falcon/us-1"] || !owed["defender"] {
			t.Errorf("the ledger says %v", owed)
		}
	})
}

func TestOnUnknownStop(t *testing.T) {
	run(t, setup{fleet: func(c *edr.Config) { c.OnUnknown = edr.Stop }}, func(t *testing.T, w *world) {
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: actionsPath})
		res, err := w.fleet.Contain(t.Context(), host, intent)
		if !errors.Is(err, edr.ErrUnknownOutcome) || res.Value.Outcome != failover.Unknown {
			t.Errorf("%v, %v", res.Value.Outcome, err)
		}
		if _, d := w.effects(); d != 0 {
			t.Error("the second vendor was asked all the same")
		}
	})
}

// A cordoned vendor is not used to contain; what it holds is released there.
func TestACordonKeepsContainsAwayAndReleasesNot(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := w.fleet.Cordon("falcon/us-1", "its lists are half empty", "soc"); err != nil {
			t.Fatal(err)
		}
		other := edr.Hostname(twin.Hostname(2))
		res, err := w.fleet.Contain(t.Context(), other, intent)
		if err != nil || res.By() != "defender" || !errors.Is(res.Gaps[0].Err, failover.ErrCordoned) {
			t.Errorf("%+v, %v", res, err)
		}
		w.Falcon.SetStatus(twin.FalconID(0), "contained") // by an analyst: the ledger knows nothing of it
		for _, i := range []int{1, 0} {
			if _, err := w.fleet.Release(t.Context(), edr.Hostname(twin.Hostname(i)), intent); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f) != 0 || !slices.Equal(d, []int{2}) {
			t.Errorf("held: %v, %v", f, d)
		}
	})
}

// A host that one vendor holds is not contained at another because calls begin there
// now: it is contained once.
func TestAHostIsContainedWhereItIsHeld(t *testing.T) {
	for _, by := range []string{"falcon/us-1", "defender"} {
		t.Run(by, func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, w *world) {
				if _, err := w.fleet.Contain(failover.WithOnly(t.Context(), by), host, intent); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if by == "falcon/us-1" { // leave it
					w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
					for range 5 {
						_, _ = w.fleet.State(t.Context(), edr.Hostname(twin.Hostname(2)))
					}
					w.Falcon.Faults().Heal()
					if w.fleet.Current() != "defender" || !strings.Contains(w.fleet.Explain().String(), "switched from falcon/us-1") {
						t.Fatal(w.fleet.Explain())
					}
					time.Sleep(time.Minute)
				}
				res, err := w.fleet.Contain(t.Context(), host, intent)
				if err != nil || res.By() != by || res.Value.Outcome != failover.Already {
					t.Errorf("%s: %v, %v", res.By(), res.Value.Outcome, err)
				}
				if f, d := w.Contained(); len(f)+len(d) != 1 {
					t.Errorf("held: %v, %v", f, d)
				}
			})
		})
	}
}

// Run brings calls back to the preferred vendor once it is well, although nobody reads.
func TestRunBringsContainmentsBack(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.fleet.Run(ctx) }()
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse, For: time.Minute})
		for i := range 3 {
			if res, err := w.fleet.Contain(t.Context(), edr.Hostname(twin.Hostname(i)), intent); err != nil || res.By() != "defender" {
				t.Errorf("%s, %v", res.By(), err)
			}
		}
		if w.fleet.Current() != "defender" {
			t.Error(w.fleet.Explain())
		}
		time.Sleep(3 * time.Minute)
		if w.fleet.Current() != "falcon/us-1" {
			t.Error(w.fleet.Explain())
		}
		time.Sleep(time.Hour)
		if len(w.links(t)) != 3 {
			t.Errorf("Run learned %v", w.links(t))
		}
		cancel()
		<-done
	})
}
