package falcon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// A search that shows less than there is says so, and what it shows is there.
func ExampleNGSIEM_Query() {
	cloud, err := falcontest.NewServer(falcontest.Config{Search: func(falcontest.Search) falcontest.SearchResult {
		return falcontest.SearchResult{Limit: 1, Events: []json.RawMessage{
			json.RawMessage(`{"ComputerName":"ws-042"}`), json.RawMessage(`{"ComputerName":"ws-043"}`),
		}}
	}})
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
	found, err := c.NGSIEM.Query(ctx, falcon.NGSIEMQuery{
		Query:     "#event_simpleName=UserLogon UserName=?user",
		Arguments: map[string]string{"user": "mallory"},
	})
	if err != nil && !errors.Is(err, falcon.ErrTruncated) {
		log.Fatal(err)
	}
	for _, raw := range found.Events {
		var event struct{ ComputerName string }
		if err := json.Unmarshal(raw, &event); err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.ComputerName)
	}
	fmt.Println("of", found.EventCount)
	// Output:
	// ws-042
	// of 2
}

// What could not be sent is known: it is kept for later.
func ExampleHEC_Send() {
	cloud, err := falcontest.NewServer(falcontest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	url, key := cloud.AddConnector() // of the real Falcon, the console shows them
	siem, err := falcon.NewHEC(falcon.HECConfig{URL: url, Key: falcon.Secret(key), AtLeastOnce: true, HTTPClient: cloud.Client()})
	if err != nil {
		log.Fatal(err)
	}
	events := []falcon.HECEvent{
		{Event: map[string]string{"action": "login"}, Host: "ws-042"},
		{Event: map[string]string{"action": "logout"}, Host: "ws-042"},
	}
	err = siem.Send(context.Background(), events...)
	if stopped, ok := errors.AsType[*falcon.HECError](err); ok {
		events = events[stopped.Accepted:]
	} else if err == nil {
		events = nil
	}
	fmt.Println(len(cloud.Ingested()), "arrived,", len(events), "left")
	// Output: 2 arrived, 0 left
}
