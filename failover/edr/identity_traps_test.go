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
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// Windows reports 15 characters of the name to Falcon.
func TestCutNamesAtTheClouds(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.changeFalcon(1, func(h *falcontest.Host) { h.Hostname = "ACCOUNTING-LAPT" })
		w.changeDefender(1, func(m *azuretest.Machine) { m.ComputerDNSName = "accounting-laptop-07.corp.example" })
		long := edr.Hostname("Accounting-Laptop-07")
		for _, name := range []string{"Accounting-Laptop-07", "accounting-laptop-07.corp.example", "ACCOUNTING-LAPT"} {
			found, err := w.fleet.Find(t.Context(), edr.Hostname(name))
			if err != nil || len(found.Value.Records) != 2 || found.Value.Grade != edr.Probable || found.Value.Name != "accounting-laptop-07.corp.example" {
				t.Errorf("%s: %+v, %v", name, found.Value, err)
			}
		}
		if _, err := w.fleet.Contain(t.Context(), long, intent); !errors.Is(err, edr.ErrWeakIdentity) {
			t.Errorf("a cut name and one card: %v", err)
		}
		if all, err := w.fleet.Hosts(t.Context()); err != nil || len(all.Value) != 3 {
			t.Errorf("%d hosts, %v", len(all.Value), err)
		}
		w.pin(t, twin.FalconID(1), twin.DefenderID(1))
		if _, err := w.fleet.Contain(t.Context(), long, intent); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		w.falconDown()
		if _, err := w.fleet.Release(t.Context(), long, intent); !errors.Is(err, edr.ErrReleaseDebt) {
			t.Errorf("Falcon holds it under its cut name: %v", err)
		}
	})
	// The long name is Falcon's, and the one that is asked for the cut one.
	run(t, setup{}, func(t *testing.T, w *world) {
		w.changeFalcon(1, func(h *falcontest.Host) { h.Hostname = "accounting-laptop-07" })
		w.changeDefender(1, func(m *azuretest.Machine) { m.ComputerDNSName = "accounting-lapt" })
		if found, err := w.fleet.Find(t.Context(), edr.Hostname("Accounting-lapt")); err != nil || len(found.Value.Records) != 2 {
			t.Errorf("%+v, %v", found.Value, err)
		}
	})
	// Two machines that share the beginning.
	run(t, setup{}, func(t *testing.T, w *world) {
		for i := 1; i <= 2; i++ {
			w.changeFalcon(i, func(h *falcontest.Host) { h.Hostname = "ACCOUNTING-LAPT" })
		}
		for _, name := range []string{"ACCOUNTING-LAPT", "accounting-laptop-07"} {
			if _, err := w.fleet.Contain(t.Context(), edr.Hostname(name), intent); !errors.Is(err, edr.ErrAmbiguousHost) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// The neighbour whose name begins alike is not released along, and not forgotten.
func TestReleaseOfANeighbourWithACutName(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.changeFalcon(1, func(h *falcontest.Host) { h.Hostname = "ACCOUNTING-LAPT" })
		w.changeDefender(2, func(m *azuretest.Machine) { m.ComputerDNSName = "accounting-laptop-08.corp.example" })
		if _, err := w.fleet.Contain(t.Context(), atFalcon, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		heal := w.falconDown()
		_, err := w.fleet.Release(t.Context(), edr.Hostname("accounting-laptop-08"), intent)
		if err == nil || !strings.Contains(err.Error(), "may mean this host") {
			t.Errorf("Falcon may hold it: %v", err)
		}
		heal()
		time.Sleep(2 * time.Minute)
		if _, err = w.fleet.Release(t.Context(), edr.Hostname("accounting-laptop-08"), intent); err == nil {
			t.Error("released a host that may be another")
		}
		if f, _ := w.Contained(); !slices.Equal(f, []int{1}) {
			t.Errorf("Falcon holds %v", f)
		}
	})
}

func TestReimagedAtTheClouds(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.changeFalcon(1, func(h *falcontest.Host) { h.LastSeen = time.Now() })
		time.Sleep(24 * time.Hour)
		h, _ := w.Falcon.Host(twin.FalconID(1))
		h.DeviceID, h.FirstSeen, h.LastSeen = "aaaa", time.Now(), time.Time{}
		w.Falcon.AddHost(h)
		res, err := w.fleet.Contain(t.Context(), host, intent)
		if err != nil || res.Value.Actions[0].HostID != "aaaa" || !strings.Contains(strings.Join(res.Value.Host.Evidence, "\n"), "left out falcon/us-1:"+twin.FalconID(1)) {
			t.Errorf("%+v, %v", res.Value, err)
		}
		// Its first record comes back to life: an image was cloned.
		w.changeFalcon(1, func(h *falcontest.Host) { h.LastSeen = time.Time{} })
		if _, err := w.fleet.Contain(t.Context(), host, intent); !errors.Is(err, edr.ErrAmbiguousHost) {
			t.Errorf("cloned: %v", err)
		}
	})
	// Two live Defender records with one Entra id.
	run(t, setup{}, func(t *testing.T, w *world) {
		w.changeDefender(1, func(m *azuretest.Machine) { m.AADDeviceID = "e1" })
		w.second()
		m, _ := w.Azure.Machine("second")
		m.AADDeviceID = "e1"
		w.Azure.AddMachine(m)
		w.falconDown()
		if _, err := w.fleet.Contain(t.Context(), host, intent); !errors.Is(err, edr.ErrAmbiguousHost) {
			t.Errorf("got %v", err)
		}
		m.MergedIntoMachineID = twin.DefenderID(1)
		w.Azure.AddMachine(m)
		if res, err := w.fleet.Contain(t.Context(), host, intent); err != nil || res.Value.Actions[0].HostID != twin.DefenderID(1) {
			t.Errorf("%+v, %v", res, err)
		}
	})
}
