package falcon_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

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
