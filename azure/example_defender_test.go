package azure_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
)

// A scan, waited for to its end. The id of the action is all that has to be kept to
// go on waiting after a restart.
func ExampleDefender_Wait() {
	cloud, err := azuretest.NewServer(azuretest.Config{
		Machines: []azuretest.Machine{{ID: "m1", ComputerDNSName: "ws-042.corp.example"}}, ActionTime: time.Millisecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	c, err := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: cloud.Client(),
		DefenderAlternates: []string{"https://eu.api.security.microsoft.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	defer c.Close(ctx)
	scan, err := c.Defender.Scan(ctx, "m1", azure.Scan{Comment: "alert 3212"})
	if err != nil {
		log.Fatal(err)
	}
	action, err := c.Defender.Wait(ctx, scan.Action.ID)
	fmt.Println(action.Type, action.Scope, action.Status, err)
	// Output: RunAntiVirusScan Quick Succeeded <nil>
}

// A feed of indicators, with what became of each.
func ExampleDefender_ImportIndicators() {
	cloud, err := azuretest.NewServer(azuretest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	c, err := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: cloud.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)
	feed := []azure.NewIndicator{
		{Type: azure.IndicatorDomain, Value: "evil.example", Action: azure.IndicatorBlock, Title: "feed", Description: "from the feed"},
		{Type: azure.IndicatorDomain, Value: "not-a-domain", Action: azure.IndicatorBlock, Title: "feed", Description: "from the feed"},
	}
	results, _ := c.Defender.ImportIndicators(ctx, feed) // the error joins those of the rows
	for i, r := range results {
		fmt.Println(feed[i].Value, r.Err == nil)
	}
	// Output:
	// evil.example true
	// not-a-domain false
}
