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
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// The README shows this function; a test keeps them the same.
func containFromEnv(ctx context.Context, hostname string) error {
	fcfg, err1 := falcon.ConfigFromEnv() // FALCON_CLIENT_ID, FALCON_CLIENT_SECRET, FALCON_CLOUD
	acfg, err2 := azure.ConfigFromEnv()  // AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET
	fc, err3 := falcon.New(fcfg)
	az, err4 := azure.New(acfg)
	store, err5 := kv.Open("/var/lib/soar/jurymast") // what was contained where outlives a crash
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	go fc.Run(ctx) // keep both tokens warm, the backup's too
	go az.Run(ctx)
	fleet, err := edr.New(edr.Config{
		Drivers: []edr.Driver{crowdstrike.EDR(fc), microsoft.EDR(az)}, // in order of preference
		Store:   store,
	})
	if err != nil {
		return err
	}
	res, err := fleet.Contain(ctx, edr.Hostname(hostname), edr.Intent{ID: "case-4711", Actor: "soar", Reason: "ransomware"})
	log.Printf("%v by %s, missing: %v", res.Value.Outcome, res.By(), res.Gaps)
	return err
}

func ExampleFleet_Contain() {
	if err := containFromEnv(context.Background(), "ws-042"); err != nil {
		log.Fatal(err)
	}
}

// Falcon is down; Defender contains the host; when Falcon is back, the host is
// released wherever it is held.
func Example() {
	clouds, err := twin.New(twin.Config{}) // both clouds, in this process
	if err != nil {
		log.Fatal(err)
	}
	defer clouds.Close()
	fc, err1 := falcon.New(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: clouds.Falcon.Client(),
	})
	az, err2 := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: clouds.Azure.Client(),
	})
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer fc.Close(ctx)
	defer az.Close(ctx)
	fleet, err := edr.New(edr.Config{Drivers: []edr.Driver{crowdstrike.EDR(fc), microsoft.EDR(az)}, Volatile: true})
	if err != nil {
		log.Fatal(err)
	}
	intent := edr.Intent{ID: "case-4711", Actor: "soar", Reason: "ransomware"}

	clouds.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
	res, err := fleet.Contain(ctx, edr.Hostname("ws-004"), intent)
	fmt.Println(res.By(), res.Value.Outcome, res.Complete(), err)

	clouds.Falcon.Faults().Heal()
	time.Sleep(1500 * time.Millisecond) // the isolation takes the simulated Defender a second
	res, err = fleet.Release(ctx, edr.Hostname("ws-004"), intent)
	fmt.Println(res.Value.Outcome, res.Complete(), err)
	// Output:
	// defender accepted false <nil>
	// accepted true <nil>
}

func ExampleFleet_Ledger() {
	var fleet *edr.Fleet // from edr.New
	for entry, err := range fleet.Ledger(context.Background()) {
		if err != nil {
			log.Print(err)
			continue
		}
		fmt.Println(entry.Provider, entry.Name, entry.Verb, entry.Outcome, entry.Intent.Reason)
	}
}
