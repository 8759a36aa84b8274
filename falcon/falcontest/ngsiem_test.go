package falcontest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const searchAll = "/humio/api/v1/repositories/search-all/queryjobs"

// job starts a search and returns its path.
func (c *client) job(query string) string {
	c.t.Helper()
	r := c.post(searchAll, map[string]string{"queryString": query, "start": "1d"})
	var started struct{ ID string }
	if err := json.Unmarshal(r.raw, &started); err != nil || r.status != http.StatusOK || started.ID == "" {
		c.t.Fatalf("%d %s", r.status, r.raw)
	}
	return searchAll + "/" + started.ID
}

// progress is what a poll says, in short.
func (c *client) progress(path string) string {
	c.t.Helper()
	r := c.get(path)
	var p struct {
		Done, Cancelled bool
		Events          []any
		MetaData        struct {
			EventCount, WorkDone, PollAfter int
			ExtraData                       struct{ HasMoreEvents string }
		}
	}
	if r.status == http.StatusOK {
		if err := json.Unmarshal(r.raw, &p); err != nil {
			c.t.Fatal(err)
		}
	}
	m := p.MetaData
	return strings.TrimSpace(fmt.Sprintln(r.status, p.Done, p.Cancelled, len(p.Events), m.EventCount, m.WorkDone, m.PollAfter, m.ExtraData.HasMoreEvents))
}

func TestSearchJobs(t *testing.T) {
	events := make([]json.RawMessage, 300)
	for i := range events {
		events[i] = json.RawMessage(`{}`)
	}
	cfg := Config{Search: func(s Search) SearchResult {
		return SearchResult{Events: events, Takes: 10 * time.Second, Cancelled: s.Query == "cancelled", PollAfter: 1500 * time.Millisecond}
	}}
	bubble(t, cfg, func(c *client) {
		job, cancelled := c.job("*"), c.job("cancelled")
		for _, want := range []string{
			"200 false false 0 0 0 1500 false", "200 false false 150 150 50 1500 false", "200 true false 200 300 100 1500 true",
		} {
			equal(c.t, "progress", c.progress(job), want)
			time.Sleep(5 * time.Second)
		}
		equal(c.t, "cancelled", c.progress(cancelled), "200 false true 150 150 50 1500 false")
		// A job that is not polled is gone, one that is lives on.
		equal(c.t, "polls", c.srv.Searches()[0].Polls, 3)
		other := strings.Replace(job, "search-all", "third-party", 1)
		equal(c.t, "in another repository", c.get(other).status, http.StatusNotFound)
		time.Sleep(20 * time.Second)
		equal(c.t, "after 25 s", c.get(job).status, http.StatusOK)
		time.Sleep(30 * time.Second)
		equal(c.t, "after 30 s", c.get(job).status, http.StatusNotFound)
		// So is one that was stopped; stopping it again is no error.
		stopped := c.job("*")
		for range 2 {
			equal(c.t, "stop", c.do("DELETE", stopped, nil).status, http.StatusOK)
		}
		equal(c.t, "stopped", c.get(stopped).status, http.StatusNotFound)
		equal(c.t, "Stopped", c.srv.Searches()[2].Stopped, true)
	})
}

func TestSearchRefusals(t *testing.T) {
	c := login(t, Config{Search: func(Search) SearchResult { return SearchResult{Events: []json.RawMessage{json.RawMessage(`{`)}} }})
	for body, want := range map[string]int{
		`{`:                                      400,
		`{"queryString":" "}`:                    400,
		`{"queryString":"*","start":"tomorrow"}`: 400,
		`{"queryString":"*","end":"2026-11-01"}`: 400,
		`{"queryString":"*","isLive":true}`:      400,
		`{"queryString":"*","start":"24hours"}`:  500, // the configured event is no JSON
	} {
		equal(t, body, c.post(searchAll, body).status, want)
	}
	equal(t, "jobs", len(c.srv.Searches()), 0)
	for scope, want := range map[string][]int{"ngsiem:read": {403, 404, 403}, "ngsiem:write": {200, 403, 200}} {
		c := login(t, Config{Scopes: []string{scope}})
		got := []int{
			c.post(searchAll, `{"queryString":"*"}`).status,
			c.get(searchAll + "/x").status, c.do("DELETE", searchAll+"/x", nil).status,
		}
		equal(t, scope, got, want)
	}
}
