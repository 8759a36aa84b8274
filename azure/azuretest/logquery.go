package azuretest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// LogQuery is what a client asked Log Analytics.
type LogQuery struct {
	Workspace  string // its id
	Query      string
	Timespan   string
	Workspaces []string
}

// LogAnswer is what Log Analytics says to it. The zero value is 204: the workspace has
// no data.
type LogAnswer struct {
	Tables []LogTable
	// Partial, if not empty, is why the tables are incomplete.
	Partial string
	// Syntax, if not empty, is what is wrong with the query: 400.
	Syntax string
	// Took is how long the query runs; beyond the client's wait it is 504.
	Took time.Duration
}

// LogTable is a table of an answer. Values are what encoding/json makes of them; a
// dynamic value is a string that holds JSON.
type LogTable struct {
	Name    string // default PrimaryResult
	Columns []Column
	Rows    [][]any
}

const roleLogRead = "Data.Read"

// logQuery is the Log Analytics query API.
func (s *Server) logQuery() *product {
	p := &product{
		name: "logquery", hosts: []string{"api.loganalytics.io", "api.loganalytics.azure.com"},
		prefixes:  []string{"/v1/workspaces/"},
		audiences: []string{"https://api.loganalytics.io"},
		refuse:    refuseLogs, mux: http.NewServeMux(),
	}
	p.quota = append(p.quota, window(200, 30*time.Second))
	s.handle(p, "POST /v1/workspaces/{workspace}/query", operation{"Query", []string{roleLogRead}, http.StatusOK, s.queryLogs, nil})
	s.notServed(p)
	return p
}

func (s *Server) queryLogs(r *http.Request) (any, error) {
	body, err := readBody(r, maxActionBody)
	if err != nil {
		return nil, err
	}
	// Without a content type the service answers 200 and nothing.
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return answer{}, nil
	}
	var q LogQuery
	if err := json.Unmarshal(body, &q); err != nil || q.Query == "" {
		return nil, badQuery("BadArgumentError", "Invalid request body") // assumed
	}
	q.Workspace = r.PathValue("workspace")
	if s.cfg.LogQuery == nil {
		return answer{status: http.StatusNoContent}, nil
	}
	a := s.cfg.LogQuery(q)
	wait := serverTimeout(r.Header.Get("Prefer"))
	if err := sleep(r, min(a.Took, wait)); err != nil {
		return nil, err
	}
	switch {
	case a.Took > wait:
		return nil, refuse(http.StatusGatewayTimeout, "GatewayTimeout", "The query ran for more than %d seconds.", int(wait.Seconds())) // text assumed
	case a.Syntax != "":
		return nil, badQuery("SyntaxError", a.Syntax)
	case a.Tables == nil && a.Partial == "":
		return answer{status: http.StatusNoContent}, nil
	}
	return a.encode(), nil
}

// serverTimeout reads "Prefer: wait=600": by default three minutes, at most ten.
func serverTimeout(prefer string) time.Duration {
	for part := range strings.SplitSeq(prefer, ",") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(part), "wait="); ok {
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				return min(time.Duration(n)*time.Second, 10*time.Minute)
			}
		}
	}
	return 3 * time.Minute
}

func sleep(r *http.Request, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func badQuery(code, message string) error {
	e := refuse(http.StatusBadRequest, "BadArgumentError", "The request had some invalid properties")
	e.inner = map[string]any{"code": code, "message": message}
	return e
}

func (a LogAnswer) encode() any {
	type column struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	type table struct {
		Name    string   `json:"name"`
		Columns []column `json:"columns"`
		Rows    [][]any  `json:"rows"`
	}
	tables := []table{}
	for _, t := range a.Tables {
		setDefault(&t.Name, "PrimaryResult")
		out := table{Name: t.Name, Columns: []column{}, Rows: t.Rows}
		for _, c := range t.Columns {
			out.Columns = append(out.Columns, column(c))
		}
		if out.Rows == nil {
			out.Rows = [][]any{}
		}
		tables = append(tables, out)
	}
	body := map[string]any{"tables": tables}
	if a.Partial != "" {
		body["error"] = map[string]any{
			"code": "PartialError", "message": "There were some errors when processing your query.",
			"details": []any{map[string]any{
				"code": "EngineError", "message": "Something went wrong processing your query on the server.",
				"innererror": map[string]any{"code": "-2133196797", "message": a.Partial},
			}},
		}
	}
	return body
}
