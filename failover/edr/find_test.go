package edr_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience/fault"
)

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

// A host is not free because the vendor that holds it does not answer.
func TestAHostIsNotFreeWhileAVendorIsMissing(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		found, err := w.fleet.Find(t.Context(), host)
		if err != nil || found.Value.State() != edr.StateUnknown || !slices.Equal(found.Value.Missing, []string{"falcon/us-1"}) {
			t.Errorf("%v, missing %v, %v", found.Value.State(), found.Value.Missing, err)
		}
		hosts, err := w.fleet.Hosts(t.Context())
		if err != nil || hosts.Value[1].State() != edr.StateUnknown {
			t.Errorf("%v, %v", hosts.Value[1].State(), err)
		}
		w.Azure.Isolate(twin.DefenderID(1))
		time.Sleep(3 * time.Second)
		if found, err := w.fleet.Find(t.Context(), host); err != nil || found.Value.State() != edr.Contained {
			t.Errorf("%v, %v", found.Value.State(), err)
		}
	})
}
