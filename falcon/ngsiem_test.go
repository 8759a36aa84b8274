package falcon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/ngsiem"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const humio = "/humio/api/v1/repositories/"

// logged is a SIEM whose searches all find the same.
func logged(r falcontest.SearchResult) falcontest.Config {
	return falcontest.Config{Search: func(falcontest.Search) falcontest.SearchResult { return r }}
}

func logins(n int) (out []json.RawMessage) {
	for i := range n {
		out = append(out, json.RawMessage(fmt.Sprintf(`{"@id":"%d","#event_simpleName":"UserLogon"}`, i)))
	}
	return out
}

// polls is how often the searches were asked about.
func polls(s *falcontest.Server) (n int) {
	for _, j := range s.Searches() {
		n += j.Polls
	}
	return n
}

func deletes(s *falcontest.Server) (n int) {
	for _, r := range s.Requests() {
		if r.Method == http.MethodDelete {
			n++
		}
	}
	return n
}

var anything = falcon.NGSIEMQuery{Query: "*"}

func TestSearch(t *testing.T) {
	warning := falcontest.SearchWarning{Category: "Slow", Code: "x-1", Message: "a shard is slow"}
	server := logged(falcontest.SearchResult{Events: logins(3), Takes: 3 * time.Second, Warnings: []falcontest.SearchWarning{warning}})
	cloud(t, server, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		end := time.Date(2026, 11, 2, 0, 0, 0, 5e6, time.UTC)
		r, err := c.NGSIEM.Query(t.Context(), falcon.NGSIEMQuery{
			Repository: "third-party", Query: "UserName=?user", Arguments: map[string]string{"user": `a"<b>`}, End: end,
		})
		if err != nil || len(r.Events) != 3 || r.EventCount != 3 || r.WorkDone != 100 || r.TotalWork != 100 || r.ProcessedEvents != 3 || r.Aggregate {
			t.Fatalf("%+v, %v", r, err)
		}
		var last struct {
			ID string `json:"@id"`
		}
		if err := json.Unmarshal(r.Events[2], &last); err != nil || last.ID != "2" {
			t.Errorf("%s, %v", r.Events[2], err)
		}
		if len(r.Warnings) != 1 || r.Warnings[0] != (falcon.NGSIEMWarning{Category: "Slow", Code: "x-1", Message: "a shard is slow"}) {
			t.Errorf("warnings %+v", r.Warnings)
		}
		if deletes(srv) != 0 {
			t.Error("a search that was done was stopped")
		}
		var sent []string // as gofalcon wrote it
		for _, req := range srv.Requests() {
			if req.Method == http.MethodPost && req.Path == humio+"third-party/queryjobs" {
				sent = append(sent, strings.TrimSpace(string(req.Body)))
			}
		}
		want := `{"arguments":{"user":"a\"<b>"},"end":"1793577600005","queryString":"UserName=?user","start":"1793491200005"}`
		if len(sent) != 1 || sent[0] != want {
			t.Errorf("sent %s", sent)
		}
	})
}

func TestSearchTimes(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	for _, tc := range []struct {
		q          falcon.NGSIEMQuery
		start, end string
	}{
		{falcon.NGSIEMQuery{Query: "*"}, "1d", ""},
		{falcon.NGSIEMQuery{Query: "*", Start: at}, "1700000000000", ""},
		{falcon.NGSIEMQuery{Query: "*", Start: at, End: at.Add(time.Minute)}, "1700000000000", "1700000060000"},
		{falcon.NGSIEMQuery{Query: "*", End: at}, "1699913600000", "1700000000000"},
	} {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			if _, err := c.NGSIEM.Query(t.Context(), tc.q); err != nil {
				t.Fatal(err)
			}
			if j := srv.Searches()[0]; j.Start != tc.start || j.End != tc.end || j.Repository != "search-all" {
				t.Errorf("got %+v, want %s to %s", j, tc.start, tc.end)
			}
		})
	}
}

// The cloud says how soon to ask again; what it says is bounded.
func TestPollAfterIsHonoured(t *testing.T) {
	for _, tc := range []struct {
		after time.Duration
		polls int // of a search of 30 s: one at once, the others after each wait
	}{
		{3 * time.Second, 11}, {time.Millisecond, 151}, {time.Hour, 4},
	} {
		server := logged(falcontest.SearchResult{Takes: 30 * time.Second, PollAfter: tc.after})
		cloud(t, server, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			if _, err := c.NGSIEM.Query(t.Context(), anything); err != nil || polls(srv) != tc.polls {
				t.Errorf("after %v: %d polls, want %d; %v", tc.after, polls(srv), tc.polls, err)
			}
		})
	}
	// One poll a second if it says nothing, or nonsense.
	for _, after := range []string{`null`, `-5`, `"soon"`, `9223372036854775807`} {
		cloud(t, logged(falcontest.SearchResult{Takes: time.Hour}), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			body := `{"done":false,"events":[],"metaData":{"pollAfter":` + after + `}}`
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: "GET", Path: humio, Status: 200, Body: body})
			ctx, cancel := context.WithTimeout(t.Context(), 20500*time.Millisecond)
			defer cancel()
			_, err := c.NGSIEM.Query(ctx, anything)
			n, want := len(srv.Requests())-3, 21 // but for the token, the start and the stop
			if strings.HasPrefix(after, "9") {
				want = 3
			}
			if !errors.Is(err, context.DeadlineExceeded) || n != want {
				t.Errorf("%s: %d polls, %v", after, n, err)
			}
		})
	}
}

// Nothing is left running: not when the caller leaves, not when a poll fails, and
// not by a client that may only read.
func TestALeftSearchIsStopped(t *testing.T) {
	endless := logged(falcontest.SearchResult{Takes: time.Hour})
	readOnly := func(cfg *falcon.Config) { cfg.ReadOnly = true }
	t.Run("the caller leaves", func(t *testing.T) {
		cloud(t, endless, readOnly, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
			defer cancel()
			begin := time.Now()
			_, err := c.NGSIEM.Query(ctx, anything)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 5500*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			if j := srv.Searches(); len(j) != 1 || !j[0].Stopped {
				t.Errorf("left behind: %+v", j)
			}
		})
	})
	t.Run("the caller leaves during a poll", func(t *testing.T) {
		cloud(t, endless, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Method: "GET", Path: humio})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.NGSIEM.Query(ctx, anything); !errors.Is(err, context.DeadlineExceeded) || !srv.Searches()[0].Stopped {
				t.Errorf("got %v, %+v", err, srv.Searches())
			}
		})
	})
	t.Run("and nothing answers", func(t *testing.T) {
		cloud(t, endless, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: humio + "search-all/queryjobs/"})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			_, err := c.NGSIEM.Query(ctx, anything)
			if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
	t.Run("a poll fails", func(t *testing.T) {
		cloud(t, endless, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: "GET", Path: humio})
			_, err := c.NGSIEM.Query(t.Context(), anything)
			if resilience.Of(err).Class != resilience.Unavailable || !srv.Searches()[0].Stopped {
				t.Errorf("got %v, %+v", err, srv.Searches())
			}
		})
	})
}

// What the search did not show is told, and what it showed is there.
func TestAPartialSearchSaysSo(t *testing.T) {
	for name, tc := range map[string]struct {
		result falcontest.SearchResult
		body   string // instead
		want   error
		rows   int
	}{
		"cut":                  {result: falcontest.SearchResult{Events: logins(201)}, want: falcon.ErrTruncated, rows: 200},
		"not cut":              {result: falcontest.SearchResult{Events: logins(200)}, rows: 200},
		"an aggregate, cut":    {result: falcontest.SearchResult{Events: logins(1501), Aggregate: true}, want: falcon.ErrTruncated, rows: 1500},
		"only the flag says":   {body: `{"done":true,"events":[{}],"metaData":{"eventCount":1,"extraData":{"hasMoreEvents":"true"}}}`, want: falcon.ErrTruncated, rows: 1},
		"a flag of a boolean":  {body: `{"done":true,"events":[{}],"metaData":{"eventCount":1,"extraData":{"hasMoreEvents":true}}}`, want: falcon.ErrTruncated, rows: 1},
		"only the count says":  {body: `{"done":true,"events":[{}],"metaData":{"eventCount":2}}`, want: falcon.ErrTruncated, rows: 1},
		"cancelled":            {result: falcontest.SearchResult{Events: logins(100), Takes: 10 * time.Second, Cancelled: true}, want: falcon.ErrSearchCancelled, rows: 50},
		"cancelled and done":   {body: `{"done":true,"cancelled":true,"events":[{}]}`, want: falcon.ErrSearchCancelled, rows: 1},
		"none and no metaData": {body: `{"done":true,"events":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			cloud(t, logged(tc.result), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				if tc.body != "" {
					srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: "GET", Path: humio, Status: 200, Body: tc.body})
				}
				r, err := c.NGSIEM.Query(t.Context(), anything)
				if !errors.Is(err, tc.want) || len(r.Events) != tc.rows {
					t.Errorf("%d rows, %v", len(r.Events), err)
				}
			})
		})
	}
}

func TestAnswersThatAreNotASearch(t *testing.T) {
	for name, tc := range map[string]struct {
		method, body string
		class        resilience.Class
	}{
		"started without an id":  {"POST", `{"hashedQueryOnView":"x"}`, resilience.Malformed},
		"start: errors in a 200": {"POST", `{"meta":{},"errors":[{"code":403,"message":"no"}]}`, resilience.Denied},
		"start: html":            {"POST", `<html>`, resilience.Malformed},
		"no done":                {"GET", `{"events":[],"metaData":{}}`, resilience.Malformed},
		"an envelope":            {"GET", `{"meta":{},"resources":[{}]}`, resilience.Malformed},
		"errors in a 200":        {"GET", `{"meta":{},"errors":[{"code":429,"message":"slow down"}]}`, resilience.Throttled},
		"done, without events":   {"GET", `{"done":true,"metaData":{}}`, resilience.Malformed},
		"events are no list":     {"GET", `{"done":true,"events":{"a":1}}`, resilience.Malformed},
		"empty":                  {"GET", ``, resilience.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: tc.method, Path: humio, Status: 200, Body: tc.body})
				if _, err := c.NGSIEM.Query(t.Context(), anything); err == nil || resilience.Of(err).Class != tc.class {
					t.Errorf("got %v (%v)", err, resilience.Of(err).Class)
				}
			})
		})
	}
	// A warning of another shape is a warning all the same.
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		body := `{"done":true,"events":[],"warnings":["a shard is gone",{"message":"m"}]}`
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: "GET", Path: humio, Status: 200, Body: body})
		r, err := c.NGSIEM.Query(t.Context(), anything)
		if err != nil || len(r.Warnings) != 2 || r.Warnings[0].Message != `"a shard is gone"` || r.Warnings[1].Message != "m" {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// A search that was not polled in time is gone: it is started again, once.
func TestAForgottenSearchIsStartedAgain(t *testing.T) {
	for _, tc := range []struct{ naps, started int }{{1, 2}, {2, 2}} {
		naps := tc.naps
		sleepy := func(cfg *falcon.Config) { // the machine sleeps before a poll
			base := cfg.HTTPClient.Transport
			cfg.Policy.Attempt, cfg.Policy.Total = time.Hour, time.Hour
			cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodGet && naps > 0 {
					naps--
					time.Sleep(time.Minute)
				}
				return base.RoundTrip(r)
			})}
		}
		server := logged(falcontest.SearchResult{Events: logins(3), Takes: 5 * time.Second})
		cloud(t, server, sleepy, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			r, err := c.NGSIEM.Query(t.Context(), anything)
			if tc.naps == 1 && (err != nil || len(r.Events) != 3) || tc.naps == 2 && !errors.Is(err, falcon.ErrNotFound) {
				t.Errorf("%d naps: %+v, %v", tc.naps, r, err)
			}
			if n := len(srv.Searches()); n != tc.started || deletes(srv) != 0 {
				t.Errorf("%d naps: %d searches, %d stopped", tc.naps, n, deletes(srv))
			}
		})
	}
}

// Starting is repeated, because a search changes nothing.
func TestALostStartIsRepeated(t *testing.T) {
	cloud(t, logged(falcontest.SearchResult{Events: logins(1)}), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: "POST", Path: humio, Count: 1})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: "GET", Path: humio, Count: 1})
		r, err := c.NGSIEM.Query(t.Context(), anything)
		if err != nil || len(r.Events) != 1 || len(srv.Searches()) != 2 {
			t.Errorf("%+v, %v, %d searches", r, err, len(srv.Searches()))
		}
	})
	// So it is over gofalcon, for which a POST would be an effect.
	cloud(t, falcontest.Config{}, func(cfg *falcon.Config) { cfg.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		query := "*"
		p := ngsiem.NewStartSearchV1ParamsWithContext(t.Context())
		p.Repository, p.Body = "search-all", &models.APIQueryJobInput{QueryString: &query}
		if _, err := ngsiem.New(c.Transport(), nil).StartSearchV1(p); err != nil {
			t.Error(err)
		}
	})
}

func TestBadSearchesAreNotSent(t *testing.T) {
	at := time.Now()
	for field, q := range map[string]falcon.NGSIEMQuery{
		"NGSIEMQuery.Query":      {Query: " \n"},
		"NGSIEMQuery.Repository": {Query: "*", Repository: "../../devices"},
		"NGSIEMQuery.Start":      {Query: "*", Start: at, End: at},
	} {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			_, err := c.NGSIEM.Query(t.Context(), q)
			if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), field) || len(srv.Requests()) != 0 {
				t.Errorf("%s: %v", field, err)
			}
		})
	}
	for _, scopes := range [][]string{{"ngsiem:read"}, {"ngsiem:write"}} {
		cloud(t, falcontest.Config{Scopes: scopes}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			if _, err := c.NGSIEM.Query(t.Context(), anything); resilience.Of(err).Class != resilience.Denied {
				t.Errorf("%v: %v", scopes, err)
			}
			for _, j := range srv.Searches() {
				if !j.Stopped {
					t.Errorf("%v: left behind %+v", scopes, j)
				}
			}
		})
	}
}
