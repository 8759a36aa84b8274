package azuretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func startGraph(t *testing.T, cfg Config) *tester {
	t.Helper()
	c := start(t, cfg)
	form := tokenForm()
	form.Set("scope", "https://graph.microsoft.com/.default")
	r := c.tokenRequest(form)
	if r.status != http.StatusOK {
		t.Fatalf("token: %d %s", r.status, r.raw)
	}
	c.bearer = r.body["access_token"].(string)
	return c
}

func TestGraphAlertShape(t *testing.T) {
	at := time.Date(2026, 11, 20, 9, 30, 0, 123456700, time.UTC)
	c := startGraph(t, Config{GraphAlerts: []GraphAlert{{ID: "a", IncidentID: "28282", Created: at, Evidence: []map[string]any{{"@odata.type": "#x"}}}}})
	want := `{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#security/alerts_v2/$entity","id":"a","providerAlertId":"a","incidentId":"28282",` +
		`"status":"new","severity":"medium","classification":"unknown","determination":"unknown","serviceSource":"microsoftDefenderForEndpoint",` +
		`"detectionSource":"microsoftDefenderForEndpoint","detectorId":null,"tenantId":"` + TenantID + `","title":null,"description":null,"recommendedActions":"",` +
		`"category":null,"assignedTo":null,"alertWebUrl":"https://security.microsoft.com/alerts/a?tid=` + TenantID + `",` +
		`"incidentWebUrl":"https://security.microsoft.com/incidents/28282?tid=` + TenantID + `","actorDisplayName":null,"threatDisplayName":null,` +
		`"mitreTechniques":[],"createdDateTime":"2026-11-20T09:30:00.1234567Z","lastUpdateDateTime":"2026-11-20T09:30:00.1234567Z","resolvedDateTime":null,` +
		`"firstActivityDateTime":"2026-11-20T09:30:00.1234567Z","lastActivityDateTime":"2026-11-20T09:30:00.1234567Z","comments":[],"evidence":[{"@odata.type":"#x"}],"systemTags":[]}` + "\n"
	r := c.get("https://graph.microsoft.com/v1.0/security/alerts_v2/a")
	if r.raw != want || r.header.Get("Request-Id") == "" {
		t.Errorf("got  %s\nwant %s", r.raw, want)
	}
}

func TestGraphQueryOptions(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	var alerts []GraphAlert
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		alerts = append(alerts, GraphAlert{ID: id, Created: at.Add(time.Duration(-i) * time.Hour), Severity: map[bool]string{true: "High", false: "low"}[i < 3]})
	}
	c := startGraph(t, Config{GraphAlerts: alerts, GraphIncidents: []GraphIncident{{Created: at}, {Created: at.Add(time.Hour)}}, Graph: Graph{PageSize: 2}})
	const root = "/v1.0/security/alerts_v2"
	r := c.get(root + "?$count=true&$filter=severity%20eq%20'high'")
	next, _ := r.body["@odata.nextLink"].(string)
	if !slices.Equal(r.ids(), []string{"a", "b"}) || r.body["@odata.count"] != 3.0 || !strings.Contains(next, "$skiptoken=") {
		t.Fatal(r.raw)
	}
	if r := c.get(next); !slices.Equal(r.ids(), []string{"c"}) || r.body["@odata.nextLink"] != nil {
		t.Error(r.raw)
	}
	if r := c.get(root + "?$skip=1&$top=1"); !slices.Equal(r.ids(), []string{"b"}) || r.body["@odata.count"] != nil {
		t.Error(r.raw)
	} else if r = c.get(r.body["@odata.nextLink"].(string)); !slices.Equal(r.ids(), []string{"c"}) {
		t.Errorf("after $skip: %s", r.raw)
	}
	if r := c.get("/v1.0/security/incidents"); !slices.Equal(r.ids(), []string{"1002", "1001"}) {
		t.Error(r.raw)
	}
	for _, query := range []string{"$expand=alerts", "$orderby=severity", "$skiptoken=3", "$skiptoken=at-x", "$filter=title%20eq%20'x'"} {
		if r := c.get(root + "?" + query); r.status != http.StatusBadRequest || r.code() != "BadRequest" {
			t.Errorf("%s: %d %s", query, r.status, r.raw)
		}
	}
	if r := c.get("/v1.0/security/incidents?$expand=comments"); r.status != http.StatusBadRequest {
		t.Errorf("%d %s", r.status, r.raw)
	}
}

func TestGraphRefusals(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c := startGraph(t, Config{Now: func() time.Time { return now }, GraphAlerts: []GraphAlert{{ID: "a"}}, GraphIncidents: []GraphIncident{{ID: "1"}}})
	const alert, incident, comment = "/v1.0/security/alerts_v2/a", "/v1.0/security/incidents/1", `{"@odata.type":"microsoft.graph.security.alertComment","comment":"x"}`
	for _, tc := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"PATCH", alert, `{}`, 400, "BadRequest"},
		{"PATCH", alert, `{"title":"x"}`, 400, "BadRequest"},
		{"PATCH", alert, `{"status":"active"}`, 400, "BadRequest"},
		{"PATCH", alert, `{"status":7}`, 400, "BadRequest"},
		{"PATCH", alert, `{"assignedTo":7}`, 400, "BadRequest"},
		{"PATCH", alert, `{"customTags":[]}`, 400, "BadRequest"},
		{"PATCH", incident, `{"customTags":null}`, 400, "BadRequest"},
		{"PATCH", incident, `{"status":"new"}`, 400, "BadRequest"},
		{"PATCH", "/v1.0/security/alerts_v2/z", `{"status":"new"}`, 404, "NotFound"},
		{"PATCH", "/v1.0/security/incidents/z", `{"status":"active"}`, 404, "NotFound"},
		{"POST", alert + "/comments", `{"comment":"x"}`, 400, "BadRequest"},
		{"POST", alert + "/comments", `{"@odata.type":"microsoft.graph.security.alertComment"}`, 400, "BadRequest"},
		{"POST", "/v1.0/security/alerts_v2/z/comments", comment, 404, "NotFound"},
		{"POST", "/v1.0/security/incidents/z/comments", comment, 404, "NotFound"},
		{"POST", "/v1.0/security/runHuntingQuery", `{"Query":" "}`, 400, "BadRequest"},
		{"GET", "/v1.0/security/alerts", "", 404, "NotFound"},
		{"PATCH", alert, `{"@odata.type":"#microsoft.graph.security.alert","status":"RESOLVED"}`, 200, ""},
		{"POST", incident + "/comments", comment, 200, ""},
	} {
		r := c.do(tc.method, tc.path, tc.body)
		if r.status != tc.status || r.code() != tc.code {
			t.Errorf("%s %s %s: %d %s", tc.method, tc.path, tc.body, r.status, r.raw)
		}
		if inner, _ := r.body["error"].(map[string]any); tc.status != 200 {
			id, _ := inner["innerError"].(map[string]any)["request-id"].(string)
			if id == "" || r.header.Get("Request-Id") != id {
				t.Errorf("request id in %s and %q", r.raw, r.header.Get("Request-Id"))
			}
		}
	}
	if a := c.GraphAlerts()[0]; a.Status != "resolved" || !a.Resolved.Equal(now) {
		t.Errorf("%+v", a)
	}
	c.do("PATCH", alert, `{"status":"new"}`)
	if a := c.GraphAlerts()[0]; !a.Resolved.IsZero() {
		t.Errorf("open again: %+v", a)
	}
	c.bearer = ""
	if r := c.get(alert); r.status != 401 || r.code() != "InvalidAuthenticationToken" {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := c.signIn().get(alert); r.status != 403 || !strings.Contains(r.raw, "audience") {
		t.Errorf("a token for Defender: %d %s", r.status, r.raw)
	}
}

// The vendor counts what is done to alerts together, and hunts by themselves.
func TestGraphQuotas(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c := startGraph(t, Config{Now: func() time.Time { return now }, GraphAlerts: []GraphAlert{{ID: "a"}}, Graph: Graph{Quota: 2, HuntQuota: 1}})
	const hunt = "/v1.0/security/runHuntingQuery"
	c.get("/v1.0/security/alerts_v2/a")
	c.get("/v1.0/security/incidents")
	if r := c.get("/v1.0/security/alerts_v2"); r.status != 429 || r.header.Get("Retry-After") != "60" {
		t.Errorf("%d %s %s", r.status, r.header, r.raw)
	}
	if r := c.post(hunt, `{"Query":"x"}`); r.status != 200 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := c.post(hunt, `{"Query":"x"}`); r.status != 429 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	c = startGraph(t, Config{Graph: Graph{Quota: 1, NoRetryAfter: true}})
	c.get("/v1.0/security/incidents")
	if r := c.get("/v1.0/security/incidents"); r.status != 429 || r.header["Retry-After"] != nil {
		t.Errorf("%d %s", r.status, r.header)
	}
	c = startGraph(t, Config{Graph: Graph{Quota: -1, HuntQuota: -1}})
	for range 200 {
		if r := c.post(hunt, `{"Query":"x"}`); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.raw)
		}
	}
	if r := c.get("/v1.0/security/alerts_v2"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.raw)
	}
}

func TestGraphFromTheTestSide(t *testing.T) {
	evidence := []map[string]any{DeviceEvidence("m1", "ws-042")}
	tags := []string{"t"}
	c := startGraph(t, Config{GraphAlerts: []GraphAlert{{Evidence: evidence}}})
	c.AddGraphIncident(GraphIncident{ID: "7", CustomTags: tags})
	evidence[0]["mdeDeviceId"], tags[0] = "changed behind the server's back", "changed"
	a := c.GraphAlerts()[0]
	a.Evidence[0]["verdict"] = "changed by the test"
	again := c.GraphAlerts()[0]
	if again.ID == "" || again.Evidence[0]["mdeDeviceId"] != "m1" || again.Evidence[0]["verdict"] != "unknown" || c.GraphIncidents()[0].CustomTags[0] != "t" {
		t.Errorf("%+v", again)
	}
	c.AddGraphAlert(GraphAlert{ID: again.ID, Title: "replaced"})
	c.AddGraphIncident(GraphIncident{ID: "7", Status: "resolved"})
	if all := c.GraphAlerts(); len(all) != 1 || all[0].Title != "replaced" || len(c.GraphIncidents()) != 1 || c.GraphIncidents()[0].Status != "resolved" {
		t.Errorf("%+v", all)
	}
}

func TestHuntCasing(t *testing.T) {
	table := HuntTable{Columns: []HuntColumn{{"N", "Int64"}}, Rows: []map[string]any{{"N": json.Number("9007199254740993")}}}
	c := startGraph(t, Config{Hunt: func(q string) HuntTable {
		t := table
		t.Upper = q == "upper"
		if q == "bad" {
			return HuntTable{Status: 400, Message: "A syntax error"}
		}
		return t
	}})
	for query, want := range map[string]string{
		"upper": `{"Results":[{"N":9007199254740993}],"Schema":[{"Name":"N","Type":"Int64"}]}`,
		"lower": `"results":[{"N":9007199254740993}],"schema":[{"name":"N","type":"Int64"}]}`,
		"bad":   "A syntax error",
	} {
		if r := c.post("/v1.0/security/runHuntingQuery", `{"Query":"`+query+`"}`); !strings.Contains(r.raw, want) {
			t.Errorf("%s: %s", query, r.raw)
		}
	}
}
