package falcon_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
)

// A feed is pushed: what Falcon refuses is told row by row, the rest is created.
func ExampleIOCs_Create() {
	cloud, err := falcontest.NewServer(falcontest.Config{IOCs: []falcontest.IOC{{Type: "domain", Value: "known.example"}}})
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
	var feed []falcon.NewIOC
	for _, domain := range []string{"evil.example", "known.example", "worse.example"} {
		feed = append(feed, falcon.NewIOC{
			Type: falcon.IOCDomain, Value: domain, Action: falcon.IOCDetect, Severity: falcon.IOCHigh,
			Platforms: []string{"windows", "linux"}, AppliedGlobally: true,
		})
	}
	results, _ := c.IOCs.Create(ctx, falcon.IOCCreate{Indicators: feed, Comment: "feed of today"})
	for i, r := range results {
		switch {
		case r.Err == nil:
			fmt.Println(feed[i].Value, "created")
		case errors.Is(r.Err, falcon.ErrDuplicateIOC):
			fmt.Println(feed[i].Value, "was there")
		default:
			fmt.Println(feed[i].Value, resilience.Of(r.Err).Sent, r.Err)
		}
	}
	// Output:
	// evil.example created
	// known.example was there
	// worse.example created
}
