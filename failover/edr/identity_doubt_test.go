package edr_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
)

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
