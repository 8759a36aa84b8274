package edr_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const week = 7 * 24 * time.Hour

// machine changes what Defender knows of a host.
func (w *world) machine(i int, change func(*azuretest.Machine)) {
	m, _ := w.Azure.Machine(twin.DefenderID(i))
	change(&m)
	w.Azure.AddMachine(m)
}

// sensor changes what Falcon knows of a host.
func (w *world) sensor(i int, change func(*falcontest.Host)) {
	h, _ := w.Falcon.Host(twin.FalconID(i))
	change(&h)
	w.Falcon.AddHost(h)
}

func TestWhyABackupCannotContainAHost(t *testing.T) {
	for _, tc := range []struct {
		name   string
		backup string
		change func(*world)
		want   edr.Reason
		said   string
	}{
		{"nothing stands in the way", "defender", func(*world) {}, 0, "defender can contain 3 of 3 hosts within 0s"},
		{"seen within the week", "defender", func(w *world) {
			w.machine(1, func(m *azuretest.Machine) { m.LastSeen = time.Now().Add(-week + time.Minute) })
		}, 0, ""},
		{"no agent", "defender", func(w *world) { w.Azure.RemoveMachine(twin.DefenderID(1)) }, edr.NotEnrolled, "2 of 3 hosts within 0s (its quota allows 0s); 1 not_enrolled"},
		{"offboarded", "defender", func(w *world) {
			w.machine(1, func(m *azuretest.Machine) { m.OnboardingStatus = "CanBeOnboarded" })
		}, edr.NotEnrolled, ""},
		{"silent", "defender", func(w *world) {
			w.machine(1, func(m *azuretest.Machine) { m.LastSeen = time.Now().Add(-week - time.Minute) })
		}, edr.Silent, "1 silent"},
		{"its agent is impaired", "defender", func(w *world) {
			w.machine(1, func(m *azuretest.Machine) { m.HealthStatus = "ImpairedCommunication" })
		}, edr.Impaired, "1 impaired"},
		{"whether its agent is impaired is not known", "defender", func(w *world) {
			w.machine(1, func(m *azuretest.Machine) { m.HealthStatus = "Unknown" })
		}, 0, ""},
		{"reduced functionality", "falcon/us-1", func(w *world) {
			w.sensor(1, func(h *falcontest.Host) { h.ReducedFunctionality = true })
		}, edr.Impaired, ""},
		{"the other's reduced functionality", "defender", func(w *world) {
			w.sensor(1, func(h *falcontest.Host) { h.ReducedFunctionality = true })
		}, 0, ""},
		{"weak identity", "defender", (*world).weaken, edr.TooWeak, "1 too_weak"},
		{"nobody else knows it", "defender", func(w *world) {
			w.weaken()
			w.Falcon.RemoveHost(twin.FalconID(1))
		}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, w *world) {
				tc.change(w)
				res, err := w.fleet.Readiness(t.Context(), tc.backup)
				if err != nil || !res.Complete() || res.Value.Incomplete || res.Value.Hosts != 3 || !res.Value.QuotaKnown {
					t.Fatalf("%+v, %v", res, err)
				}
				if !strings.Contains(res.Value.String(), tc.said) {
					t.Errorf("it says %s", res.Value)
				}
				if tc.want == 0 {
					if res.Value.Ready != 3 || len(res.Value.NotReady) != 0 {
						t.Errorf("%+v", res.Value)
					}
					return
				}
				if res.Value.Ready != 2 || len(res.Value.NotReady) != 1 {
					t.Fatalf("%+v", res.Value)
				}
				n := res.Value.NotReady[0]
				if n.Reason != tc.want || !strings.HasPrefix(n.Host.Name, "ws-001") || n.LastSeen.IsZero() != (tc.want == edr.NotEnrolled) || (n.Detail == "") == (tc.want == edr.Impaired) {
					t.Errorf("%+v", n)
				}
			})
		})
	}
}

// A name that Contain refuses as ambiguous is not ready, and names in other domains
// are other names.
func TestANameOfTwoMachinesIsNotReady(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Azure.AddMachine(azuretest.Machine{ID: strings.Repeat("e", 40), ComputerDNSName: "ws-001." + twin.Domain})
		res, err := w.fleet.Readiness(t.Context(), "defender")
		if err != nil || res.Value.Ready != 2 || res.Value.Hosts != 2+len(res.Value.NotReady) {
			t.Fatalf("%+v, %v", res.Value, err)
		}
		for _, n := range res.Value.NotReady {
			if n.Reason != edr.Ambiguous {
				t.Errorf("%s is %v", n.Host.Name, n.Reason)
			}
		}
		if _, err := w.fleet.Contain(t.Context(), host, intent); !errors.Is(err, edr.ErrAmbiguousHost) {
			t.Error(err)
		}
	})
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Falcon.RemoveHost(twin.FalconID(1))
		w.Azure.AddMachine(azuretest.Machine{ID: strings.Repeat("e", 40), ComputerDNSName: "ws-001.lab.example"})
		if res, err := w.fleet.Readiness(t.Context(), "defender"); err != nil || res.Value.Ready != 4 {
			t.Errorf("%+v, %v", res.Value, err)
		}
	})
}

// The backup's word is what counts: a host that it does not know by any record is not
// enrolled, however many records the other has.
func TestANameThatTheBackupDoesNotKnow(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Azure.RemoveMachine(twin.DefenderID(1))
		w.Falcon.AddHost(falcontest.Host{DeviceID: strings.Repeat("a", 32), Hostname: "ws-001", MachineDomain: twin.Domain})
		res, err := w.fleet.Readiness(t.Context(), "defender")
		if err != nil || len(res.Value.NotReady) != 2 {
			t.Fatalf("%+v, %v", res.Value, err)
		}
		for _, n := range res.Value.NotReady {
			if n.Reason != edr.NotEnrolled {
				t.Errorf("%s is %v", n.Host.Name, n.Reason)
			}
		}
	})
}

// No green light that is not true.
func TestReadinessWithoutAllVendors(t *testing.T) {
	down := func(w *world) { w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse}) }
	run(t, setup{}, func(t *testing.T, w *world) {
		down(w)
		res, err := w.fleet.Readiness(t.Context(), "defender")
		if err != nil || res.Complete() || !res.Value.Incomplete || res.Value.Ready != 3 || !strings.Contains(res.Value.String(), "at least") {
			t.Errorf("%v, gaps %v, %v", res.Value, res.Gaps, err)
		}
		res, err = w.fleet.Readiness(t.Context(), "falcon/us-1")
		if err == nil || res.Value.Ready != 0 || !res.Value.Incomplete || res.Complete() || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%+v, %v", res.Value, err)
		}
	})
	run(t, setup{}, func(t *testing.T, w *world) {
		res, err := w.fleet.Readiness(failover.WithOnly(t.Context(), "defender"), "defender")
		if err != nil || res.Complete() || !res.Value.Incomplete {
			t.Errorf("a vendor that was not asked: %+v, %v", res, err)
		}
		if err := w.fleet.Cordon("defender", "drill", "soc"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.fleet.Readiness(t.Context(), "defender"); !errors.Is(err, failover.ErrCordoned) {
			t.Errorf("a cordoned backup: %v", err)
		}
		if _, err := w.fleet.Readiness(t.Context(), "sentinelone"); resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), "defender") {
			t.Errorf("no such vendor: %v", err)
		}
	})
}

// What the drivers say that a containment costs is what it costs on the wire.
func TestTheCostOfAContainment(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		calls := 0
		for _, r := range w.Falcon.Requests() {
			if !strings.HasPrefix(r.Path, "/oauth2/") {
				calls++
			}
		}
		if limits := crowdstrike.EDR(w.falcon).Limits; len(limits) != 1 || limits[0].Cost != calls {
			t.Errorf("%d calls, %+v", calls, limits)
		}
	})
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		calls := map[string]int{} // each operation has a quota of its own
		for _, r := range w.Azure.Requests() {
			if strings.HasPrefix(r.Path, "/api/") {
				calls[r.Path]++
			}
		}
		if len(calls) != 3 {
			t.Errorf("%v", calls)
		}
		for _, l := range microsoft.EDR(w.azure).Limits {
			for path, n := range calls {
				if n != l.Cost {
					t.Errorf("%s: %d calls, %+v", path, n, l)
				}
			}
		}
	})
}
