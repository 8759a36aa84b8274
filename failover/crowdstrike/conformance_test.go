package crowdstrike_test

import (
	"context"
	"net/http"
	"testing"

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
