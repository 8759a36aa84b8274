package edr_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

var (
	atFalcon   = edr.Native("falcon/us-1", twin.FalconID(1))
	atDefender = edr.Native("defender", twin.DefenderID(1))
)

func (w *world) learn(t *testing.T) edr.Learned {
	t.Helper()
	got, err := w.fleet.Learn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (w *world) pin(t *testing.T, falconID, defenderID string) {
	t.Helper()
	err := w.fleet.Pin(t.Context(), edr.Link{
		Members: []edr.Linked{{Provider: "falcon/us-1", ID: falconID}, {Provider: "defender", ID: defenderID}},
		Pinned:  &edr.Pin{By: "cmdb", Why: "asset 4711"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) falconDown() func() {
	return w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
}

// changeFalcon and changeDefender change what a vendor knows of host i.
func (w *world) changeFalcon(i int, change func(*falcontest.Host)) {
	h, _ := w.Falcon.Host(twin.FalconID(i))
	change(&h)
	w.Falcon.AddHost(h)
}

func (w *world) changeDefender(i int, change func(*azuretest.Machine)) {
	m, _ := w.Azure.Machine(twin.DefenderID(i))
	change(&m)
	w.Azure.AddMachine(m)
}

// The id of the vendor that is down names the machine at the other one.
func TestAFalconIDWhileFalconIsDown(t *testing.T) {
	for name, down := range map[string]fault.Rule{
		"refused":                    {Kind: fault.Refuse},
		"blackholed":                 {Kind: fault.Blackhole},
		"the action fails, not sent": {Kind: fault.Status, Status: 429, Path: actionsPath},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, w *world) {
				w.learn(t)
				w.Falcon.Faults().Add(down)
				res, err := w.fleet.Contain(t.Context(), atFalcon, intent)
				if err != nil || res.By() != "defender" || !res.Served[0].FellOver {
					t.Fatalf("%+v, %v", res.Served, err)
				}
				if f, d := w.effects(); f != 0 || d != 1 {
					t.Errorf("effects: %d, %d", f, d)
				}
				time.Sleep(2 * time.Second)
				if found, err := w.fleet.Find(t.Context(), atFalcon); err != nil || found.Value.State() != edr.Contained {
					t.Errorf("find: %+v, %v", found.Value, err)
				}
				w.Falcon.Faults().Heal()
				w.falconDown()
				if s, err := w.fleet.State(t.Context(), atFalcon); err != nil || s.By() != "defender" || s.Value.State != edr.Contained {
					t.Errorf("state: %+v, %v", s, err)
				}
				w.Falcon.Faults().Heal()
				time.Sleep(2 * time.Minute)
				if _, err := w.fleet.Release(t.Context(), atFalcon, intent); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if f, d := w.Contained(); len(f)+len(d) > 0 {
					t.Errorf("still held: %v, %v", f, d)
				}
			})
		})
	}
}

// What was done through a link is owed through it too.
func TestADebtThroughALinkIsSaid(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.learn(t)
		heal := w.falconDown()
		if _, err := w.fleet.Contain(t.Context(), atFalcon, intent); err != nil {
			t.Fatal(err)
		}
		heal()
		time.Sleep(2 * time.Minute)
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if _, err := w.fleet.Release(t.Context(), atFalcon, intent); !errors.Is(err, edr.ErrReleaseDebt) {
			t.Errorf("Defender holds it, and cannot be asked: %v", err)
		}
	})
}

func TestNativeWithoutALinkConcernsOneVendor(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.falconDown()
		if _, err := w.fleet.Contain(t.Context(), atFalcon, intent); err == nil || errors.Is(err, edr.ErrHostNotFound) {
			t.Errorf("got %v", err)
		}
		if f, d := w.effects(); f+d != 0 {
			t.Errorf("effects: %d, %d", f, d)
		}
	})
}

// Who names a vendor's id wants that vendor first, whatever the fleet prefers.
func TestNativeNamesTheVendorThatActsFirst(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.learn(t)
		res, err := w.fleet.Contain(t.Context(), atDefender, intent)
		if err != nil || res.By() != "defender" || res.Served[0].FellOver || len(res.Value.Host.Records) != 2 {
			t.Errorf("%+v, %v", res, err)
		}
		if s, err := w.fleet.State(t.Context(), atDefender); err != nil || s.By() != "defender" {
			t.Errorf("%s, %v", s.By(), err)
		}
		if f, d := w.effects(); f != 0 || d != 1 {
			t.Errorf("effects: %d, %d", f, d)
		}
	})
}

// A link that is not good enough to act on does not make a named host doubtful.
func TestALinkBelowMinIdentityIsNotUsed(t *testing.T) {
	run(t, setup{fleet: func(c *edr.Config) { c.MinIdentity = edr.Exact }}, func(t *testing.T, w *world) {
		w.learn(t)
		if res, err := w.fleet.Contain(t.Context(), atFalcon, intent); err != nil || len(res.Value.Host.Records) != 1 {
			t.Errorf("%+v, %v", res.Value.Host, err)
		}
		w.falconDown()
		if _, err := w.fleet.Contain(t.Context(), atFalcon, intent); err == nil {
			t.Error("acted through a link that is not Exact")
		}
	})
}

func TestAStaleLinkIsNotActedOn(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*world)
		why    string
	}{
		{"gone", func(w *world) { w.Azure.RemoveMachine(twin.DefenderID(1)) }, "no longer exists"},
		{"renamed", func(w *world) {
			w.changeDefender(1, func(m *azuretest.Machine) { m.ComputerDNSName = "kiosk-9.corp.example" })
		}, "is called kiosk-9 now"},
		{"offboarded", func(w *world) {
			w.changeDefender(1, func(m *azuretest.Machine) { m.OnboardingStatus = "CanBeOnboarded" })
		}, "no agent"},
		{"merged", func(w *world) {
			w.changeDefender(1, func(m *azuretest.Machine) { m.MergedIntoMachineID = "new" })
		}, "merged"},
		{"re-imaged", func(w *world) {
			m, _ := w.Azure.Machine(twin.DefenderID(1))
			m.ID, m.FirstSeen, m.LastSeen = "new", time.Now(), time.Now()
			w.Azure.AddMachine(m)
		}, "the machine is new now"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, w *world) {
				w.learn(t)
				time.Sleep(time.Hour)
				tc.change(w)
				heal := w.falconDown()
				_, err := w.fleet.Contain(t.Context(), atFalcon, intent)
				stale, ok := errors.AsType[*edr.StaleLinkError](err)
				if !ok || !errors.Is(err, edr.ErrStaleLink) || !strings.Contains(err.Error(), tc.why) || stale.Member.ID != twin.DefenderID(1) {
					t.Errorf("got %v", err)
				}
				if len(w.Azure.Actions()) != 0 {
					t.Error("acted through the link")
				}
				if _, err := w.fleet.State(t.Context(), atFalcon); !errors.Is(err, edr.ErrStaleLink) {
					t.Errorf("state: %v", err)
				}
				// The host that is named is acted on, as it is without a link, and the rest said.
				heal()
				time.Sleep(2 * time.Minute)
				res, err := w.fleet.Contain(t.Context(), atFalcon, intent)
				if err != nil || res.By() != "falcon/us-1" || len(res.Value.Host.Records) != 1 {
					t.Errorf("%+v, %v", res, err)
				}
			})
		})
	}
}

// The named record itself may be of another host now, or gone.
func TestALinkOfANameThatIsNotTheRecordsAnyMore(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.learn(t)
		w.changeFalcon(1, func(h *falcontest.Host) { h.Hostname = "kiosk-9" })
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 429, Path: actionsPath})
		if _, err := w.fleet.Contain(t.Context(), atFalcon, intent); !errors.Is(err, edr.ErrStaleLink) {
			t.Errorf("renamed: %v", err)
		}
		w.Falcon.RemoveHost(twin.FalconID(1))
		_, err := w.fleet.Contain(t.Context(), atFalcon, intent)
		if !errors.Is(err, edr.ErrStaleLink) || !errors.Is(err, edr.ErrHostNotFound) {
			t.Errorf("gone: %v", err)
		}
		if f, d := w.effects(); f+d != 0 {
			t.Errorf("effects: %d, %d", f, d)
		}
	})
}

// Records that say too little of themselves are still what they were proven to be,
// until something speaks against it.
func TestALinkOutlivesItsEvidence(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.learn(t)
		w.weaken()
		found, err := w.fleet.Find(t.Context(), host)
		if err != nil || found.Value.Grade != edr.Strong || !strings.HasPrefix(found.Value.Evidence[0], "linked since 2000-01-01 by ") {
			t.Fatalf("%v %q, %v", found.Value.Grade, found.Value.Evidence, err)
		}
		all, err := w.fleet.Hosts(t.Context())
		if err != nil || len(all.Value) != 3 || all.Value[1].Grade != edr.Strong {
			t.Errorf("%+v, %v", all.Value, err)
		}
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Error(err)
		}
		w.changeDefender(1, func(m *azuretest.Machine) {
			m.IPAddresses = []azuretest.IPAddress{{IPAddress: "10.0.0.9", MACAddress: "00155D990099"}}
		})
		if _, err := w.fleet.Find(t.Context(), host); !errors.Is(err, edr.ErrAmbiguousHost) {
			t.Errorf("another network card: %v", err)
		}
		if res, err := w.fleet.Find(t.Context(), atFalcon); err != nil || len(res.Value.Records) != 1 || !errors.Is(res.Gaps[0].Err, edr.ErrStaleLink) {
			t.Errorf("by id: %+v, %v", res, err)
		}
	})
}

// second makes another machine of the name of host 1 at Defender.
func (w *world) second() {
	w.Azure.AddMachine(azuretest.Machine{ID: "second", ComputerDNSName: "ws-001.corp.example", IPAddresses: []azuretest.IPAddress{{IPAddress: "10.9.9.9", MACAddress: "00155D990099"}}})
}

func TestAPinTellsWhichOfTwo(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.second()
		if _, err := w.fleet.Contain(t.Context(), host, intent); !errors.Is(err, edr.ErrAmbiguousHost) {
			t.Fatalf("without a link: %v", err)
		}
		if got := w.learn(t); got.Hosts != 4 || got.Links != 3 {
			t.Fatalf("%+v", got)
		}
		// That two records are one machine does not say that it is the one that is meant.
		if _, err := w.fleet.Contain(t.Context(), host, intent); !errors.Is(err, edr.ErrAmbiguousHost) {
			t.Fatalf("with a link that was learned: %v", err)
		}
		if f, d := w.effects(); f+d != 0 {
			t.Fatalf("%d and %d effects", f, d)
		}
		w.pin(t, twin.FalconID(1), twin.DefenderID(1))
		for _, down := range []bool{false, true} {
			if down {
				w.falconDown()
			}
			found, err := w.fleet.Find(t.Context(), host)
			if r, _ := found.Value.Record("defender"); err != nil || r.ID != twin.DefenderID(1) {
				t.Errorf("down %v: %+v, %v", down, found.Value, err)
			}
		}
		res, err := w.fleet.Contain(t.Context(), host, intent)
		if _, d := w.effects(); err != nil || res.By() != "defender" || d != 1 {
			t.Errorf("%+v, %v", res, err)
		}
		if s, err := w.fleet.State(t.Context(), host); err != nil || s.Value.ID != twin.DefenderID(1) {
			t.Errorf("%+v, %v", s, err)
		}
	})
	// Falcon answers that it does not know the name: the link is no proof any more.
	run(t, setup{}, func(t *testing.T, w *world) {
		w.learn(t)
		w.second()
		w.Falcon.RemoveHost(twin.FalconID(1))
		if _, err := w.fleet.Contain(t.Context(), host, intent); !errors.Is(err, edr.ErrAmbiguousHost) {
			t.Errorf("got %v", err)
		}
	})
	// Both are linked, with two machines of the name at Falcon.
	run(t, setup{}, func(t *testing.T, w *world) {
		w.second()
		w.Falcon.AddHost(falcontest.Host{DeviceID: "5ec0", Hostname: "ws-001", MachineDomain: twin.Domain, MACAddress: "00-15-5d-99-00-99"})
		if got := w.learn(t); got.Links != 4 {
			t.Fatalf("%+v", got)
		}
		for range 2 {
			if _, err := w.fleet.Contain(t.Context(), host, intent); !errors.Is(err, edr.ErrAmbiguousHost) {
				t.Errorf("got %v", err)
			}
			w.falconDown()
		}
		if res, err := w.fleet.Contain(t.Context(), edr.Native("falcon/us-1", "5ec0"), intent); err != nil || res.Value.Actions[0].HostID != "second" {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// The only vendor that answers need not know more than one host of the name.
func TestAUniqueNameAtTheOnlyVendorIsEnough(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.weaken()
		w.falconDown()
		if res, err := w.fleet.Contain(t.Context(), host, intent); err != nil || res.By() != "defender" || res.Value.Host.Grade != edr.Alone {
			t.Errorf("%+v, %v", res, err)
		}
	})
}
