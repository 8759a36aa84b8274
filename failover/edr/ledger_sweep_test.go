package edr_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience/fault"
)

// sweep sweeps and wants every vendor to answer.
func (w *world) sweep(t *testing.T) edr.Sweep {
	t.Helper()
	s, err := w.fleet.Sweep(t.Context())
	if err != nil || !s.Complete() {
		t.Errorf("sweep: gaps %v, %v", s.Gaps, err)
	}
	return s.Value
}

func (w *world) ledger(t *testing.T) (out []edr.Entry) {
	t.Helper()
	for e, err := range w.fleet.Ledger(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		out = append(out, e)
	}
	return out
}

// A containment whose answer was lost is either there or not: a later read tells.
func TestAnUnknownOutcomeIsSettledByReads(t *testing.T) {
	t.Run("it happened", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.darkAfterTheEffect()
			if res, err := w.fleet.Contain(t.Context(), host, intent); err != nil || len(res.Value.Holding()) != 2 {
				t.Fatalf("%v, %v", res.Value.Holding(), err)
			}
			w.Falcon.Faults().Heal()
			time.Sleep(3 * time.Minute)
			if s := w.sweep(t); len(s.Held) != 2 || len(s.NotDone)+len(s.Adopted) > 0 {
				t.Errorf("%+v", s)
			}
			for _, e := range w.ledger(t) {
				if e.Outcome != failover.Applied || e.Proven.IsZero() {
					t.Errorf("%+v", e)
				}
			}
		})
	})
	t.Run("it did not", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: actionsPath})
			res, err := w.fleet.Contain(t.Context(), host, intent)
			if err != nil || len(res.Value.Holding()) != 2 {
				t.Fatalf("%v, %v", res.Value.Holding(), err)
			}
			w.Falcon.Faults().Heal()
			time.Sleep(time.Minute)
			if s := w.sweep(t); len(s.Pending) != 1 || s.Pending[0].Provider != "falcon/us-1" {
				t.Errorf("too early to tell: %+v", s)
			}
			time.Sleep(2 * time.Minute)
			if s := w.sweep(t); len(s.NotDone) != 1 || s.NotDone[0].Provider != "falcon/us-1" || len(s.Held) != 1 || s.Held[0].Provider != "defender" {
				t.Errorf("%+v", s)
			}
			if l := w.ledger(t); len(l) != 1 || l[0].Provider != "defender" {
				t.Errorf("ledger: %+v", l)
			}
			if f, _ := w.effects(); f != 0 {
				t.Errorf("%d effects: a sweep contains nothing", f)
			}
		})
	})
}

// A release that could not be made is made by a sweep, once the vendor answers, and
// somebody hears of it as long as it is owed.
func TestReleaseDebtIsAlarmedAndPaidByRun(t *testing.T) {
	heard := make(chan edr.Debt, 100)
	run(t, setup{fleet: func(c *edr.Config) {
		c.OnDebt = func(_ context.Context, d []edr.Debt) {
			for _, d := range d {
				heard <- d
			}
		}
	}}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if _, err := w.fleet.Release(t.Context(), host, intent); !errors.Is(err, edr.ErrReleaseDebt) {
			t.Fatal(err)
		}
		begun := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.fleet.Run(ctx) }()
		time.Sleep(5*time.Minute + time.Second)
		var alarms []edr.Debt
		for range len(heard) {
			alarms = append(alarms, <-heard)
		}
		if len(alarms) < 5 || alarms[0].Provider != "falcon/us-1" || alarms[0].Err == nil || alarms[4].At.After(begun) {
			t.Errorf("%d alarms: %+v", len(alarms), alarms)
		}
		if d, err := w.fleet.Debts(t.Context()); err != nil || len(d) != 1 {
			t.Errorf("%v, %v", d, err)
		}
		w.Falcon.Faults().Heal()
		time.Sleep(5 * time.Minute)
		if f, d := w.Contained(); len(f)+len(d) > 0 {
			t.Errorf("still held: %v %v", f, d)
		}
		if l := w.ledger(t); len(l) != 0 {
			t.Errorf("left in the ledger: %+v", l)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// What an analyst contains in a console is adopted to be seen, is released by Release
// and never by a sweep, and leaves the ledger when the analyst lets it go.
func TestForeignContainmentsAreAdoptedReadOnly(t *testing.T) {
	for _, vendor := range []string{"falcon/us-1", "defender"} {
		t.Run(vendor, func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, w *world) {
				hold := func(status string) {
					if vendor == "defender" {
						if status == "contained" {
							w.Azure.Isolate(twin.DefenderID(1))
						} else {
							w.Azure.Unisolate(twin.DefenderID(1))
						}
						return
					}
					w.Falcon.SetStatus(twin.FalconID(1), status)
				}
				hold("contained")
				time.Sleep(2 * time.Second)
				s := w.sweep(t)
				if len(s.Adopted) != 1 || !s.Adopted[0].Foreign || s.Adopted[0].Provider != vendor || !strings.HasPrefix(s.Adopted[0].Name, "ws-001") {
					t.Fatalf("%+v", s)
				}
				for range 3 {
					time.Sleep(time.Hour)
					if s := w.sweep(t); len(s.Held) != 1 || len(s.Adopted)+len(s.Released)+len(s.Debts) != 0 {
						t.Errorf("%+v", s)
					}
				}
				if f, d := w.Contained(); len(f)+len(d) != 1 {
					t.Errorf("a sweep let it go: %v %v", f, d)
				}
				hold("normal")
				time.Sleep(2 * time.Second)
				if s := w.sweep(t); len(s.Ended) != 1 || len(w.ledger(t)) != 0 {
					t.Errorf("%+v", s)
				}
				hold("contained")
				time.Sleep(2 * time.Second)
				w.sweep(t)
				if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if s := w.sweep(t); len(s.Released) != 1 || len(w.ledger(t)) != 0 {
					t.Errorf("%+v", s)
				}
				if f, d := w.Contained(); len(f)+len(d) != 0 {
					t.Errorf("still held: %v %v", f, d)
				}
			})
		})
	}
}

// A debt is paid behind a cordon, as a release is.
func TestADebtIsPaidBehindACordon(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse, For: time.Minute})
		if _, err := w.fleet.Release(t.Context(), host, intent); !errors.Is(err, edr.ErrReleaseDebt) {
			t.Fatal(err)
		}
		if err := w.fleet.Cordon("falcon/us-1", "an exercise", "soc"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		w.sweep(t)
		time.Sleep(2 * time.Second)
		if f, _ := w.Contained(); len(f) != 0 {
			t.Error("still held")
		}
	})
}

// A vendor that cannot say whether it holds a host, and was never asked to, owes nothing.
func TestWhatNobodyHoldsIsNoDebt(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: "/api/machineactions"})
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		for _, e := range w.ledger(t) {
			if e.Provider == "defender" {
				t.Errorf("%+v", e)
			}
		}
	})
}

// Both vendors hold a host: that is a state, and no error.
func TestSplitBrainIsAState(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		w.Azure.Isolate(twin.DefenderID(1))
		time.Sleep(2 * time.Second)
		s := w.sweep(t)
		if len(s.Held) != 1 || s.Held[0].Foreign || len(s.Adopted) != 1 {
			t.Errorf("%+v", s)
		}
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f)+len(d) != 0 {
			t.Errorf("still held: %v %v", f, d)
		}
	})
}

// A vendor that does not answer, or is cordoned because its answers are not to be
// trusted, takes nothing out of the ledger and puts nothing in.
func TestASweepBelievesNobodyWhoCannotBeAsked(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		s, err := w.fleet.Sweep(t.Context())
		if err != nil || len(s.Gaps) != 1 || s.Gaps[0].Provider != "falcon/us-1" || len(s.Value.Unread) != 1 || s.Value.Unread[0].Err == nil {
			t.Errorf("%+v, %v", s, err)
		}
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if s, err := w.fleet.Sweep(t.Context()); err == nil || len(s.Gaps) != 2 {
			t.Errorf("with both down: %v, %v", s.Gaps, err)
		}
		if l := w.ledger(t); len(l) != 1 || !l[0].Owed() {
			t.Errorf("%+v", l)
		}
		w.Azure.Faults().Heal()
		time.Sleep(time.Minute)
		w.Azure.Isolate(twin.DefenderID(2))
		if err := w.fleet.Cordon("defender", "it shows what is not", "soc"); err != nil {
			t.Fatal(err)
		}
		if s, _ := w.fleet.Sweep(t.Context()); len(s.Value.Adopted) != 0 {
			t.Errorf("adopted from a cordoned vendor: %+v", s.Value.Adopted)
		}
	})
}

// A driver that is no longer configured leaves its entries where they are seen.
func TestEntriesOfAMissingDriverAreSaid(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		store := kv.NewMemory()
		both, err := edr.New(edr.Config{Drivers: w.drivers(), Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := both.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		one, err := edr.New(edr.Config{Drivers: w.drivers()[1:], Store: store})
		if err != nil {
			t.Fatal(err)
		}
		s, err := one.Sweep(t.Context())
		if err != nil || len(s.Value.Unread) != 1 || !strings.Contains(s.Value.Unread[0].Err.Error(), "Config.Drivers") {
			t.Errorf("%+v, %v", s.Value, err)
		}
	})
}

// A host that both the ledger and a vendor call contained, but which the vendor never
// contained, is no green light: a sweep says so.
func TestAnAcceptedContainmentThatNeverHappensIsSaid(t *testing.T) {
	var logged strings.Builder
	run(t, setup{fleet: func(c *edr.Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) }}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		w.Falcon.SetStatus(twin.FalconID(1), "normal") // accepted, and dropped
		time.Sleep(3 * time.Minute)
		if s := w.sweep(t); len(s.NotDone) != 1 {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(logged.String(), "the host is not contained") {
			t.Errorf("logged: %s", logged.String())
		}
	})
}

// Run and callers at the same time leave no debt and no goroutine.
func TestRunBesideCallers(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.fleet.Run(ctx) }()
		for range 5 {
			if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
				t.Error(err)
			}
			time.Sleep(59 * time.Second)
			if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
				t.Error(err)
			}
			time.Sleep(3 * time.Minute)
		}
		synctest.Wait()
		if l := w.ledger(t); len(l) != 0 {
			t.Errorf("%+v", l)
		}
		f, d := w.effects()
		if f != 5 || d != 0 {
			t.Errorf("%d and %d containments", f, d)
		}
		// What an analyst does is seen at the latest ten minutes later.
		w.Azure.Isolate(twin.DefenderID(2))
		time.Sleep(11 * time.Minute)
		if l := w.ledger(t); len(l) != 1 || !l[0].Foreign {
			t.Errorf("%+v", l)
		}
		cancel()
		<-done
	})
}
