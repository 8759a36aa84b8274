package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/azure/azuretest"
)

// Microsoft's own clients for JavaScript, from the npm registry: logs are uploaded
// and counted, and a Sentinel incident is found, read and closed.
func TestAzureJS(t *testing.T) {
	onlyForeign(t)
	const stream, rows = "Custom-Alerts_CL", 3000 // more than one request may hold
	srv, err := azuretest.NewServer(azuretest.Config{
		ARM: azuretest.ARM{PageSize: 2},
		Collections: []azuretest.Collection{{StrictUncompressedLimit: true, Streams: map[string][]azuretest.Column{stream: {
			{Name: "TimeGenerated", Type: "datetime"},
			{Name: "Computer", Type: "string"},
			{Name: "Number", Type: "long"},
			{Name: "Detail", Type: "dynamic"},
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	for i := range 5 {
		srv.AddSentinelIncident(azuretest.SentinelIncident{
			Properties: map[string]json.RawMessage{"title": json.RawMessage(fmt.Sprintf(`"incident %d"`, i)), "severity": json.RawMessage(`"High"`)},
			Alerts:     []json.RawMessage{json.RawMessage(fmt.Sprintf(`{"kind":"SecurityAlert","name":"a","properties":{"systemAlertId":"alert %d"}}`, i))},
		})
	}
	p := openPrograms(t, srv,
		"AZURE_TENANT_ID="+azuretest.TenantID, "AZURE_CLIENT_ID="+azuretest.ClientID, "AZURE_CLIENT_SECRET="+azuretest.ClientSecret,
		"AZURE_SUBSCRIPTION_ID="+azuretest.SubscriptionID, "RESOURCE_GROUP="+azuretest.ResourceGroup, "WORKSPACE="+azuretest.WorkspaceName,
		"ENDPOINT=https://"+azuretest.IngestHost, "RULE="+azuretest.RuleID, "STREAM="+stream, fmt.Sprint("ROWS=", rows),
	)
	program := javascript(t, "azurejs.mjs", "@azure/identity@4.13.0", "@azure/monitor-ingestion@1.2.0", "@azure/arm-securityinsight@1.0.0-beta.6")
	out := p.run(p.command("node", program))

	type refusal struct {
		Status int
		Code   string
		Rows   int
	}
	type incident struct {
		Title, Severity string
		Number          int
		Created         bool
	}
	type found struct {
		Refused                  refusal
		Titles, Alerts, Comments []string
		Incident                 incident
		Status                   string
		Stale, Unknown           int
	}
	var got found
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	want := found{
		Refused:  refusal{http.StatusBadRequest, "InvalidStream", 3},
		Titles:   []string{"incident 0", "incident 1", "incident 2", "incident 3", "incident 4"},
		Alerts:   []string{"alert 4"},
		Comments: []string{"closed by a script"},
		Incident: incident{"incident 4", "High", 5, true},
		Status:   "Closed", Stale: http.StatusPreconditionFailed, Unknown: http.StatusNotFound,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	counted := map[int]int{}
	for _, raw := range srv.Rows(azuretest.RuleID, stream) {
		var row struct {
			Computer string
			Number   int
			Detail   struct{ Text string }
		}
		if err := json.Unmarshal(raw, &row); err != nil || row.Computer != fmt.Sprintf("ws-%d.corp.example", row.Number) || row.Detail.Text != strings.Repeat("ü", 400) {
			t.Fatalf("%v in %s", err, raw)
		}
		counted[row.Number]++
	}
	for n := range rows {
		if counted[n] != 1 {
			t.Errorf("row %d is there %d times", n, counted[n])
		}
	}
	uploads := 0
	for _, r := range srv.Requests() {
		if r.Host == azuretest.IngestHost && r.Status == http.StatusNoContent {
			uploads++
		}
		if agent := r.Header.Get("User-Agent"); r.Host == azuretest.IngestHost && !strings.Contains(agent, "azsdk-js-monitor-ingestion/1.2.0") {
			t.Errorf("User-Agent %q", agent)
		}
	}
	if uploads < 2 || len(counted) != rows {
		t.Errorf("%d rows in %d uploads", len(counted), uploads)
	}
}
