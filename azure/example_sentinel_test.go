package azure_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
)

func ExampleSentinel() {
	// A simulated Microsoft; leave HTTPClient out for the real one.
	cloud, err := azuretest.NewServer(azuretest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	c, err := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: cloud.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)
	soc := c.Sentinel.In(azure.Workspace{
		SubscriptionID: azuretest.SubscriptionID, ResourceGroup: azuretest.ResourceGroup, Name: azuretest.WorkspaceName, ID: azuretest.WorkspaceID,
	})

	// A Falcon alert becomes an incident once, however often it is delivered.
	id := azure.StableGUID("ldt:f1e2:1234567890")
	for range 2 {
		made, err := soc.CreateIncident(ctx, azure.NewIncident{ID: id, Title: "Ransomware on ws-042", Severity: azure.SentinelHigh})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(made.Incident.Number, made.Already)
	}

	// An analyst may be at it too: what others change meanwhile stays.
	i, err := soc.UpdateIncident(ctx, id, func(i *azure.SentinelIncident) error {
		i.Status = azure.SentinelActive
		i.Labels = append(i.Labels, "contained")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(i.Status, i.Labels)

	// Indicators, and what Sentinel refused of them.
	results, err := soc.UploadSTIX(ctx, azure.STIXUpload{Source: "CrowdStrike Falcon", Objects: []json.RawMessage{
		azure.STIXIndicator{Pattern: "[domain-name:value = 'evil.example']", ValidFrom: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}.Object(),
		json.RawMessage(`{"type":"indicator","id":"indicator--1"}`),
	}})
	fmt.Println(results[0].Err == nil, results[1].Err != nil, err != nil)
	// Output:
	// 1 false
	// 1 true
	// Active [contained]
	// true true true
}
