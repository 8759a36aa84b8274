package azure_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const workspace = "11112222-3333-4444-5555-666677778888"

func answering(a azuretest.LogAnswer) azuretest.Config {
	return azuretest.Config{LogQuery: func(azuretest.LogQuery) azuretest.LogAnswer { return a }}
}

var ask = azure.LogQuery{WorkspaceID: workspace, Query: "T | take 2"}

func queried(srv *azuretest.Server) (out []azuretest.Request) {
	for _, r := range srv.Requests() {
		if strings.HasPrefix(r.Path, "/v1/workspaces/"+workspace+"/query") {
			out = append(out, r)
		}
	}
	return out
}

// The official client makes 9007199254740992 of it.
func TestQueryValuesStayIntact(t *testing.T) {
	table := azuretest.LogTable{
		Columns: []azuretest.Column{
			{Name: "L", Type: "long"},
			{Name: "R", Type: "real"},
			{Name: "D", Type: "decimal"},
			{Name: "B", Type: "bool"},
			{Name: "T", Type: "datetime"},
			{Name: "S", Type: "string"},
			{Name: "G", Type: "guid"},
			{Name: "P", Type: "timespan"},
			{Name: "J", Type: "dynamic"},
		},
		Rows: [][]any{
			{json.Number("9007199254740993"), 1.5, "123456789012345678901234567890.5", true, "2026-11-24T10:00:00.1234567Z", "é\n", workspace, "-1.02:03:04.5", `{"a":[1,9007199254740993]}`},
			{nil, nil, nil, nil, nil, nil, nil, nil, nil},
			{"x", "Infinity", json.Number("7"), 1, "x", 5, 7, "1", "plain"},
		},
	}
	cloud(t, answering(azuretest.LogAnswer{Tables: []azuretest.LogTable{table}}), nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		res, err := c.Logs.Query(t.Context(), ask)
		if err != nil || len(res.Rows()) != 3 || res.Tables[0].Name != "PrimaryResult" || res.Tables[0].Columns[2] != (azure.LogColumn{Name: "D", Type: "decimal"}) {
			t.Fatalf("%+v, %v", res, err)
		}
		at := time.Date(2026, 11, 24, 10, 0, 0, 123456700, time.UTC)
		span := -(26*time.Hour + 3*time.Minute + 4*time.Second + 500*time.Millisecond)
		r := res.Rows()[0]
		if r.Int("L") != 9007199254740993 || r.Number("L") != "9007199254740993" || string(r.Raw("L")) != "9007199254740993" ||
			r.Real("R") != 1.5 || r.Number("D") != "123456789012345678901234567890.5" || !r.Bool("B") || !r.Time("T").Equal(at) ||
			r.Str("S") != "é\n" || r.Str("G") != workspace || r.Duration("P") != span || string(r.Dynamic("J")) != `{"a":[1,9007199254740993]}` || r.Null("L") {
			t.Errorf("%v", r)
		}
		for i, r := range res.Rows()[1:] {
			if r.Int("L") != 0 || r.Number("L") != "" || r.Bool("B") != (i == 1) || !r.Time("T").IsZero() || r.Duration("P") != 0 || r.Null("L") != (i == 0) {
				t.Errorf("row %d: %v", i+1, r)
			}
		}
		odd := res.Rows()[2]
		if odd.Real("R") < 1e308 || odd.Number("R") != "" || string(odd.Dynamic("J")) != `"plain"` || odd.Str("S") != "5" || odd.Int("D") != 7 {
			t.Errorf("%v", odd)
		}
		if odd.Raw("none") != nil || !odd.Null("none") || odd.Str("none") != "" {
			t.Error("a column that is not there")
		}
	})
}

func TestQueryRequest(t *testing.T) {
	var got azuretest.LogQuery
	server := azuretest.Config{LogQuery: func(q azuretest.LogQuery) azuretest.LogAnswer { got = q; return azuretest.LogAnswer{} }}
	cloud(t, server, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		q := azure.LogQuery{WorkspaceID: workspace, Query: "a < b", Timespan: "P1D", Workspaces: []string{"other"}, ServerTimeout: 90*time.Second + 1}
		res, err := c.Logs.Query(t.Context(), q)
		if err != nil || res.Tables != nil || res.Rows() != nil { // 204
			t.Errorf("%+v, %v", res, err)
		}
		if got.Workspace != workspace || got.Query != "a < b" || got.Timespan != "P1D" || !slices.Equal(got.Workspaces, []string{"other"}) {
			t.Errorf("asked %+v", got)
		}
		if prefer := queried(srv)[0].Header.Get("Prefer"); prefer != "wait=91" {
			t.Errorf("Prefer: %s", prefer)
		}
		if _, err := c.Logs.Query(t.Context(), ask); err != nil || queried(srv)[1].Header.Get("Prefer") != "wait=180" {
			t.Errorf("%v, %v", queried(srv)[1].Header, err)
		}
		for _, q := range []azure.LogQuery{{Query: "x"}, {WorkspaceID: "x", Query: " "}, {WorkspaceID: "x", Query: "x", ServerTimeout: 601 * time.Second}, {WorkspaceID: "x", Query: "x", ServerTimeout: -1}} {
			if _, err := c.Logs.Query(t.Context(), q); resilience.Of(err).Class != resilience.Misuse {
				t.Errorf("%+v: %v", q, err)
			}
		}
	})
}

// A 200 that lacks rows looks like a whole answer to the official client.
func TestAPartialAnswerIsAnErrorUnlessAllowed(t *testing.T) {
	partial := azuretest.LogAnswer{
		Tables:  []azuretest.LogTable{{Columns: []azuretest.Column{{Name: "N", Type: "long"}}, Rows: [][]any{{1}}}},
		Partial: "The results of this query exceed the set limit of 64000000 bytes.",
	}
	cloud(t, answering(partial), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		res, err := c.Logs.Query(t.Context(), ask)
		e, ok := errors.AsType[*azure.PartialQueryError](err)
		if !ok || e.Code != "PartialError" || len(e.Details) != 1 || !strings.Contains(err.Error(), "64000000 bytes") || res.Tables != nil || len(queried(srv)) != 1 {
			t.Errorf("%+v, %v in %d requests", res, err, len(queried(srv)))
		}
		if resilience.Of(err).Class != resilience.Rejected || c.Logs.Policy().State() != resilience.Closed {
			t.Errorf("%+v", resilience.Of(err))
		}
		q := ask
		q.AllowPartial = true
		res, err = c.Logs.Query(t.Context(), q)
		if err != nil || res.Partial == nil || res.Partial.Details[0] != "-2133196797: "+partial.Partial || len(res.Rows()) != 1 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	for _, body := range []string{"", "{}", "[]", "<html>", `{"tables":[{"columns":[{"name":"A"}],"rows":[[1,2]]}]}`, `{"tables":[{"columns":[{"name":"A"}],"rows":[{}]}]}`, `{"tables":[{"rows":[null]}]}`} {
		cloud(t, answering(azuretest.LogAnswer{}), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Body: body, Path: "/v1/workspaces"})
			if res, err := c.Logs.Query(t.Context(), ask); resilience.Of(err).Class != resilience.Malformed {
				t.Errorf("%q: %+v, %v", body, res, err)
			}
		})
	}
}

func TestQueryRefusals(t *testing.T) {
	cloud(t, answering(azuretest.LogAnswer{Syntax: "Query could not be parsed at 'x'"}), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		_, err := c.Logs.Query(t.Context(), ask)
		e, ok := errors.AsType[*azure.APIError](err)
		if !ok || e.Code != "BadArgumentError" || !strings.Contains(e.Message, "SyntaxError: Query could not be parsed at 'x'") || len(queried(srv)) != 1 {
			t.Errorf("%v", err)
		}
	})
	server := answering(azuretest.LogAnswer{})
	server.Roles = []string{}
	cloud(t, server, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		_, err := c.Logs.Query(t.Context(), ask)
		if e, ok := errors.AsType[*azure.APIError](err); !ok || !strings.Contains(e.Hint, "Log Analytics Reader") || resilience.Of(err).Class != resilience.Denied {
			t.Errorf("%v", err)
		}
	})
}

// azcore repeats a query that is too slow three times: 40 minutes of server work.
func TestASlowQueryIsWaitedForAndNotRepeated(t *testing.T) {
	for _, test := range []struct {
		took, wait time.Duration
		status     int
	}{{170 * time.Second, 0, 0}, {181 * time.Second, 0, 504}, {9 * time.Minute, 10 * time.Minute, 0}, {time.Minute, 2 * time.Second, 504}} {
		table := azuretest.LogTable{Columns: []azuretest.Column{{Name: "N", Type: "long"}}}
		cloud(t, answering(azuretest.LogAnswer{Tables: []azuretest.LogTable{table}, Took: test.took}), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			q := ask
			q.ServerTimeout = test.wait
			_, err := c.Logs.Query(t.Context(), q)
			if f := resilience.Of(err); f.Status != test.status || err != nil && f.Class != resilience.Rejected || len(queried(srv)) != 1 {
				t.Errorf("%+v: %v in %d requests", test, err, len(queried(srv)))
			}
			if c.Logs.Policy().State() != resilience.Closed {
				t.Error("the breaker is open")
			}
		})
	}
}

func TestAQueryIsRepeatedOnceWhenItDidNotRun(t *testing.T) {
	for _, rule := range []fault.Rule{{Kind: fault.Status, Status: 504}, {Kind: fault.Status, Status: 503}, {Kind: fault.Reset}, {Kind: fault.Blackhole}, {Kind: fault.Status, Status: 429, Header: http.Header{"Retry-After": {"3"}}}} {
		cloud(t, answering(azuretest.LogAnswer{}), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			rule.Path, rule.Count = "/v1/workspaces", 1
			srv.Faults().Add(rule)
			if _, err := c.Logs.Query(t.Context(), ask); err != nil {
				t.Errorf("%v: %v", rule.Kind, err)
			}
			rule.Count = 0
			srv.Faults().Add(rule)
			srv.ResetRequests()
			begin := time.Now()
			if _, err := c.Logs.Query(t.Context(), ask); err == nil || len(queried(srv)) != 2 {
				t.Errorf("%v: %d requests", rule.Kind, len(queried(srv)))
			}
			if waited := time.Since(begin); waited > 2*(3*time.Minute+40*time.Second) {
				t.Errorf("%v: %v", rule.Kind, waited)
			}
		})
	}
}

func TestAQueryEndsWithItsContext(t *testing.T) {
	cloud(t, answering(azuretest.LogAnswer{Took: time.Minute}), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := c.Logs.Query(ctx, ask); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestTheQuotaOfQueriesIsKept(t *testing.T) {
	cloud(t, answering(azuretest.LogAnswer{}), func(c *azure.Config) { c.Policy.Total = -1 }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for range 250 {
			if _, err := c.Logs.Query(t.Context(), ask); err != nil {
				t.Fatal(err)
			}
		}
		if len(queried(srv)) != 250 {
			t.Errorf("%d requests for 250 queries", len(queried(srv)))
		}
	})
}
