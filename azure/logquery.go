package azure

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// LogQuery is a question to a Log Analytics workspace. WorkspaceID and Query are
// required.
type LogQuery struct {
	WorkspaceID string // its GUID
	Query       string // in KQL
	// Timespan, in ISO 8601, bounds TimeGenerated beside the query's own filters:
	// "P1D", or "2026-11-01T00:00:00Z/2026-11-02T00:00:00Z". Default: no bound.
	Timespan string
	// Workspaces are asked together with WorkspaceID: their GUIDs, names or resource ids.
	Workspaces []string
	// ServerTimeout is how long the query may run, in whole seconds. Default 3 min,
	// at most 10 min. The call waits a little longer than that; bound it by ctx.
	ServerTimeout time.Duration
	// AllowPartial accepts an incomplete result; LogResult.Partial then says what is
	// missing. Default: it is an error, a [*PartialQueryError].
	AllowPartial bool
}

// LogResult is the answer to a LogQuery.
type LogResult struct {
	// Tables has one table, PrimaryResult, for most queries, and none if the
	// workspace has no data.
	Tables []LogTable
	// Partial, if not nil, is why rows are missing. Only with LogQuery.AllowPartial.
	Partial *PartialQueryError
}

// Rows are those of the first table.
func (r LogResult) Rows() []LogRow {
	if len(r.Tables) == 0 {
		return nil
	}
	return r.Tables[0].Rows
}

const (
	defaultServerTimeout = 3 * time.Minute
	maxServerTimeout     = 10 * time.Minute
	// answerTime is what an answer needs on its way after the query has ended.
	answerTime = 30 * time.Second
)

// Query asks a workspace. New rows can take some minutes to be found.
//
// A query is a read that can cost minutes of the server's time. So what the server
// refused or never got is tried again, but not a query that took ServerTimeout: it is
// an error with status 504 that is not retried and does not count against the service.
func (l *Logs) Query(ctx context.Context, q LogQuery) (LogResult, error) {
	if err := q.check(); err != nil {
		return LogResult{}, err
	}
	wait := q.ServerTimeout
	if wait == 0 {
		wait = defaultServerTimeout
	}
	wait = (wait + time.Second - 1).Truncate(time.Second)
	r := request{
		call: l.call(opLogQuery, resilience.Read), method: http.MethodPost,
		url:    l.url("/v1/workspaces/"+url.PathEscape(q.WorkspaceID)+"/query", nil),
		header: http.Header{"Prefer": {"wait=" + strconv.Itoa(int(wait.Seconds()))}},
		body: struct {
			Query      string   `json:"query"`
			Timespan   string   `json:"timespan,omitempty"`
			Workspaces []string `json:"workspaces,omitempty"`
		}{q.Query, q.Timespan, q.Workspaces},
	}
	// One attempt must be able to outlive the server's, and a second is enough.
	r.call.Timeout, r.call.Attempts = wait+answerTime, 2
	r.explain = explainQuery(wait)
	return send(ctx, l.service, r, func(rep *reply) (LogResult, error) { return q.read(rep) })
}

func (q LogQuery) check() error {
	switch {
	case strings.TrimSpace(q.WorkspaceID) == "":
		return resilience.Misusef("azure %s: LogQuery.WorkspaceID is empty: want the workspace's GUID", opLogQuery)
	case strings.TrimSpace(q.Query) == "":
		return resilience.Misusef("azure %s: LogQuery.Query is empty: want KQL, such as \"Heartbeat | count\"", opLogQuery)
	case q.ServerTimeout < 0 || q.ServerTimeout > maxServerTimeout:
		return resilience.Misusef("azure %s: LogQuery.ServerTimeout is %v: want at most %v", opLogQuery, q.ServerTimeout, maxServerTimeout)
	}
	return nil
}

// explainQuery tells a query that was too slow from a gateway that is down, and adds
// what the innermost error says, which is where a syntax error is.
func explainQuery(wait time.Duration) func(*APIError, []byte, time.Duration) {
	return func(e *APIError, body []byte, took time.Duration) {
		switch {
		case e.Status == http.StatusGatewayTimeout && took >= wait*9/10:
			e.class = resilience.Rejected
			e.Hint = "the query took longer than LogQuery.ServerTimeout: ask for less, or for longer"
		case e.Status == http.StatusForbidden:
			e.Hint = "the app needs the role Log Analytics Reader on the workspace; a new one takes up to 60 minutes to be known"
		}
		var env struct {
			Error queryProblem `json:"error"`
		}
		if json.Unmarshal(body, &env) != nil || env.Error.Inner == nil {
			return
		}
		e.Message = strings.TrimSpace(e.Message + " " + env.Error.Inner.String())
	}
}
