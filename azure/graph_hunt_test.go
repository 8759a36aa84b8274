package azure_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

var huntTable = azuretest.HuntTable{
	Columns: []azuretest.HuntColumn{{Name: "Timestamp", Type: "DateTime"}, {Name: "ReportId", Type: "Int64"}, {Name: "AdditionalFields", Type: "Dynamic"}},
	Rows: []map[string]any{
		{"Timestamp": "2024-03-26T09:39:50.7688641Z", "ReportId": int64(9007199254740993), "AdditionalFields": map[string]any{"schema": 1}},
		{"Timestamp": nil, "ReportId": nil},
	},
}

// Graph writes schema and results, older samples Schema and Results; a float64
// would have rounded the number.
func TestHuntInEitherCasing(t *testing.T) {
	for name, upper := range map[string]bool{"lower": false, "upper": true} {
		t.Run(name, func(t *testing.T) {
			table := huntTable
			table.Upper = upper
			var asked string
			cloud(t, azuretest.Config{Hunt: func(q string) azuretest.HuntTable { asked = q; return table }}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
				r, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: `DeviceEvents | where a =~ "é"`, Timespan: "P7D"})
				if err != nil || len(r.Schema) != 3 || r.Schema[1] != (azure.HuntColumn{Name: "ReportId", Type: "Int64"}) || len(r.Rows) != 2 {
					t.Fatalf("%+v, %v", r, err)
				}
				row := r.Rows[0]
				if row.Str("ReportId") != "9007199254740993" || row.Int("ReportId") != 9007199254740993 || row.Time("Timestamp").Nanosecond() != 768864100 ||
					string(row["AdditionalFields"]) != `{"schema":1}` || row.Str("AdditionalFields") != "" || row.Str("None") != "" {
					t.Errorf("%s", row)
				}
				if null := r.Rows[1]; null.Str("ReportId") != "" || !null.Time("Timestamp").IsZero() {
					t.Errorf("%s", null)
				}
				if asked != `DeviceEvents | where a =~ "é"` {
					t.Errorf("asked %q", asked)
				}
				if body := string(requests(srv, http.MethodPost, huntPath)[0].Body); !strings.Contains(body, `"Timespan":"P7D"`) {
					t.Error(body)
				}
			})
		})
	}
}

// A POST that changes nothing may be sent again.
func TestHuntIsRetried(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: huntPath, Count: 1})
		if r, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "DeviceInfo"}); err != nil || r.Rows == nil || len(r.Rows) != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if n := len(requests(srv, http.MethodPost, huntPath)); n != 2 {
			t.Errorf("%d POSTs", n)
		}
	})
}

// A query may take three minutes, six times what other calls may.
func TestHuntMayTakeThreeMinutes(t *testing.T) {
	cloud(t, azuretest.Config{Hunt: func(string) azuretest.HuntTable { return huntTable }}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Latency, Delay: 3 * time.Minute, Path: huntPath})
		if r, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "DeviceInfo"}); err != nil || len(r.Rows) != 2 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// Which of several quotas is used up is in the body alone.
func TestHuntQuotasAreNamed(t *testing.T) {
	const cpu = "The tenant has used up its CPU until the next cycle"
	cloud(t, azuretest.Config{
		Graph: azuretest.Graph{NoRetryAfter: true}, Hunt: func(string) azuretest.HuntTable { return azuretest.HuntTable{Status: 429, Message: cpu} },
	}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		_, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "DeviceInfo"})
		if resilience.Of(err).Class != resilience.Throttled || !strings.Contains(err.Error(), cpu) {
			t.Errorf("got %v", err)
		}
		if c.Graph.Policy().State() != resilience.Closed {
			t.Error("being throttled opened the breaker")
		}
	})
}

// Hunts have a quota of their own, which does not eat that of alerts.
func TestHuntQuotaIsKept(t *testing.T) {
	cloud(t, azuretest.Config{GraphAlerts: manyAlerts(1)}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for range 50 {
			if _, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "DeviceInfo"}); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range requests(srv, http.MethodPost, huntPath) {
			if r.Status != 200 {
				t.Fatalf("HTTP %d", r.Status)
			}
		}
	})
}

// That nothing was found must not be made out of an answer that does not say so.
func TestHuntWithoutResultsIsNotAnEmptyHunt(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                      "no results",
		`{"schema":[]}`:           "no results",
		`{"results":null}`:        "no results",
		`{"results":[7]}`:         "cannot be read",
		`{"error":{"code":"E1"}}`: "E1",
		`<html>`:                  "cannot be read",
	} {
		cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: huntPath, Body: body})
			r, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "DeviceInfo"})
			if len(r.Rows) > 0 || resilience.Of(err).Class != resilience.Malformed || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %+v, %v", body, r, err)
			}
		})
	}
}

func TestTruncatedHuntIsTold(t *testing.T) {
	t.Run("at the limit", func(t *testing.T) {
		rows := make([]map[string]any, 100_001)
		one := map[string]any{"N": 1}
		for i := range rows {
			rows[i] = one
		}
		hunt := func(q string) azuretest.HuntTable {
			if q == "less" {
				return azuretest.HuntTable{Rows: rows[:99_999]}
			}
			return azuretest.HuntTable{Rows: rows}
		}
		cloud(t, azuretest.Config{Hunt: hunt}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
			if r, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "all"}); !errors.Is(err, azure.ErrHuntTruncated) || len(r.Rows) != 100_000 {
				t.Errorf("%d rows, %v", len(r.Rows), err)
			}
			if r, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "less"}); err != nil || len(r.Rows) != 99_999 {
				t.Errorf("%d rows, %v", len(r.Rows), err)
			}
		})
	})
	for body, want := range map[string]string{
		`{"schema":[],"results":[{}],"@odata.nextLink":"https://graph.microsoft.com/v1.0/x"}`: "1 came",
		`{"schema":[],"results":[{}],"error":{"code":"PartialError","message":"too large"}}`:  "PartialError: too large",
	} {
		cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: huntPath, Body: body})
			r, err := c.Graph.Hunt(t.Context(), azure.HuntQuery{Query: "DeviceInfo"})
			if len(r.Rows) != 1 || !errors.Is(err, azure.ErrHuntTruncated) || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}
