package falcon_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// A block list that is kept up to date: the first run reads everything, later ones,
// by the cursor of the one before, what came or changed since.
func ExampleIntel_Indicators() {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	cloud, err := falcontest.NewServer(falcontest.Config{Intel: falcontest.Intel{Indicators: []falcontest.Indicator{
		{Value: "evil.com", Updated: day}, {Value: "odd.com", Confidence: "low", Updated: day},
	}}})
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
	cursor := "" // in a real program stored beside the block list
	for run := range 2 {
		indicators := c.Intel.Indicators(falcon.IndicatorQuery{
			Filter:         falcon.And(falcon.Equals("type", "domain"), falcon.Equals("malicious_confidence", "high")),
			IncludeDeleted: true, // to take them off the list
			NoRelations:    true,
			Cursor:         cursor,
		})
		for i, err := range indicators.All(ctx) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(run, i.Value, "deleted:", i.Deleted)
		}
		cursor = indicators.Cursor()
		cloud.AddIndicator(falcontest.Indicator{Value: "evil.com", Deleted: true, Updated: day.Add(time.Hour)})
	}
	// Output:
	// 0 evil.com deleted: false
	// 1 evil.com deleted: true
}

// Rules for Suricata, loaded again only when there are new ones.
func ExampleIntel_RuleFile() {
	cloud, err := falcontest.NewServer(falcontest.Config{Intel: falcontest.Intel{RuleFiles: []falcontest.RuleFile{{Type: "snort-suricata-master"}}}})
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
	query := falcon.RuleFileQuery{Type: "snort-suricata-master"}
	for range 2 {
		rules, err := c.Intel.RuleFile(ctx, query)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(rules.NotModified, len(rules.Content) > 0)
		query.IfModifiedSince, query.IfNoneMatch = rules.LastModified, rules.ETag
	}
	// Output:
	// false true
	// true false
}
