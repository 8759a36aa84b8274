package azure_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
)

// What Azure says beside an outage that a client has met. It is a hint: no answer, or
// Unknown, says nothing.
func ExampleServiceHealth() {
	const workspace = "/subscriptions/11111111-2222-4333-8444-555555555555/resourceGroups/soc/providers/Microsoft.OperationalInsights/workspaces/soc"
	cloud, err := azuretest.NewServer(azuretest.Config{
		Availability: []azuretest.Availability{{ResourceID: workspace, State: "Degraded", ReasonType: "Unplanned"}},
		HealthEvents: []azuretest.HealthEvent{{TrackingID: "BC_1-FXZ", Service: "Log Analytics", Regions: []string{"West Europe"}}},
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

	if a, err := c.ServiceHealth.Resource(ctx, workspace); err == nil {
		fmt.Println(a.State, a.ReasonType)
	}
	for e, err := range c.ServiceHealth.Events(azure.EventQuery{}).All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.TrackingID, e.Active(), e.Impact)
	}
	// Output:
	// Degraded Unplanned
	// BC_1-FXZ true [{Log Analytics West Europe Active}]
}
