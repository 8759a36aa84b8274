package azuretest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestIncidentPUTReplacesWhatIsThere(t *testing.T) {
	c := start(t, Config{}).signInTo("https://management.azure.com")
	path := incidentsPath + "/" + guid("i") + version
	put := func(body string) reply { t.Helper(); return c.do(http.MethodPut, path, body) }
	made := put(`{"properties":{"title":"x","severity":"High","status":"New","description":"d","color":"red","incidentNumber":99}}`)
	p, _ := made.body["properties"].(map[string]any)
	if made.status != 201 || p["incidentNumber"] != 1.0 || p["color"] != "red" || p["providerName"] != "Azure Sentinel" {
		t.Fatalf("%d %s", made.status, made.raw)
	}
	etag := made.body["etag"]
	with := func(etag any) string {
		raw, _ := json.Marshal(etag)
		return fmt.Sprintf(`{"etag":%s,%s`, raw, incidentBody[1:])
	}
	replaced := put(with(etag))
	if replaced.status != 200 || strings.Contains(replaced.raw, "color") || replaced.body["etag"] == etag {
		t.Errorf("%d %s", replaced.status, replaced.raw)
	}
	if r := put(with(etag)); r.status != 412 {
		t.Errorf("a stale etag: %d %s", r.status, r.raw)
	}
	if r := put(incidentBody); r.status != 200 {
		t.Errorf("no etag: %d %s", r.status, r.raw)
	}
	if r := c.do(http.MethodPut, incidentsPath+"/"+guid("none")+version, with(etag)); r.status != 412 {
		t.Errorf("an etag of nothing: %d %s", r.status, r.raw)
	}
	for _, bad := range []string{
		`{}`, `{"properties":{}}`, `x`,
		`{"properties":{"title":"x","severity":"Bad","status":"New"}}`,
		`{"properties":{"title":"x","severity":"High","status":"new"}}`,
		`{"properties":{"title":"x","severity":"High","status":"Closed","classification":"Bad"}}`,
		`{"properties":{"title":"x","severity":"High","status":"Closed","classificationReason":"Bad"}}`,
	} {
		if r := put(bad); r.status != 400 || r.code() != "BadRequest" {
			t.Errorf("%s: %d %s", bad, r.status, r.raw)
		}
	}
	if r := c.do(http.MethodPut, incidentsPath+"/x"+version, incidentBody); r.status != 400 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if a, b := c.do(http.MethodDelete, path, ""), c.do(http.MethodDelete, path, ""); a.status != 200 || b.status != 204 {
		t.Errorf("%d, %d", a.status, b.status)
	}
}

func TestCommentsAreEditedAndDeleted(t *testing.T) {
	c := start(t, Config{}).signInTo("https://management.azure.com")
	id := c.AddSentinelIncident(SentinelIncident{})
	path := incidentsPath + "/" + id + "/comments/" + guid("c") + version
	first, second := c.do(http.MethodPut, path, `{"properties":{"message":"a"}}`), c.do(http.MethodPut, path, `{"properties":{"message":"b"}}`)
	got := c.get(path)
	if first.status != 201 || second.status != 200 || got.status != 200 || !strings.Contains(got.raw, `"message":"b"`) || len(c.SentinelIncidents(WorkspaceName)[0].Comments) != 1 {
		t.Errorf("%d, %d, %s", first.status, second.status, got.raw)
	}
	if r := c.do(http.MethodPut, path, `{"properties":{}}`); r.status != 400 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := c.do(http.MethodPut, incidentsPath+"/"+id+"/comments/x"+version, `{"properties":{"message":"a"}}`); r.status != 400 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if a, b, gone := c.do(http.MethodDelete, path, ""), c.do(http.MethodDelete, path, ""), c.get(path); a.status != 200 || b.status != 204 || gone.status != 404 {
		t.Errorf("%d, %d, %d", a.status, b.status, gone.status)
	}
}

func TestUploadsAreCheckedAndCounted(t *testing.T) {
	const path = "/workspaces/" + WorkspaceID + "/threat-intelligence-stix-objects:upload"
	const query = "?api-version=2024-02-01-preview"
	object := `{"type":"identity","id":"identity--1","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z"}`
	body := func(source string, n int) string {
		return `{"sourcesystem":"` + source + `","stixobjects":[` + strings.TrimSuffix(strings.Repeat(object+",", n), ",") + `]}`
	}
	c := start(t, Config{Sentinel: Sentinel{UploadQuota: 5}}).signInTo("https://management.azure.com")
	if r := c.post(path+query, body("x", 2)); r.status != 200 || r.raw != "" || len(c.STIX(WorkspaceID)) != 1 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	for _, bad := range []string{body("", 1), body("microsoft sentinel", 1), body("x", 0), body("x", 101)} {
		if r := c.post(path+query, bad); r.status != 400 {
			t.Errorf("%.80s: %d %s", bad, r.status, r.raw)
		}
	}
	if r := c.post(path+query, body("x", 1)); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := c.post(path, body("x", 1)); r.status != 400 {
		t.Errorf("no version: %d %s", r.status, r.raw)
	}
	if r := c.post("/workspaces/"+guid("w")+"/threat-intelligence-stix-objects:upload"+query, body("x", 1)); r.status != 404 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	reader := start(t, Config{ARM: ARM{Roles: []string{"Microsoft Sentinel Responder"}}}).signInTo("https://management.core.windows.net/")
	if r := reader.post(path+query, body("x", 1)); r.status != 403 || len(reader.STIX(WorkspaceID)) > 0 {
		t.Errorf("%d %s", r.status, r.raw)
	}
}
