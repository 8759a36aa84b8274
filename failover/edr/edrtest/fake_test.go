package edrtest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

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
