package azure_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
)

func ExampleNew() {
	// A simulated Microsoft; leave HTTPClient out for the real one.
	cloud, err := azuretest.NewServer(azuretest.Config{Machines: []azuretest.Machine{{ID: "m1", ComputerDNSName: "ws-042.corp.example"}}})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	c, err := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: cloud.Client(), ReadOnly: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)
	for m, err := range c.Defender.Machines(azure.Query{Filter: azure.StartsWith("computerDnsName", "ws-042")}).All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.ComputerDNSName)
	}
	_, err = c.Defender.Isolate(ctx, "m1", azure.Isolate{Comment: "ransomware"})
	fmt.Println(errors.Is(err, azure.ErrReadOnly))
	// Output:
	// ws-042.corp.example
	// true
}

// "I already use azidentity": any of its credentials, made anew for each token.
func ExampleCredentialFactory() {
	c, err := azure.New(azure.Config{
		Credential: func(o azcore.ClientOptions) (azcore.TokenCredential, error) {
			return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	options := c.ClientOptions() // for any official Azure client, with c.Credential()
	fmt.Println(options.Retry.MaxRetries)
	// Output: -1
}
