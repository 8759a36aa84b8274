package edr_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is both clouds, both clients and a fleet over them.
type world struct {
	*twin.Twin
	fleet  *edr.Fleet
	falcon *falcon.Client
	azure  *azure.Client
}

type setup struct {
	falcon func(*falcon.Config)
	azure  func(*azure.Config)
	fleet  func(*edr.Config)
}

// run runs a test in a bubble where time is virtual.
func run(t *testing.T, s setup, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tw, err := twin.New(twin.Config{Hosts: 3, InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer tw.Close()
		w := &world{Twin: tw}
		fc := falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: tw.Falcon.Client()}
		ac := azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: tw.Azure.Client()}
		if s.falcon != nil {
			s.falcon(&fc)
		}
		if s.azure != nil {
			s.azure(&ac)
		}
		if w.falcon, err = falcon.New(fc); err != nil {
			t.Fatal(err)
		}
		if w.azure, err = azure.New(ac); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(w.falcon.Close(context.Background()), w.azure.Close(context.Background())); err != nil {
				t.Error(err)
			}
		}()
		cfg := edr.Config{Drivers: []edr.Driver{crowdstrike.EDR(w.falcon), microsoft.EDR(w.azure)}, Volatile: true}
		if s.fleet != nil {
			s.fleet(&cfg)
		}
		if w.fleet, err = edr.New(cfg); err != nil {
			t.Fatal(err)
		}
		test(t, w)
	})
}

var (
	host   = edr.Hostname("ws-001")
	intent = edr.Intent{ID: "case-7", Actor: "soc@corp.example", Reason: "malware"}
)

// effects counts what really happened to host 1, by the clouds' own records.
func (w *world) effects() (falconContains, defenderIsolates int) {
	for _, e := range w.Falcon.Effects() {
		if e.DeviceID == twin.FalconID(1) && e.Action == "contain" {
			falconContains++
		}
	}
	for _, a := range w.Azure.Actions() {
		if a.MachineID == twin.DefenderID(1) && a.Type == "Isolate" {
			defenderIsolates++
		}
	}
	return falconContains, defenderIsolates
}

const actionsPath = "/devices/entities/devices-actions"

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
		{"contained, and then Falcon goes dark", func(w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: actionsPath, Count: 1, Delay: time.Second})
			// Reads work until the action has been carried out.
			go func() {
				for len(w.Falcon.Effects()) == 0 {
					time.Sleep(time.Millisecond)
				}
				w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: "/devices"})
			}()
		}, "defender", 1, 1, 2},
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
					for e := range w.fleet.Ledger(t.Context()) {
						t.Errorf("left in the ledger: %+v", e)
					}
				})
			})
		}
	}
}

func TestReleaseDebtIsKeptAndPaid(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		res, err := w.fleet.Release(t.Context(), host, intent)
		debt, ok := errors.AsType[*edr.DebtError](err)
		if !ok || !errors.Is(err, edr.ErrReleaseDebt) || len(debt.Debts) != 1 || debt.Debts[0].Provider != "falcon/us-1" {
			t.Fatalf("got %v, %+v", err, res.Value)
		}
		owed := 0
		for e, err := range w.fleet.Ledger(t.Context()) {
			if err != nil || !e.Owed() {
				t.Errorf("%+v, %v", e, err)
			}
			owed++
		}
		if owed != 1 {
			t.Errorf("%d debts in the ledger", owed)
		}
		w.Falcon.Faults().Heal()
		time.Sleep(2 * time.Minute)
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f)+len(d) > 0 {
			t.Errorf("still held: %v %v", f, d)
		}
	})
}

// A containment made in a vendor's console is released too: the vendor says so.
func TestReleaseOfForeignContainments(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Falcon.SetStatus(twin.FalconID(1), "contained")
		w.Azure.Isolate(twin.DefenderID(1))
		found, err := w.fleet.Find(t.Context(), host)
		if err != nil || found.Value.State() != edr.Contained || found.Value.Records[1].State != edr.Contained {
			t.Errorf("%v, %v", found.Value, err)
		}
		if s, err := w.fleet.State(t.Context(), host); err != nil || s.Value.State != edr.Contained {
			t.Errorf("%v, %v", s.Value.State, err)
		}
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f)+len(d) > 0 {
			t.Errorf("still held: %v %v", f, d)
		}
	})
}

// Falcon answers 409 and Defender refuses while a containment is under way.
func TestReleaseWaitsForAContainmentUnderWay(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse, For: time.Second})
		if res, err := w.fleet.Contain(t.Context(), host, intent); err != nil || res.By() != "defender" {
			t.Fatalf("%v, %v", res.By(), err)
		}
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f)+len(d) > 0 {
			t.Errorf("still held: %v %v", f, d)
		}
	})
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

func TestStateOfTheBackup(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		w.Azure.Isolate(twin.DefenderID(1))
		s, err := w.fleet.State(t.Context(), host)
		if err != nil || s.By() != "defender" || s.Value.State != edr.Contained || s.Value.AsOf.IsZero() {
			t.Errorf("%+v, %v", s.Value, err)
		}
	})
}

// A host that a vendor does not know is no failure of that vendor, and one whose
// state a vendor could not tell is not free.
func TestWhatIsNotKnown(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Falcon.RemoveHost(twin.FalconID(1))
		res, err := w.fleet.Contain(t.Context(), host, intent)
		if err != nil || res.By() != "defender" || res.Served[0].FellOver {
			t.Errorf("%+v, %v", res.Served, err)
		}
		if s, err := w.fleet.State(t.Context(), edr.Native("defender", twin.DefenderID(1))); err != nil || !s.Complete() {
			t.Errorf("one vendor's own id concerns that vendor only: %v, %v", s.Gaps, err)
		}
	})
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: "/api/machineactions"})
		found, err := w.fleet.Find(t.Context(), host)
		if err != nil || found.Value.State() != edr.StateUnknown || found.Complete() {
			t.Errorf("%v, gaps %v, %v", found.Value.State(), found.Gaps, err)
		}
	})
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Azure.RemoveMachine(twin.DefenderID(1))
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 429, Path: actionsPath})
		if _, err := w.fleet.Contain(t.Context(), host, intent); err == nil || errors.Is(err, edr.ErrHostNotFound) {
			t.Errorf("the host was found: %v", err)
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

// The ledger survives the process: a later one knows what to release.
func TestLedgerOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	open := func(t *testing.T) *kv.Bolt {
		s, err := kv.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	run(t, setup{}, func(t *testing.T, w *world) {
		drivers := []edr.Driver{crowdstrike.EDR(w.falcon), microsoft.EDR(w.azure)}
		store := open(t)
		before, err := edr.New(edr.Config{Drivers: drivers, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := before.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		store = open(t)
		after, err := edr.New(edr.Config{Drivers: drivers, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if _, err := after.Release(t.Context(), host, intent); !errors.Is(err, edr.ErrReleaseDebt) {
			t.Errorf("a new process, with Falcon down, must know of the debt: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestHostsMergesBothVendors(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		res, err := w.fleet.Hosts(t.Context())
		if err != nil || !res.Complete() || len(res.Value) != 3 {
			t.Fatalf("%d hosts, %v, %v", len(res.Value), res.Gaps, err)
		}
		for i, h := range res.Value {
			if h.Name != twin.Hostname(i)+"."+twin.Domain || len(h.Records) != 2 {
				t.Errorf("%+v", h)
			}
		}
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
		res, err = w.fleet.Hosts(t.Context())
		if err != nil || res.Complete() || res.Gaps[0].Provider != "defender" || len(res.Value) != 3 {
			t.Errorf("with Defender down: %d hosts, %v, %v", len(res.Value), res.Gaps, err)
		}
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if res, err = w.fleet.Hosts(t.Context()); err == nil || len(res.Gaps) != 2 {
			t.Errorf("with both down: %v, %v", res.Gaps, err)
		}
	})
}

func TestTypedErrorsSayWhatToDo(t *testing.T) {
	contain := func(t *testing.T, w *world, q edr.Query) error {
		t.Helper()
		_, err := w.fleet.Contain(t.Context(), q, intent)
		if f, d := w.effects(); f+d > 0 {
			t.Errorf("effects: falcon %d, defender %d", f, d)
		}
		if err == nil {
			t.Fatal("no error")
		}
		return err
	}
	t.Run("wrong credential at the only vendor that has the host", func(t *testing.T) {
		run(t, setup{falcon: func(c *falcon.Config) { c.ClientSecret = "wrong" }}, func(t *testing.T, w *world) {
			w.Azure.RemoveMachine(twin.DefenderID(1))
			err := contain(t, w, host)
			api, ok := errors.AsType[*falcon.APIError](err)
			if !ok || !strings.Contains(api.Hint, "Config.ClientSecret") || !errors.Is(err, edr.ErrHostNotFound) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("wrong credential at the preferred vendor: contained by the next, and said", func(t *testing.T) {
		run(t, setup{falcon: func(c *falcon.Config) { c.ClientSecret = "wrong" }}, func(t *testing.T, w *world) {
			res, err := w.fleet.Contain(t.Context(), host, intent)
			if err != nil || res.By() != "defender" || res.Complete() || resilience.Of(res.Gaps[0].Err).Class.Fault() != resilience.Auth {
				t.Errorf("%v, %v, %v", res.By(), res.Gaps, err)
			}
		})
	})
	t.Run("a refused permission is not gone around", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 403, Path: actionsPath})
			if err := contain(t, w, host); resilience.Of(err).Class != resilience.Denied {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("unknown host", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			if err := contain(t, w, edr.Hostname("nobody")); !errors.Is(err, edr.ErrHostNotFound) || !strings.Contains(err.Error(), "check the name") {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("ambiguous name at one vendor", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.AddHost(falcontest.Host{DeviceID: fmt.Sprintf("%032x", 99), Hostname: "WS-001"})
			err := contain(t, w, host)
			amb, ok := errors.AsType[*edr.AmbiguousHostError](err)
			if !ok || !errors.Is(err, edr.ErrAmbiguousHost) || len(amb.Candidates) != 3 || !strings.Contains(err.Error(), "edr.Native") {
				t.Errorf("got %v", err)
			}
			if _, err := w.fleet.Contain(t.Context(), edr.Native("falcon/us-1", twin.FalconID(1)), intent); err != nil {
				t.Errorf("by its own id: %v", err)
			}
		})
	})
	t.Run("same name, another machine", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			m, _ := w.Azure.Machine(twin.DefenderID(1))
			m.IPAddresses = []azuretest.IPAddress{{MACAddress: "001B21000001"}}
			w.Azure.AddMachine(m)
			if err := contain(t, w, host); !errors.Is(err, edr.ErrAmbiguousHost) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("cancelled context", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			w.Azure.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			begin := time.Now()
			_, err := w.fleet.Contain(ctx, host, intent)
			if !errors.Is(err, context.Canceled) || time.Since(begin) != time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("the caller's deadline", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if res, err := w.fleet.Contain(ctx, host, intent); err != nil || res.By() != "defender" {
				t.Errorf("a blackholed primary ate the backup's time: %v", err)
			}
		})
	})
	t.Run("both down", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			w.Azure.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			begin := time.Now()
			_, err := w.fleet.Contain(t.Context(), host, intent)
			if err == nil || errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 30*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("read-only", func(t *testing.T) {
		run(t, setup{
			falcon: func(c *falcon.Config) { c.ReadOnly = true }, azure: func(c *azure.Config) { c.ReadOnly = true },
		}, func(t *testing.T, w *world) {
			if err := contain(t, w, host); !errors.Is(err, resilience.ErrReadOnly) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("closed", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			_ = w.falcon.Close(t.Context())
			_ = w.azure.Close(t.Context())
			if err := contain(t, w, host); !errors.Is(err, resilience.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("arguments", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			for want, call := range map[string]func() error{
				"edr.Hostname":   func() error { return contain(t, w, edr.Query{}) },
				"Query.Provider": func() error { return contain(t, w, edr.Native("nowhere", "x")) },
				"Intent.Reason": func() error {
					_, err := w.fleet.Contain(t.Context(), host, edr.Intent{ID: "x", Actor: "y"})
					return err
				},
			} {
				if err := call(); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v", want, err)
				}
			}
		})
	})
}

func TestConfigErrorsNameTheField(t *testing.T) {
	c, err := falcon.New(falcon.Config{ClientID: "x", ClientSecret: "y"})
	if err != nil {
		t.Fatal(err)
	}
	d := crowdstrike.EDR(c)
	for field, cfg := range map[string]edr.Config{
		"Config.Drivers is empty": {Volatile: true},
		"Config.Store":            {Drivers: []edr.Driver{d}},
		"Config.Drivers[0]":       {Drivers: []edr.Driver{{Provider: "x"}}, Volatile: true},
		"the id":                  {Drivers: []edr.Driver{d, d}, Volatile: true},
	} {
		if _, err := edr.New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// weaken makes Defender know host 1 by its short name alone.
func (w *world) weaken() {
	m, _ := w.Azure.Machine(twin.DefenderID(1))
	m.ComputerDNSName, m.IPAddresses = twin.Hostname(1), nil
	w.Azure.AddMachine(m)
}

// Two records that share a short name may be two machines: neither is touched.
func TestAWeakIdentityIsNotActedOn(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.weaken()
		for name, act := range map[string]func() error{
			"contain": func() error { _, err := w.fleet.Contain(t.Context(), host, intent); return err },
			"release": func() error { _, err := w.fleet.Release(t.Context(), host, intent); return err },
		} {
			err := act()
			weak, ok := errors.AsType[*edr.WeakIdentityError](err)
			if !ok || !errors.Is(err, edr.ErrWeakIdentity) || weak.Want != edr.Strong || len(weak.Host.Records) != 2 || !strings.Contains(err.Error(), "edr.Native") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if f, d := w.effects(); f+d != 0 {
			t.Errorf("%d and %d effects", f, d)
		}
		// Native says which one is meant.
		if _, err := w.fleet.Contain(t.Context(), edr.Native("falcon/us-1", twin.FalconID(1)), intent); err != nil {
			t.Error(err)
		}
		if f, d := w.effects(); f != 1 || d != 0 {
			t.Errorf("%d and %d effects", f, d)
		}
	})
	run(t, setup{fleet: func(c *edr.Config) { c.MinIdentity = edr.Weak }}, func(t *testing.T, w *world) {
		w.weaken()
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Error(err)
		}
	})
}

// What Jurymast contained it releases, whatever became of the identity.
func TestAWeakIdentityDoesNotKeepAHostContained(t *testing.T) {
	for _, at := range []edr.Query{host, edr.Native("defender", twin.DefenderID(1))} {
		run(t, setup{}, func(t *testing.T, w *world) {
			if _, err := w.fleet.Contain(t.Context(), at, intent); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			w.weaken()
			if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
				t.Errorf("%s: %v", at, err)
			}
			time.Sleep(2 * time.Second)
			if f, d := w.Contained(); len(f)+len(d) != 0 {
				t.Errorf("%s: still held: %v, %v", at, f, d)
			}
		})
	}
}

// A containment that is not ours, of a record that may be another machine, is left,
// and said.
func TestADoubtfulContainmentIsLeftAndSaid(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.weaken()
		if _, err := w.fleet.Contain(t.Context(), edr.Native("falcon/us-1", twin.FalconID(1)), intent); err != nil {
			t.Fatal(err)
		}
		if _, err := w.azure.Defender.Isolate(t.Context(), twin.DefenderID(1), azure.Isolate{Comment: "an analyst"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if _, err := w.fleet.Release(t.Context(), host, intent); !errors.Is(err, edr.ErrWeakIdentity) {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f) != 0 || len(d) != 1 {
			t.Errorf("held: %v, %v", f, d)
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
