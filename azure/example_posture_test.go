package azure_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
)

// Which alerts are about a machine that another source knows, and how it is watched.
func ExamplePosture() {
	const machine = "/subscriptions/" + azuretest.SubscriptionID + "/resourceGroups/web/providers/Microsoft.Compute/virtualMachines/web-1"
	cloud, err := azuretest.NewServer(azuretest.Config{
		CloudAlerts: []azuretest.CloudAlert{{ResourceGroup: "web", DisplayName: "Suspicious process", Resources: []string{machine}}},
		CloudScores: []azuretest.CloudScore{{Current: 23.5, Max: 39}},
	})
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

	known := azure.ResourceKey("/subscriptions/" + azuretest.SubscriptionID + "/resourcegroups/WEB/providers/microsoft.compute/virtualmachines/WEB-1")
	for a, err := range c.Posture.Alerts(azure.CloudAlertQuery{Scope: azuretest.SubscriptionID}).All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range a.Resources {
			if azure.ResourceKey(r.ResourceID) == known {
				fmt.Println(a.DisplayName, a.Severity)
			}
		}
		if err := c.Posture.SetAlertStatus(ctx, a.ID, azure.CloudAlertInProgress); err != nil {
			log.Fatal(err)
		}
	}
	if s, err := c.Posture.Score(ctx, azuretest.SubscriptionID, azure.DefaultScore); err == nil && s.Scored {
		fmt.Printf("%.0f%%\n", 100*s.Ratio)
	}
	// Output:
	// Suspicious process High
	// 60%
}
