package azure_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// requests are those that reached a path below prefix by a method.
func requests(srv *azuretest.Server, method, prefix string) (out []azuretest.Request) {
	for _, r := range srv.Requests() {
		if r.Method == method && strings.HasPrefix(r.Path, prefix) {
			out = append(out, r)
		}
	}
	return out
}

const (
	alertsPath    = "/v1.0/security/alerts_v2"
	incidentsPath = "/v1.0/security/incidents"
	huntPath      = "/v1.0/security/runHuntingQuery"
)

func manyAlerts(n int) []azuretest.GraphAlert {
	out := make([]azuretest.GraphAlert, n)
	for i := range out {
		out[i] = azuretest.GraphAlert{ID: fmt.Sprintf("da%d_-%d", i, i)}
	}
	return out
}

// Graph's longest page is shorter than what was asked for.
func TestGraphTopIsOverAllPages(t *testing.T) {
	cloud(t, azuretest.Config{GraphAlerts: manyAlerts(120)}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for _, tc := range []struct{ top, rows, calls int }{{0, 120, 3}, {7, 7, 1}, {50, 50, 1}, {60, 60, 2}, {120, 120, 3}, {500, 120, 3}} {
			before := len(requests(srv, http.MethodGet, alertsPath))
			l := c.Graph.Alerts(azure.GraphQuery{Top: tc.top})
			rows := collect(t, l)
			calls := len(requests(srv, http.MethodGet, alertsPath)) - before
			if len(rows) != tc.rows || calls != tc.calls {
				t.Errorf("Top %d: %d rows by %d calls", tc.top, len(rows), calls)
			}
			if asked := requests(srv, http.MethodGet, alertsPath)[before].Query.Get("$top"); asked != map[bool]string{true: strconv.Itoa(tc.top)}[tc.top > 0] {
				t.Errorf("Top %d: asked for %q", tc.top, asked)
			}
			if again := collect(t, l); len(again) != 0 {
				t.Errorf("Top %d: %d rows after the last", tc.top, len(again))
			}
		}
		first := c.Graph.Alerts(azure.GraphQuery{})
		n := 0
		for range first.All(t.Context()) {
			if n++; n == 70 {
				break
			}
		}
		if rest := collect(t, c.Graph.Alerts(azure.GraphQuery{Cursor: first.Cursor()})); len(rest) != 50 || rest[0].ID != "da70_-70" {
			t.Errorf("resumed with %d rows", len(rest))
		}
	})
}

// A page that is read again, because the iteration stopped in it, was counted twice.
func TestTopAfterStoppingInAPage(t *testing.T) {
	cloud(t, azuretest.Config{GraphAlerts: manyAlerts(3)}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		l := c.Graph.Alerts(azure.GraphQuery{Top: 5})
		for range l.All(t.Context()) {
			break
		}
		if rest := collect(t, l); len(rest) != 2 {
			t.Errorf("%d of 3 rows after the first", len(rest))
		}
	})
}

func TestGraphNextLinkMustNotLeaveGraph(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: alertsPath, Body: `{"value":[{"id":"a"},7,{"id":"b"}],"@odata.nextLink":"https://evil.test/v1.0/x"}`})
		var ids []string
		var bad, last error
		for a, err := range c.Graph.Alerts(azure.GraphQuery{}).All(t.Context()) {
			if row, ok := errors.AsType[*azure.RowError](err); ok {
				bad = row
			} else if last = err; err == nil {
				ids = append(ids, a.ID)
			}
		}
		host, ok := errors.AsType[*resilience.HostError](last)
		if !slices.Equal(ids, []string{"a", "b"}) || bad == nil || !ok || host.Host != "evil.test" {
			t.Errorf("%q, %v, %v", ids, bad, last)
		}
	})
}

func TestGraphFilters(t *testing.T) {
	begin := time.Date(2026, 11, 1, 8, 0, 0, 123456700, time.UTC)
	alerts := []azuretest.GraphAlert{
		{ID: "old", Severity: "high", Created: begin.Add(-time.Hour)},
		{ID: "older", Severity: "medium", Created: begin.Add(-2 * time.Hour)},
		{ID: "low", Severity: "low", Created: begin},
		{ID: "high", Severity: "High", Created: begin, AssignedTo: "o'neil@corp.example"},
		{ID: "medium", Severity: "medium", Created: begin.Add(time.Hour)},
		{ID: "done", Severity: "high", Created: begin.Add(time.Minute), Status: "resolved"},
		{ID: "late", Severity: "high", Created: begin.Add(2 * time.Hour)},
	}
	cloud(t, azuretest.Config{GraphAlerts: alerts}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		high := azure.Equals("severity", string(azure.GraphHigh))
		medium := azure.Equals("severity", string(azure.GraphMedium))
		zone := begin.In(time.FixedZone("", 5*3600))
		for name, tc := range map[string]struct {
			filter azure.OData
			want   []string
		}{
			"time, status and one of two": {
				azure.And(azure.Since("createdDateTime", zone), azure.Before("createdDateTime", begin.Add(2*time.Hour)), azure.Equals("status", "new"), azure.Or(high, medium)),
				[]string{"medium", "high"},
			},
			"a quote":    {azure.Equals("assignedTo", "o'neil@corp.example"), []string{"high"}},
			"or of one":  {azure.Or("", medium), []string{"medium", "older"}},
			"or of none": {azure.Or(), []string{"late", "medium", "done", "low", "high", "old", "older"}},
		} {
			var ids []string
			for _, a := range collect(t, c.Graph.Alerts(azure.GraphQuery{Filter: tc.filter})) {
				ids = append(ids, a.ID)
			}
			if !slices.Equal(ids, tc.want) {
				t.Errorf("%s: %q", name, ids)
			}
		}
		if f := azure.Since("createdDateTime", zone); f != "createdDateTime ge 2026-11-01T08:00:00.1234567Z" {
			t.Errorf("got %s", f)
		}
		for _, err := range c.Graph.Alerts(azure.GraphQuery{Filter: azure.Equals("title", "x")}).All(t.Context()) {
			if resilience.Of(err).Class != resilience.Rejected {
				t.Errorf("a property that cannot be filtered by: %v", err)
			}
		}
	})
}

// The vendor's samples mix truePositive and TruePositive.
func TestGraphEnumsInAnyCase(t *testing.T) {
	cloud(t, azuretest.Config{
		GraphAlerts:    []azuretest.GraphAlert{{ID: "a", Status: "InProgress", Severity: "HIGH", Classification: "TruePositive", Determination: "MultiStagedAttack", ServiceSource: "MicrosoftDefenderForEndpoint", DetectionSource: "somethingNew"}},
		GraphIncidents: []azuretest.GraphIncident{{ID: "1", Status: "Active", Severity: "Medium", Classification: "FalsePositive", Determination: "Clean"}},
	}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		a, err := c.Graph.Alert(t.Context(), "a")
		if err != nil || a.Status != azure.GraphInProgress || a.Severity != azure.GraphHigh || a.Classification != azure.GraphTruePositive ||
			a.Determination != "multiStagedAttack" || a.ServiceSource != "microsoftDefenderForEndpoint" || a.DetectionSource != "somethingNew" {
			t.Errorf("%+v, %v", a, err)
		}
		i, err := c.Graph.Incident(t.Context(), "1")
		if err != nil || i.Status != azure.GraphActive || i.Severity != azure.GraphMedium || i.Classification != azure.GraphFalsePositive || i.Determination != "clean" {
			t.Errorf("%+v, %v", i, err)
		}
		if r := requests(srv, http.MethodGet, alertsPath); r[0].Header.Get("Prefer") != "include-unknown-enum-members" {
			t.Error("newer members of enumerations were not asked for")
		}
	})
}

func TestUnknownEvidenceStaysRaw(t *testing.T) {
	evidence := []map[string]any{
		azuretest.DeviceEvidence(first, "ws-000.corp.example"),
		{"@odata.type": "#microsoft.graph.security.fileEvidence", "mdeDeviceId": first, "verdict": "malicious"},
		{"@odata.type": "#microsoft.graph.security.brandNewEvidence", "size": json.Number("9007199254740993")},
	}
	cloud(t, azuretest.Config{GraphAlerts: []azuretest.GraphAlert{{ID: "a", Evidence: evidence, MITRETechniques: []string{"T1564.001"}}}}, nil,
		func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			a, err := c.Graph.Alert(t.Context(), "a")
			if err != nil || len(a.Evidence) != 3 {
				t.Fatalf("%+v, %v", a, err)
			}
			d := a.Evidence[0]
			if d.Type != "deviceEvidence" || d.MachineID != first || d.Device == nil || d.Device.DNSName != "ws-000.corp.example" ||
				d.Device.OSBuild != 22631 || d.Device.RBACGroupID != 75 || !slices.Equal(d.Device.IPInterfaces, []string{"10.1.2.3"}) || !slices.Equal(d.Roles, []string{"compromised"}) {
				t.Errorf("%+v", d)
			}
			if f := a.Evidence[1]; f.Type != "fileEvidence" || f.Device != nil || f.Verdict != "malicious" {
				t.Errorf("%+v", f)
			}
			if u := a.Evidence[2]; u.Type != "brandNewEvidence" || !strings.Contains(string(u.Raw), "9007199254740993") {
				t.Errorf("%s", u.Raw)
			}
			// The join with Defender.
			if ids := a.MachineIDs(); !slices.Equal(ids, []string{first}) {
				t.Errorf("%q", ids)
			} else if m, err := c.Defender.Machine(t.Context(), ids[0]); err != nil || m.ComputerDNSName != "ws-000.corp.example" {
				t.Errorf("%+v, %v", m, err)
			}
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: alertsPath, Body: `{"id":"b","incidentId":28282,"evidence":["x",{"verdict":7}],"title":{}}`})
			if b, err := c.Graph.Alert(t.Context(), "b"); err != nil || b.IncidentID != "28282" || len(b.Evidence) != 2 || string(b.Evidence[0].Raw) != `"x"` {
				t.Errorf("%+v, %v", b, err)
			}
		})
}

func TestIncidentsWithTheirAlerts(t *testing.T) {
	cloud(t, azuretest.Config{
		GraphIncidents: []azuretest.GraphIncident{
			{ID: "1", DisplayName: "merged", RedirectIncidentID: "2"},
			{ID: "2", DisplayName: "kept", CustomTags: []string{"Demo"}, Comments: []azuretest.GraphComment{{Comment: "look", CreatedBy: "me"}}},
		},
		GraphAlerts: []azuretest.GraphAlert{{ID: "a", IncidentID: "2"}, {ID: "b", IncidentID: "2"}, {ID: "c"}},
	}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		plain := collect(t, c.Graph.Incidents(azure.GraphQuery{}))
		full := collect(t, c.Graph.IncidentsWithAlerts(azure.GraphQuery{Filter: azure.Equals("status", "active")}))
		if len(plain) != 2 || plain[0].Alerts != nil || len(full) != 1 || len(full[0].Alerts) != 2 || full[0].Alerts[1].ID != "b" || full[0].MoreAlerts {
			t.Fatalf("%+v, %+v", plain, full)
		}
		if k := full[0]; k.DisplayName != "kept" || !slices.Equal(k.CustomTags, []string{"Demo"}) || len(k.Comments) != 1 || k.Comments[0].Text != "look" || k.Comments[0].By != "me" {
			t.Errorf("%+v", k)
		}
		// One that was merged says with which.
		m, err := c.Graph.Incident(t.Context(), "1")
		if err != nil || m.Status != azure.GraphRedirected || m.RedirectID != "2" {
			t.Fatalf("%+v, %v", m, err)
		}
		if i, err := c.Graph.IncidentWithAlerts(t.Context(), m.RedirectID); err != nil || len(i.Alerts) != 2 {
			t.Errorf("%+v, %v", i, err)
		}
		if _, err := c.Graph.Incident(t.Context(), "3"); !errors.Is(err, azure.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		// What the samples of incidents have, and alerts that are not all there.
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: incidentsPath, Body: `{"id":"4","alerts":[7,{"id":"a"}],"alerts@odata.nextLink":"https://graph.microsoft.com/x",
			"comments":[{"comment":"Demo","createdBy":"DavidS","createdTime":"2021-09-30T12:07:37.2756993Z"}]}`})
		i, err := c.Graph.IncidentWithAlerts(t.Context(), "4")
		if err != nil || len(i.Alerts) != 2 || string(i.Alerts[0].Raw) != "7" || i.Alerts[1].ID != "a" || !i.MoreAlerts ||
			len(i.Comments) != 1 || i.Comments[0].By != "DavidS" || i.Comments[0].Created.Year() != 2021 {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

// More calls than Graph allows in a minute are spread out, not thrown at it.
func TestGraphQuotaIsKept(t *testing.T) {
	cloud(t, azuretest.Config{GraphAlerts: manyAlerts(1)}, func(cfg *azure.Config) { cfg.Policy.Total = 2 * time.Minute }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		begin := time.Now()
		for range 160 {
			if _, err := c.Graph.Alert(t.Context(), "da0_-0"); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range requests(srv, http.MethodGet, alertsPath) {
			if r.Status != 200 {
				t.Fatalf("HTTP %d", r.Status)
			}
		}
		if d := time.Since(begin); d < time.Second {
			t.Errorf("160 calls in %v", d)
		}
	})
}

// Several Graph services answer 429 without Retry-After.
func TestThrottledWithoutRetryAfter(t *testing.T) {
	cloud(t, azuretest.Config{GraphAlerts: manyAlerts(1), Graph: azuretest.Graph{Quota: 1, NoRetryAfter: true}}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		if _, err := c.Graph.Alert(t.Context(), "da0_-0"); err != nil {
			t.Fatal(err)
		}
		_, err := c.Graph.Alert(t.Context(), "da0_-0")
		api, ok := errors.AsType[*azure.APIError](err)
		if !ok || api.RetryAfter != 0 || resilience.Of(err).Class != resilience.Throttled || !strings.Contains(err.Error(), "1 per minute") {
			t.Errorf("got %v", err)
		}
		if c.Graph.Policy().State() != resilience.Closed {
			t.Error("being throttled opened the breaker")
		}
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Errorf("Graph's quota is not Defender's: %v", err)
		}
		if c.Policies()["azure.graph"] != c.Graph.Policy() {
			t.Error("the policy is not among the client's")
		}
	})
}

// The request's id is in the body where a gateway has dropped the header.
func TestGraphErrorsHaveTheRequestID(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		_, err := c.Graph.Alert(t.Context(), "nope")
		if api, ok := errors.AsType[*azure.APIError](err); !ok || api.RequestID == "" || !errors.Is(err, azure.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 400, Path: alertsPath, Body: `{"error":{"code":"BadRequest","message":"m","innerError":{"request-id":"r-1"}}}`})
		_, err = c.Graph.Alert(t.Context(), "nope")
		if api, ok := errors.AsType[*azure.APIError](err); !ok || api.RequestID != "r-1" {
			t.Errorf("got %v", err)
		}
	})
}
