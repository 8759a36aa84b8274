package falcontest

import (
	"fmt"
	"net/url"
	"testing"
	"time"
)

const casesPath = "/cases/entities/cases/v2"

func TestCasesOfTheStartAndLater(t *testing.T) {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	cfg := Config{}
	for i := range 3 {
		cfg.Cases = append(cfg.Cases, Case{ID: fmt.Sprint("c", i), Tags: []string{"all", fmt.Sprint("t", i)}, Created: begin.Add(time.Duration(i) * time.Hour)})
	}
	c := login(t, cfg)
	const query = "/cases/queries/cases/v1"
	equal(t, "the newest are first", c.get(query).ids(), []string{"c2", "c1", "c0"})
	r := c.get(query, "limit", "2", "offset", "1", "sort", "created_timestamp|asc")
	equal(t, "a page", r.ids(), []string{"c1", "c2"})
	equal(t, "total", r.Meta.Pagination.Total, 3)
	equal(t, "by tag", c.get(query, "filter", "tags:'t1'").ids(), []string{"c1"})
	equal(t, "by version", c.get(query, "filter", "version:>1").ids(), []string{})
	equal(t, "beyond the window", c.get(query, "offset", "9999", "limit", "2").status, 400)
	equal(t, "limit", c.get(query, "limit", "10001").status, 400)

	c.srv.AddCase(Case{ID: "c1", Name: "other", Version: 7})
	cases := c.srv.Cases()
	equal(t, "replaced", []any{len(cases), cases[1].Name, cases[1].Version, cases[1].Status}, []any{3, "other", 7, "new"})
	cases[0].Tags[0], cfg.Cases[0].Tags[1] = "changed", "changed"
	equal(t, "a copy", c.srv.Cases()[0].Tags, []string{"all", "t0"})
	if _, err := NewServer(Config{Cases: []Case{{Name: "n"}}}); err == nil {
		t.Error("a case without an ID")
	}
}

func TestCaseRequestsThatAreRefused(t *testing.T) {
	c := login(t, Config{Cases: []Case{{ID: "a"}}})
	type body = map[string]any
	for _, tc := range []struct {
		method string
		body   any
		want   int
	}{
		{"POST", body{"ids": []string{}}, 400},
		{"POST", body{"ids": make([]string, 1001)}, 400},
		{"PUT", body{"name": "n"}, 400},
		{"PUT", body{"severity": 1}, 400},
		{"PUT", body{"name": "n", "severity": 1, "status": "open"}, 400},
		{"PUT", "no JSON", 400},
		{"PATCH", body{"id": "a"}, 400},
		{"PATCH", body{"id": "a", "fields": body{"severity": 101}}, 400},
		{"PATCH", body{"id": "unknown", "fields": body{"severity": 1}}, 404},
		{"PATCH", body{"id": "a", "expected_version": 2, "fields": body{"severity": 1}}, 409},
	} {
		equal(t, fmt.Sprint(tc.method, tc.body), c.do(tc.method, casesPath, tc.body).status, tc.want)
	}
	if one := c.srv.Cases()[0]; one.Version != 1 || one.Severity != 0 || len(c.srv.Cases()) != 1 {
		t.Errorf("changed: %+v", one)
	}
}

// What belongs to one customer of a parent is not there for another.
func TestCasesOfAnotherCustomer(t *testing.T) {
	const child, other = "5eed0000000000000000000000000c1e", "5eed0000000000000000000000000c1f"
	c := start(t, Config{Hosts: []Host{{CID: child}}, Cases: []Case{{ID: "a", CID: other}}})
	c.login(url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}, "member_cid": {child}})
	equal(t, "listed", c.get("/cases/queries/cases/v1").ids(), []string{})
	equal(t, "read", c.post(casesPath, map[string]any{"ids": []string{"a"}}).codes(), []int{404})
	equal(t, "changed", c.do("DELETE", "/cases/entities/case-tags/v1?id=a&tag=t", nil).status, 404)
	equal(t, "opened", c.do("PUT", casesPath, map[string]any{"name": "n", "severity": 1}).status, 201)
	equal(t, "whose", c.srv.Cases()[0].CID, child)
}

func TestServicesThatAreGone(t *testing.T) {
	c := login(t, Config{})
	equal(t, "detects", c.get("/detects/queries/detects/v1").status, 405)
	equal(t, "incidents", c.get("/incidents/queries/incidents/v1").status, 404)
}
