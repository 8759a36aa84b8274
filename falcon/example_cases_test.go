package falcon_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// A case for an alert, taken over by whoever is first.
func ExampleCases_Update() {
	cloud, err := falcontest.NewServer(falcontest.Config{Alerts: []falcontest.Alert{{ID: "cid:ind:aid:1", Name: "Mimikatz", Severity: 90}}})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	c, err := falcon.New(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
		Cloud: "us-1", HTTPClient: cloud.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)
	opened, err := c.Cases.Create(ctx, falcon.NewCase{
		Name: "Mimikatz on ws-042", Severity: 90, Alerts: []string{"cid:ind:aid:1"},
		Tags: []string{"playbook-4711"}, // finds the case again if the answer is lost
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, analyst := range []string{"alice", "bob"} {
		now, err := c.Cases.Update(ctx, opened.ID, falcon.CaseChange{
			Status: falcon.CaseInProgress, AssignTo: analyst, ExpectedVersion: opened.Version,
		})
		switch {
		case errors.Is(err, falcon.ErrVersion):
			fmt.Println(analyst, "was not first")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(now.AssignedTo, "has it:", now.Status, len(now.Alerts))
		}
	}
	// Output:
	// alice has it: in_progress 1
	// bob was not first
}
