package falcon_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// The newest content is bad. The policies whose hosts take system_critical at once
// are held at the version before it, and paused for everything else.
func ExampleContent_Pause() {
	cloud, err := falcontest.NewServer(falcontest.Config{ContentPolicies: []falcontest.ContentPolicy{{Name: "production", Groups: []string{"servers"}}}})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	for _, version := range []string{"2024.07.18.1", "2024.07.19.1"} {
		if err := cloud.ReleaseContent("system_critical", version); err != nil {
			log.Fatal(err)
		}
	}
	c, err := falcon.New(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
		Cloud: "us-1", HTTPClient: cloud.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)
	versions, err := c.Content.PinVersions(ctx, falcon.SystemCritical)
	if err != nil || len(versions) < 2 {
		log.Fatal(versions, err)
	}
	for p, err := range c.Content.Policies(falcon.PolicyQuery{Filter: falcon.Verbatim("enabled:true")}).All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		r, ok := p.Ring(falcon.SystemCritical)
		if !ok || r.Ring != falcon.GeneralAvailability || !r.DelayKnown || r.Delay > 0 {
			continue
		}
		fmt.Println(p.Name, r.Ring, r.Delay)
		if _, err := c.Content.Pause(ctx, p.ID, falcon.ContentOverride{}); err != nil {
			log.Fatal(err) // also when Falcon says yes and the policy shows no
		}
		held, err := c.Content.Pin(ctx, p.ID, map[falcon.ContentCategory]string{falcon.SystemCritical: versions[1]})
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range held.Rings {
			fmt.Printf("  %s %s%s\n", r.Category, r.Override, r.PinnedVersion)
		}
	}
	// Output:
	// production ga 0s
	//   sensor_operations pause
	//   system_critical 2024.07.18.1
	//   vulnerability_management pause
	//   rapid_response_al_bl_listing pause
	// platform_default ga 0s
	//   sensor_operations pause
	//   system_critical 2024.07.18.1
	//   vulnerability_management pause
	//   rapid_response_al_bl_listing pause
}
