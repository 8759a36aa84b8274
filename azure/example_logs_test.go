package azure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
)

func ExampleLogs_Ingestor() {
	// A simulated Azure Monitor; leave HTTPClient out for the real one.
	cloud, err := azuretest.NewServer(azuretest.Config{Collections: []azuretest.Collection{{
		Streams: map[string][]azuretest.Column{"Custom-Events_CL": {{Name: "EventId", Type: "string"}}},
	}}})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	c, err := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: cloud.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)

	events, err := c.Logs.Ingestor(azure.IngestTarget{
		Endpoint: "https://" + azuretest.IngestHost, RuleID: azuretest.RuleID, Stream: "Custom-Events_CL",
		AtLeastOnce: true, // the rows have an id, by which queries remove duplicates
	})
	if err != nil {
		log.Fatal(err)
	}
	rows := []json.RawMessage{[]byte(`{"EventId":"1"}`), []byte(`{"EventId":`), []byte(`{"EventId":"3"}`)}
	res, err := events.Upload(ctx, rows)
	for _, r := range res.Rejected {
		fmt.Println("put aside:", r.Index)
	}
	fmt.Println("send again:", len(res.Indexes(azure.RowUnsent))+len(res.Indexes(azure.RowUnknown)))
	if e, ok := errors.AsType[*azure.UploadError](err); ok {
		fmt.Println("accepted:", e.Result.Count(azure.RowAccepted), "of", len(rows))
	}
	// Output:
	// put aside: 1
	// send again: 0
	// accepted: 2 of 3
}

func ExampleLogs_Query() {
	// A simulated Log Analytics; leave HTTPClient out for the real one.
	cloud, err := azuretest.NewServer(azuretest.Config{LogQuery: func(azuretest.LogQuery) azuretest.LogAnswer {
		return azuretest.LogAnswer{Tables: []azuretest.LogTable{{
			Columns: []azuretest.Column{{Name: "Host", Type: "string"}, {Name: "Bytes", Type: "long"}},
			Rows:    [][]any{{"ws-042", int64(9007199254740993)}},
		}}}
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	c, err := azure.New(azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: cloud.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)
	res, err := c.Logs.Query(ctx, azure.LogQuery{
		WorkspaceID: "11112222-3333-4444-5555-666677778888", Timespan: "P1D",
		Query: "Events_CL | summarize Bytes=sum(Bytes) by Host",
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range res.Rows() {
		fmt.Println(row.Str("Host"), row.Int("Bytes"))
	}
	// Output: ws-042 9007199254740993
}
