package falcon_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

func ExampleSensorUpdate_Policies() {
	cloud, err := falcontest.NewServer(falcontest.Config{SensorUpdatePolicies: []falcontest.SensorUpdatePolicy{
		{Name: "servers", Build: "18607|n-1|tagged|2", UninstallProtection: "DISABLED"},
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
	windows := falcon.PolicyQuery{Filter: falcon.Equals("platform_name", "Windows")}
	for p, err := range c.SensorUpdate.Policies(windows).All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if p.Settings != nil {
			fmt.Println(p.Name, p.Settings.Build, p.Settings.UninstallProtection)
		}
	}
	// Output:
	// servers 18607|n-1|tagged|2 DISABLED
	// platform_default 18704|n|tagged|1 ENABLED
}
