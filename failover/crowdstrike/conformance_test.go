package crowdstrike_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/edr/edrtest"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestConformance(t *testing.T) {
	edrtest.ConformanceInBubble(t, func(t *testing.T) edrtest.Vendor {
		hosts := [2]edr.Record{
			{ID: "0000000000000000000000000000000a", Hostname: "WS-001", FQDN: "ws-001.corp.example"},
			{ID: "0000000000000000000000000000000b", Hostname: "ws-002.corp.example"},
		}
		srv, err := falcontest.NewServer(falcontest.Config{InMemory: true, Hosts: []falcontest.Host{
			{DeviceID: hosts[0].ID, Hostname: hosts[0].Hostname, MachineDomain: "corp.example"},
			{DeviceID: hosts[1].ID, Hostname: hosts[1].Hostname},
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		c, err := falcon.New(falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		breaks := func(r fault.Rule) func() func() { return func() func() { return srv.Faults().Add(r) } }
		return edrtest.Vendor{
			Driver: crowdstrike.EDR(c), Hosts: hosts,
			Down:        breaks(fault.Rule{Kind: fault.Refuse}),
			LoseAnswers: breaks(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPost, Path: "/devices/entities/devices-actions"}),
			Hang:        breaks(fault.Rule{Kind: fault.Blackhole}),
			Contain:     func(id string) { srv.SetStatus(id, "contained") },
			Held: func(id string) bool {
				h, _ := srv.Host(id)
				return h.Status == "contained" || h.Status == "lift_containment_pending"
			},
			Effects: func(id string) (done edrtest.Effects) {
				for _, e := range srv.Effects() {
					switch {
					case e.DeviceID != id:
					case e.Action == "contain":
						done.Isolated++
					case e.Action == "lift_containment":
						done.Released++
					}
				}
				return done
			},
		}
	})
}

// Falcon refuses what is so already, so its effects do not show whether it was asked.
func TestSendsNothingToAHostThatIsSoAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const id = "0000000000000000000000000000000a"
		srv, err := falcontest.NewServer(falcontest.Config{InMemory: true, Hosts: []falcontest.Host{{DeviceID: id, Hostname: "a"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		c, err := falcon.New(falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close(context.Background()) }()
		d := crowdstrike.EDR(c).Isolate
		intent := edr.Intent{ID: "1", Actor: "a", Reason: "r"}
		for name, do := range map[string]func(context.Context, string, edr.Intent) (failover.Outcome, error){"normal": d.Release, "contained": d.Isolate} {
			srv.SetStatus(id, name)
			if o, err := do(t.Context(), id, intent); o != failover.Already || err != nil {
				t.Errorf("%s: %v, %v", name, o, err)
			}
		}
		for _, r := range srv.Requests() {
			if r.Method == http.MethodPost && strings.HasPrefix(r.Path, "/devices/entities/devices-actions") {
				t.Errorf("sent %s %s", r.Method, r.Path)
			}
		}
	})
}
