package edr_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// If Falcon is gone, which hosts can Defender still contain?
func ExampleFleet_Readiness() {
	clouds, fleet, done := simulated(nil)
	defer done()
	clouds.Azure.RemoveMachine(twin.DefenderID(3)) // never onboarded
	res, err := fleet.Readiness(context.Background(), "defender")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Value.Ready, "of", res.Value.Hosts, "hosts, all vendors answered:", res.Complete())
	for _, h := range res.Value.NotReady {
		fmt.Println(h.Host.Name, h.Reason)
	}
	// Output:
	// 9 of 10 hosts, all vendors answered: true
	// ws-003.corp.example not_enrolled
}

// A server runs, and neither sensor has been heard of for days.
func ExampleFleet_Protection() {
	clouds, fleet, done := simulated(func(context.Context) (map[string]time.Time, error) {
		// With credentials: microsoft.Heartbeats(az, workspaceID).
		return map[string]time.Time{"ws-003.corp.example": time.Now()}, nil
	})
	defer done()
	h, _ := clouds.Falcon.Host(twin.FalconID(3))
	h.LastSeen = time.Now().Add(-3 * 24 * time.Hour)
	clouds.Falcon.AddHost(h)
	clouds.Azure.RemoveMachine(twin.DefenderID(3))
	res, err := fleet.Protection(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Value.Protected, "protected by both,", res.Value.Unprotected, "by none")
	for _, h := range res.Value.Hosts {
		if h.Verdict == edr.Unprotected {
			fmt.Println(h.Host.Name, h.Verdict)
		}
	}
	// Output:
	// 9 protected by both, 1 by none
	// ws-003.corp.example unprotected
}

// simulated is a fleet over both simulated clouds; leave HTTPClient out for the real
// ones.
func simulated(beats edr.Heartbeats) (clouds *twin.Twin, fleet *edr.Fleet, done func()) {
	clouds, err := twin.New(twin.Config{})
	if err != nil {
		log.Fatal(err)
	}
	fc, err1 := falcon.New(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: clouds.Falcon.Client(),
	})
	az, err2 := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: clouds.Azure.Client(),
	})
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	fleet, err = edr.New(edr.Config{Drivers: []edr.Driver{crowdstrike.EDR(fc), microsoft.EDR(az)}, Heartbeats: beats, Volatile: true})
	if err != nil {
		log.Fatal(err)
	}
	return clouds, fleet, func() {
		_, _ = fc.Close(context.Background()), az.Close(context.Background())
		clouds.Close()
	}
}
