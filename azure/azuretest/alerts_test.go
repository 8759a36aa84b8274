package azuretest

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAlertsOverTheWire(t *testing.T) {
	begin := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	c := start(t, Config{Alerts: []DefenderAlert{
		{ID: "a1", Severity: "High", IncidentID: 7, Created: begin, Evidence: []map[string]any{{"entityType": "Ip"}}},
		{Created: begin.Add(time.Hour), Status: "Resolved", AssignedTo: "amy"},
	}}).signIn()
	for filter, want := range map[string]int{
		"": 2, "severity eq 'High'": 1, "incidentId eq 7": 1, "incidentId eq null": 1, "assignedTo eq 'amy' and status eq 'Resolved'": 1,
		"alertCreationTime gt 2026-11-20T09:30:00Z": 1, "lastUpdateTime ge 2026-11-20T09:30:00Z": 2,
	} {
		path := "/api/alerts"
		r := c.get(path)
		if filter != "" {
			r = c.list(path, filter)
		}
		if r.status != 200 || len(r.ids()) != want {
			t.Errorf("%s: %d %s", filter, r.status, r.raw)
		}
	}
	if r := c.get("/api/alerts?$expand=evidence&$top=1"); !strings.Contains(r.raw, `"evidence":[{"entityType":"Ip"}]`) || !strings.Contains(r.raw, "$expand=evidence") {
		t.Error(r.raw)
	}
	if r := c.get("/api/alerts"); strings.Contains(r.raw, "Ip") || !strings.Contains(r.raw, `"incidentId":null`) {
		t.Error(r.raw)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/api/alerts?$expand=machine", "", 400, "ODataError"},
		{"GET", "/api/machines?$expand=evidence", "", 400, "ODataError"},
		{"PATCH", "/api/alerts/a1", `{"Status":"New"}`, 400, "InvalidRequestBody"},
		{"PATCH", "/api/alerts/a1", `{"status":1}`, 400, "InvalidRequestBody"},
		{"PATCH", "/api/alerts/a1", `{}`, 400, "InvalidRequestBody"},
		{"PATCH", "/api/alerts/a1", `[]`, 400, "InvalidRequestBody"},
		{"PATCH", "/api/alerts/a2", `{"status":"New"}`, 404, "ResourceNotFound"},
		{"POST", "/api/alerts/batchUpdate", `{"AlertIds":["a1"],"status":"New"}`, 400, "MissingRequiredParameter"},
		{"POST", "/api/alerts/batchUpdate", `{"alertIds":["a1","a2"],"status":"Resolved"}`, 404, "ResourceNotFound"},
	} {
		if r := c.do(tc.method, tc.path, tc.body); r.status != tc.status || r.code() != tc.code {
			t.Errorf("%s %s: %d %s", tc.path, tc.body, r.status, r.raw)
		}
	}
	if c.Alerts()[0].Status != "New" {
		t.Error("a refused change changed")
	}
	r := c.do("PATCH", "/api/alerts/a1", `{"status":"Resolved","comment":"x"}`)
	if r.status != 200 || !strings.Contains(r.raw, `#Alerts/$entity`) || len(c.Alerts()[0].Comments) != 1 || c.Alerts()[0].Resolved.IsZero() {
		t.Error(r.raw)
	}
	if r := c.post("/api/alerts/batchUpdate", `{"alertIds":["a1"],"status":"New"}`); r.status != 200 || r.raw != "" {
		t.Errorf("%d %q", r.status, r.raw)
	}
	c.Retire(http.StatusGone)
	if r := c.get("/api/alerts"); r.status != 410 {
		t.Error(r.raw)
	}
	c.Retire(http.StatusNotFound)
	if r := c.do("PATCH", "/api/alerts/a1", `{"status":"New"}`); r.status != 404 || r.code() != "NotFound" {
		t.Error(r.raw)
	}
	if r := c.get("/api/indicators"); r.status != 200 {
		t.Error(r.raw)
	}
}

// Each operation counts for itself, and some are allowed less.
func TestQuotasOfSingleOperations(t *testing.T) {
	for name, tc := range map[string]struct {
		method, path, body string
		minute             int
	}{
		"uri":    {"GET", "/api/machineactions/x/GetPackageUri", "", 2},
		"batch":  {"POST", "/api/alerts/batchUpdate", "{}", 10},
		"import": {"POST", "/api/indicators/import", "{}", 30},
		"delete": {"POST", "/api/indicators/BatchDelete", "{}", 30},
		"alerts": {"GET", "/api/alerts", "", 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			for _, cfg := range []Config{{}, {MinuteQuota: 5}, {MinuteQuota: -1}} {
				cfg.InMemory = true
				c := start(t, cfg).signIn()
				want := tc.minute
				if cfg.MinuteQuota > 0 {
					want = min(want, cfg.MinuteQuota)
				}
				n := 0
				for n < 101 && c.do(tc.method, tc.path, tc.body).status != http.StatusTooManyRequests {
					n++
				}
				if cfg.MinuteQuota < 0 {
					want = 101
				}
				if n != want {
					t.Errorf("%s, %d: %d calls", name, cfg.MinuteQuota, n)
				}
				c.Close()
			}
		})
	}
}
