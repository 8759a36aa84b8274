package azure_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
)

// From an alert to the machines it is about, and to what happened there.
func ExampleGraph() {
	cloud, err := azuretest.NewServer(azuretest.Config{
		Machines: []azuretest.Machine{{ID: "m1", ComputerDNSName: "ws-042.corp.example"}},
		GraphAlerts: []azuretest.GraphAlert{
			{ID: "a1", Title: "Ransomware", Severity: "high", Evidence: []map[string]any{azuretest.DeviceEvidence("m1", "ws-042")}},
			{ID: "a2", Title: "Adware", Severity: "low"},
		},
		Hunt: func(string) azuretest.HuntTable {
			return azuretest.HuntTable{Rows: []map[string]any{{"FileName": "enc.exe", "FileSize": 6136392}}}
		},
	})
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
	for a, err := range c.Graph.Alerts(azure.GraphQuery{Filter: azure.Equals("severity", string(azure.GraphHigh))}).All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.Title)
		for _, id := range a.MachineIDs() {
			m, err := c.Defender.Machine(ctx, id)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(m.ComputerDNSName)
		}
		if _, err := c.Graph.UpdateAlert(ctx, a.ID, azure.GraphUpdate{Status: azure.GraphInProgress}); err != nil {
			log.Fatal(err)
		}
	}
	r, err := c.Graph.Hunt(ctx, azure.HuntQuery{Query: "DeviceFileEvents | where DeviceId == 'm1'", Timespan: "P1D"})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range r.Rows {
		fmt.Println(row.Str("FileName"), row.Int("FileSize"))
	}
	// Output:
	// Ransomware
	// ws-042.corp.example
	// enc.exe 6136392
}
