package microsoft_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/edr/edrtest"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestConformance(t *testing.T) {
	edrtest.ConformanceInBubble(t, func(t *testing.T) edrtest.Vendor {
		hosts := [2]edr.Record{
			{ID: "000000000000000000000000000000000000000a", Hostname: "ws-001", FQDN: "ws-001.corp.example"},
			{ID: "000000000000000000000000000000000000000b", Hostname: "ws-002"},
		}
		srv, err := azuretest.NewServer(azuretest.Config{InMemory: true, Machines: []azuretest.Machine{
			{ID: hosts[0].ID, ComputerDNSName: hosts[0].FQDN}, {ID: hosts[1].ID, ComputerDNSName: hosts[1].Hostname},
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		c, err := azure.New(azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		breaks := func(r fault.Rule) func() func() { return func() func() { return srv.Faults().Add(r) } }
		return edrtest.Vendor{
			Driver: microsoft.EDR(c), Hosts: hosts,
			Down:        breaks(fault.Rule{Kind: fault.Refuse}),
			LoseAnswers: breaks(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPost, Path: "/api/machines"}),
			Hang:        breaks(fault.Rule{Kind: fault.Blackhole}),
			Contain:     srv.Isolate,
			Held:        srv.Isolated,
			Effects: func(id string) (done edrtest.Effects) {
				for _, a := range srv.Actions() {
					switch {
					case a.MachineID != id || a.Requestor != azuretest.ClientID:
					case a.Type == "Isolate":
						done.Isolated++
					case a.Type == "Unisolate":
						done.Released++
					case a.Type == "RunAntiVirusScan":
						done.Scanned++
					}
				}
				return done
			},
		}
	})
}
