package edr_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestPins(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.weaken()
		w.pin(t, twin.FalconID(1), twin.DefenderID(1))
		found, err := w.fleet.Find(t.Context(), host)
		if err != nil || found.Value.Grade != edr.Exact || found.Value.Evidence[0] != "pinned by cmdb: asset 4711" {
			t.Errorf("%+v, %v", found.Value, err)
		}
		if was, err := w.fleet.Unpin(t.Context(), "defender", twin.DefenderID(1)); !was || err != nil {
			t.Error(was, err)
		}
		if found, err = w.fleet.Find(t.Context(), host); err != nil || found.Value.Grade != edr.Weak {
			t.Errorf("unpinned: %+v, %v", found.Value, err)
		}
		if was, err := w.fleet.Unpin(t.Context(), "falcon/us-1", twin.FalconID(1)); was || err != nil {
			t.Error(was, err)
		}
	})
	// A pin wins over what was learned, and over what the records say.
	run(t, setup{}, func(t *testing.T, w *world) {
		w.learn(t)
		w.pin(t, twin.FalconID(1), twin.DefenderID(2))
		if _, err := w.fleet.Find(t.Context(), host); !errors.Is(err, edr.ErrAmbiguousHost) || !strings.Contains(err.Error(), "pinned by cmdb") {
			t.Errorf("by name: %v", err)
		}
		w.falconDown()
		res, err := w.fleet.Contain(t.Context(), atFalcon, intent)
		if err != nil || res.Value.Actions[0].HostID != twin.DefenderID(2) {
			t.Errorf("%+v, %v", res, err)
		}
	})
	// The names need not agree.
	run(t, setup{}, func(t *testing.T, w *world) {
		w.changeDefender(1, func(m *azuretest.Machine) { m.ComputerDNSName = "kiosk-9" })
		w.pin(t, twin.FalconID(1), twin.DefenderID(1))
		all, err := w.fleet.Hosts(t.Context())
		if err != nil || len(all.Value) != 3 || !slices.ContainsFunc(all.Value, func(h edr.Host) bool { return h.Grade == edr.Exact && len(h.Records) == 2 }) {
			t.Errorf("%+v, %v", all.Value, err)
		}
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 429, Path: actionsPath})
		if res, err := w.fleet.Contain(t.Context(), host, intent); err != nil || res.By() != "defender" {
			t.Errorf("%+v, %v", res, err)
		}
		time.Sleep(2 * time.Second)
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if _, err := w.fleet.Release(t.Context(), host, intent); !errors.Is(err, edr.ErrReleaseDebt) {
			t.Errorf("Defender holds it under another name: %v", err)
		}
	})
}

func TestPinsThatCannotBe(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		why := &edr.Pin{By: "cmdb", Why: "asset 1"}
		f, d := edr.Linked{Provider: "falcon/us-1", ID: "a"}, edr.Linked{Provider: "defender", ID: "b"}
		for want, links := range map[string][]edr.Link{
			"links[0].Pinned":             {{Members: []edr.Linked{f, d}, Pinned: &edr.Pin{By: "cmdb"}}},
			"links[1].Pinned":             {{Members: []edr.Linked{f, d}, Pinned: why}, {Members: []edr.Linked{f, d}}},
			"Members has 1":               {{Members: []edr.Linked{f}, Pinned: why}},
			"Members[1].Provider \"s1\"":  {{Members: []edr.Linked{f, {Provider: "s1", ID: "b"}}, Pinned: why}},
			"Members[1].ID is empty":      {{Members: []edr.Linked{f, {Provider: "defender"}}, Pinned: why}},
			"two records of falcon/us-1":  {{Members: []edr.Linked{f, {Provider: "falcon/us-1", ID: "b"}}, Pinned: why}},
			"in another link of the call": {{Members: []edr.Linked{f, d}, Pinned: why}, {Members: []edr.Linked{f, {Provider: "defender", ID: "c"}}, Pinned: why}},
		} {
			if err := w.fleet.Pin(t.Context(), links...); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %s, got %v", want, err)
			}
		}
		w.pin(t, "a", "b")
		w.pin(t, "a", "b") // again is fine
		other := edr.Link{Members: []edr.Linked{f, {Provider: "defender", ID: "c"}}, Pinned: why}
		if err := w.fleet.Pin(t.Context(), other); err == nil || !strings.Contains(err.Error(), "Unpin") {
			t.Errorf("a second pin of a record: %v", err)
		}
		n := 0
		for l, err := range w.fleet.Links(t.Context()) {
			if err != nil || l.Pinned == nil || len(l.Members) != 2 || l.Members[1].ID != "a" {
				t.Errorf("%+v, %v", l, err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("%d links", n)
		}
	})
}
