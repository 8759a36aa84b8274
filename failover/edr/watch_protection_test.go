package edr_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// verdict is the protection of host 1, whose name is not ambiguous.
func (w *world) verdict(t *testing.T, ctx context.Context) (edr.Protection, failover.Result[edr.ProtectionReport]) {
	t.Helper()
	res, err := w.fleet.Protection(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r := res.Value
	if r.Protected+r.SingleCovered+r.Unprotected+r.Unknown != len(r.Hosts) {
		t.Errorf("the counts are not of all hosts: %+v", r)
	}
	for _, h := range r.Hosts {
		if len(h.By) != max(0, int(h.Verdict)-1) {
			t.Errorf("%s is %v, by %v", h.Host.Name, h.Verdict, h.By)
		}
		if strings.HasPrefix(h.Host.Name, "ws-001") {
			return h.Verdict, res
		}
	}
	t.Fatal("host 1 is missing")
	return 0, res
}

func TestProtectionOfAHost(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	const day = 24 * time.Hour
	noFalcon := func(w *world) { w.Falcon.RemoveHost(twin.FalconID(1)) }
	noDefender := func(w *world) { w.Azure.RemoveMachine(twin.DefenderID(1)) }
	falcon := func(d time.Duration) func(*world) {
		return func(w *world) { w.sensor(1, func(h *falcontest.Host) { h.LastSeen = ago(d) }) }
	}
	defender := func(d time.Duration) func(*world) {
		return func(w *world) { w.machine(1, func(m *azuretest.Machine) { m.LastSeen = ago(d) }) }
	}
	rfm := func(w *world) { w.sensor(1, func(h *falcontest.Host) { h.ReducedFunctionality = true }) }
	falconDown := func(w *world) { w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse}) }
	defenderDown := func(w *world) { w.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse}) }
	all := func(do ...func(*world)) func(*world) {
		return func(w *world) {
			for _, f := range do {
				f(w)
			}
		}
	}
	const none, now = -1, 0
	for _, tc := range []struct {
		name   string
		change func(*world)
		beat   time.Duration // ago
		want   edr.Protection
	}{
		{"both", all(), none, edr.Protected},
		{"both, and off since yesterday", all(falcon(day), defender(day+12*time.Hour)), day, edr.Protected},
		{"both, and off for longer than anybody knows", all(falcon(week+day), defender(week+day)), none, edr.ProtectionUnknown},
		{"both gone silent while it runs: 19 July 2024", all(falcon(3*time.Hour), defender(3*day)), now, edr.Unprotected},
		{"the same without heartbeats", all(falcon(3*day), defender(3*day)), none, edr.Protected},
		{"one gone silent while the other lives", falcon(3 * time.Hour), none, edr.SingleCovered},
		{"one gone silent, the other gone", all(falcon(3*time.Hour), noDefender), now, edr.Unprotected},
		{"one gone silent, the other down", all(falcon(3*time.Hour), defenderDown), now, edr.ProtectionUnknown},
		{"one gone, the other covers it", noFalcon, none, edr.SingleCovered},
		{"one down, the other covers it", falconDown, now, edr.SingleCovered},
		{"one down, the other does not know it", all(noDefender, falconDown), now, edr.ProtectionUnknown},
		{"one in reduced functionality, the other covers it", rfm, now, edr.SingleCovered},
		{"one in reduced functionality, the other gone", all(rfm, noDefender), none, edr.Unprotected},
		{"one in reduced functionality, the other down", all(rfm, defenderDown), now, edr.ProtectionUnknown},
		{"both gone, and it runs", all(noFalcon, noDefender), now, edr.Unprotected},
		{"both gone, and it does not", all(noFalcon, noDefender), day, edr.ProtectionUnknown},
		{"records of perhaps two machines", (*world).weaken, now, edr.SingleCovered},
		{"an old record beside the new one", all(falcon(3*time.Hour), noDefender, func(w *world) {
			w.Falcon.AddHost(falcontest.Host{DeviceID: strings.Repeat("a", 32), Hostname: "ws-001", MachineDomain: twin.Domain, LastSeen: ago(3 * time.Hour)})
		}), now, edr.SingleCovered}, // each by itself: the heartbeat may be the other's
	} {
		t.Run(tc.name, func(t *testing.T) {
			var beats map[string]time.Time
			run(t, setup{fleet: func(c *edr.Config) {
				c.Heartbeats = func(context.Context) (map[string]time.Time, error) { return beats, nil }
			}}, func(t *testing.T, w *world) {
				tc.change(w)
				if tc.beat != none {
					beats = map[string]time.Time{"WS-001." + twin.Domain: ago(tc.beat)}
				}
				if got, res := w.verdict(t, t.Context()); got != tc.want {
					t.Errorf("%v, want %v: %+v", got, tc.want, res.Value)
				}
			})
		})
	}
}

// What fails is a gap, and makes nothing unprotected.
func TestProtectionWithoutAWitness(t *testing.T) {
	broken := errors.New("no workspace")
	run(t, setup{fleet: func(c *edr.Config) {
		c.Heartbeats = func(context.Context) (map[string]time.Time, error) {
			return map[string]time.Time{"ws-009": time.Now()}, broken
		}
	}}, func(t *testing.T, w *world) {
		got, res := w.verdict(t, t.Context())
		if got != edr.Protected || len(res.Value.Hosts) != 3 || len(res.Gaps) != 1 || res.Gaps[0].Provider != "heartbeats" || !errors.Is(res.Gaps[0].Err, broken) {
			t.Errorf("%v, %+v", got, res)
		}
	})
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Azure.RemoveMachine(twin.DefenderID(1))
		got, res := w.verdict(t, failover.WithOnly(t.Context(), "falcon/us-1"))
		if got != edr.SingleCovered || res.Complete() || res.Value.Hosts[1].By[0] != "falcon/us-1" {
			t.Errorf("%v, %v", got, res.Gaps)
		}
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if res, err := w.fleet.Protection(t.Context()); err == nil || len(res.Gaps) != 2 {
			t.Errorf("nobody answers: %v, %v", res.Gaps, err)
		}
	})
}

// A machine that only its heartbeat knows was never enrolled anywhere.
func TestAMachineThatNoVendorKnows(t *testing.T) {
	run(t, setup{fleet: func(c *edr.Config) {
		c.Heartbeats = func(context.Context) (map[string]time.Time, error) {
			return map[string]time.Time{"SRV-9.corp.example": time.Now(), "ws-000": time.Now(), "old": time.Now().Add(-2 * time.Hour)}, nil
		}
	}}, func(t *testing.T, w *world) {
		_, res := w.verdict(t, t.Context())
		r := res.Value
		if len(r.Hosts) != 5 || r.Protected != 3 || r.Unprotected != 1 || r.Unknown != 1 {
			t.Fatalf("%+v", r)
		}
		if h := r.Hosts[1]; h.Host.Name != "srv-9.corp.example" || h.Verdict != edr.Unprotected || h.Heartbeat.IsZero() {
			t.Errorf("%+v", h)
		}
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if _, res := w.verdict(t, t.Context()); res.Value.Unprotected != 0 {
			t.Errorf("a vendor that did not answer may know it: %+v", res.Value)
		}
	})
}
