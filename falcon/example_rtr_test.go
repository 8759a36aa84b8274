package falcon_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// Commands that read, in one session of a host.
func ExampleRTR_Open() {
	cloud, err := falcontest.NewServer(falcontest.Config{Hosts: []falcontest.Host{{DeviceID: "h1", Hostname: "ws-042"}}})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	cloud.RTRCommand(func(_, command string) falcontest.RTRResult {
		return falcontest.RTRResult{Stdout: "output of " + command}
	})
	c, err := falcon.New(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
		Cloud: "us-1", HTTPClient: cloud.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer c.Close(ctx)
	session, err := c.RTR.Open(ctx, "h1", falcon.RTROptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	for _, command := range []string{`cd C:\Users`, "ls", `rm C:\Users`} {
		out, err := session.Run(ctx, command)
		if err != nil {
			fmt.Println("refused")
			continue
		}
		fmt.Println(out.Stdout)
	}
	// Output:
	// output of cd C:\Users
	// output of ls
	// refused
}
