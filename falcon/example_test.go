package falcon_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

func ExampleNew() {
	// A simulated Falcon; leave HTTPClient out for the real one.
	cloud, err := falcontest.NewServer(falcontest.Config{Hosts: []falcontest.Host{{Hostname: "ws-042"}, {Hostname: "ws-043"}}})
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
	for h, err := range c.Hosts.Query(falcon.HostQuery{Filter: falcon.Equals("hostname", "ws-042")}).All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(h.Hostname, h.Status)
	}
	// Output: ws-042 normal
}

// "I already use gofalcon": its services run over the client's transport.
func ExampleClient_Transport() {
	c, err := falcon.New(falcon.Config{ClientID: "id", ClientSecret: "secret", Cloud: "eu-1", HTTPClient: http.DefaultClient})
	if err != nil {
		log.Fatal(err)
	}
	service := hosts.New(c.Transport(), nil)
	fmt.Printf("%T\n", service)
	// Output: *hosts.Client
}

// Events are acknowledged by who has stored them: what was not, comes again.
func ExampleStream_Run() {
	cloud, err := falcontest.NewServer(falcontest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	cloud.Publish(0, "EppDetectionSummaryEvent", cloud.Detection("host-1", 70))
	c, err := falcon.New(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
		Cloud: "us-1", HTTPClient: cloud.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer c.Close(ctx)
	stored := map[int]int64{} // in a real program beside the events, on disk
	err = c.Stream.Run(ctx, falcon.StreamConfig{
		AppID: "my-siem",
		After: stored,
		Handle: func(_ context.Context, events []falcon.Event) error {
			for _, e := range events {
				fmt.Println(e.Type, e.Offset, len(e.Raw) > 0)
				stored[e.Partition] = e.Offset
			}
			stop() // a real program goes on
			return nil
		},
	})
	fmt.Println(err)
	// Output:
	// EppDetectionSummaryEvent 1 true
	// context canceled
}

// Alerts of this week that nobody has taken, resumed where the last run stopped.
func ExampleAlerts_Query() {
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
	alerts := c.Alerts.Query(falcon.AlertQuery{Filter: falcon.And(
		falcon.Equals("status", "new"), falcon.AtLeast("severity", 70), falcon.After("created_timestamp", time.Now().Add(-7*24*time.Hour)))})
	for a, err := range alerts.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.Name, a.Severity)
		if _, err := c.Alerts.Update(ctx, falcon.AlertChange{Status: falcon.AlertInProgress}, a.ID); err != nil {
			log.Fatal(err)
		}
	}
	// Output: Mimikatz 90
}
