package edrtest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/edr/edrtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fake(takes time.Duration) func(*testing.T) edrtest.Vendor {
	return func(*testing.T) edrtest.Vendor {
		hosts := [2]edr.Record{
			{ID: "id-a", Hostname: "WS-001", FQDN: "ws-001.corp.example"},
			{ID: "id-b", Hostname: "ws-002"},
		}
		f := edrtest.NewFake("fake/1", hosts[:]...)
		f.SetActionTime(takes)
		return edrtest.Vendor{
			Driver: f.Driver(), Hosts: hosts,
			Down: f.Down, LoseAnswers: f.LoseAnswers, Hang: f.Hang, Contain: f.Contain, Held: f.Held, Effects: f.Effects,
		}
	}
}

func TestFakeAtOnce(t *testing.T) { edrtest.Conformance(t, fake(0)) }

func TestFakeThatTakesTime(t *testing.T) { edrtest.ConformanceInBubble(t, fake(time.Minute/4)) }

// What is so is told apart from what the API says of it, and a fault goes when it is
// healed, and no other.
func TestFakeTellsTheTruthWhileItTakesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := edrtest.NewFake("fake", edr.Record{Hostname: "ws-1"}, edr.Record{ID: "x", Hostname: "ws-2", State: edr.Contained})
		f.SetActionTime(time.Minute)
		d := f.Driver()
		is := func(want edr.State, held bool) {
			t.Helper()
			s, err := d.Isolate.State(t.Context(), "ws-1")
			if s != want || err != nil || f.Held("ws-1") != held {
				t.Errorf("%v, %v, held %v, want %v, %v", s, err, f.Held("ws-1"), want, held)
			}
		}
		is(edr.NotContained, false)
		act(t, d.Isolate.Isolate, "ws-1")
		is(edr.ContainPending, false)
		time.Sleep(time.Minute)
		is(edr.Contained, true)
		act(t, d.Isolate.Release, "ws-1")
		is(edr.ReleasePending, true)
		time.Sleep(time.Minute)
		is(edr.NotContained, false)
		f.Contain("ws-1")
		is(edr.Contained, true)
		f.Release("ws-1")
		is(edr.NotContained, false)
		if !f.Held("x") || f.Held("y") || f.Effects("ws-1") != (edrtest.Effects{Isolated: 1, Released: 1}) || f.Effects("y") != (edrtest.Effects{}) {
			t.Errorf("%v, %+v", f.Held("x"), f.Effects("ws-1"))
		}
		one, two := f.Down(), f.Down()
		one()
		if _, err := d.Isolate.State(t.Context(), "ws-1"); err == nil {
			t.Error("both were healed by one")
		}
		two()
		is(edr.NotContained, false)
	})
}

func act(t *testing.T, do func(context.Context, string, edr.Intent) (failover.Outcome, error), id string) {
	t.Helper()
	if o, err := do(t.Context(), id, edr.Intent{ID: "1", Actor: "a", Reason: "r"}); o != failover.Accepted || err != nil {
		t.Errorf("%v, %v", o, err)
	}
}
