package azuretest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
)

// Graph sets up Microsoft Graph security. What there is to see is in
// Config.GraphAlerts, Config.GraphIncidents and Config.Hunt.
type Graph struct {
	// Quota is the calls allowed in any minute for alerts and incidents together
	// (that incidents count among them is assumed). Default 150; negative means no
	// limit.
	Quota int
	// HuntQuota is the hunting queries allowed in any minute. Default 45, the least
	// that the vendor gives a tenant; negative means no limit.
	HuntQuota int
	// NoRetryAfter leaves Retry-After out of 429s, as several Graph services do.
	NoRetryAfter bool
	// PageSize is the longest page, and the default one. Default 50 (from memory:
	// facts/microsoft.md 2.3).
	PageSize int
}

func (g *Graph) withDefaults() {
	setDefault(&g.Quota, 150)
	setDefault(&g.HuntQuota, 45)
	setDefault(&g.PageSize, 50)
}

// App roles of the operations served.
const (
	roleGraphAlertRead      = "SecurityAlert.Read.All"
	roleGraphAlertReadWrite = "SecurityAlert.ReadWrite.All"
	roleIncidentRead        = "SecurityIncident.Read.All"
	roleIncidentReadWrite   = "SecurityIncident.ReadWrite.All"
	roleHunt                = "ThreatHunting.Read.All"
)

var graphRoles = []string{roleGraphAlertRead, roleGraphAlertReadWrite, roleIncidentRead, roleIncidentReadWrite, roleHunt}

const (
	graphHost = "graph.microsoft.com"
	graphRoot = "/v1.0"
)

// graphData is what the tenant has, in the order added.
type graphData struct {
	alerts    []GraphAlert
	incidents []GraphIncident
}

// graph is the security part of Microsoft Graph v1.0.
func (s *Server) graph() *product {
	p := &product{
		name: "graph", hosts: []string{graphHost}, prefixes: []string{graphRoot + "/"},
		audiences: []string{"https://" + graphHost}, refuse: s.writeGraphError, mux: http.NewServeMux(),
	}
	if s.cfg.Graph.Quota >= 0 {
		p.quota = append(p.quota, window(s.cfg.Graph.Quota, time.Minute))
	}
	add := func(pattern string, serve func(*http.Request) (any, error), roles ...string) {
		method, path, _ := strings.Cut(pattern, " ")
		// One name, because the vendor counts them together.
		s.handle(p, method+" "+graphRoot+path, operation{"security", roles, http.StatusOK, s.graphAnswer(serve), nil})
	}
	const alerts, incidents = "/security/alerts_v2", "/security/incidents"
	add("GET "+alerts, s.listGraphAlerts, roleGraphAlertRead, roleGraphAlertReadWrite)
	add("GET "+alerts+"/{id}", s.getGraphAlert, roleGraphAlertRead, roleGraphAlertReadWrite)
	add("PATCH "+alerts+"/{id}", s.patchGraphAlert, roleGraphAlertReadWrite)
	add("POST "+alerts+"/{id}/comments", s.commentGraphAlert, roleGraphAlertReadWrite)
	add("GET "+incidents, s.listGraphIncidents, roleIncidentRead, roleIncidentReadWrite)
	add("GET "+incidents+"/{id}", s.getGraphIncident, roleIncidentRead, roleIncidentReadWrite)
	add("PATCH "+incidents+"/{id}", s.patchGraphIncident, roleIncidentReadWrite)
	add("POST "+incidents+"/{id}/comments", s.commentGraphIncident, roleIncidentReadWrite)

	hunt := operation{name: "hunt", roles: []string{roleHunt}, ok: http.StatusOK, serve: s.graphAnswer(s.runHuntingQuery), quota: []*sim.Window{}}
	if s.cfg.Graph.HuntQuota >= 0 {
		hunt.quota = append(hunt.quota, window(s.cfg.Graph.HuntQuota, time.Minute))
	}
	s.handle(p, "POST "+graphRoot+"/security/runHuntingQuery", hunt)
	s.notServed(p)
	return p
}

// graphAnswer adds the headers of every answer.
func (s *Server) graphAnswer(serve func(*http.Request) (any, error)) func(*http.Request) (any, error) {
	serve = odata(serve)
	return func(r *http.Request) (any, error) {
		body, err := serve(r)
		if a, ok := body.(answer); ok {
			a.header["Request-Id"] = []string{s.nextID("request")}
		}
		return body, err
	}
}

// writeGraphError refuses in Graph's envelope. The names of the codes, and that
// a wrong audience is a 403, are assumed.
func (s *Server) writeGraphError(w http.ResponseWriter, e *apiError, id string) {
	for k, v := range e.header {
		w.Header()[k] = v
	}
	if e.status == http.StatusTooManyRequests && s.cfg.Graph.NoRetryAfter {
		w.Header().Del("Retry-After")
	}
	w.Header()["Request-Id"] = []string{id}
	code := e.code
	switch {
	case e.status == http.StatusUnauthorized:
		code = "InvalidAuthenticationToken"
	case e.status == http.StatusBadRequest:
		code = "BadRequest"
	}
	type inner struct {
		Date            string `json:"date"`
		RequestID       string `json:"request-id"`
		ClientRequestID string `json:"client-request-id"`
	}
	type outer struct {
		Code       string `json:"code"`
		Message    string `json:"message"`
		InnerError inner  `json:"innerError"`
	}
	date := s.cfg.Now().UTC().Format("2006-01-02T15:04:05")
	writeJSON(w, e.status, "application/json", map[string]outer{"error": {code, e.message, inner{date, id, id}}})
}

func graphContext(r *http.Request, of string) string {
	return "https://" + r.Host + graphRoot + "/$metadata#" + of
}

// graphQuery is what a list request asks for.
type graphQuery[T any] struct {
	query[T]
	expand bool // the relationship that may be expanded
	count  bool
}

// parseGraphQuery reads the options that Graph documents for its lists. expandable
// is the relationship that $expand may name, if there is one.
func parseGraphQuery[T any](r *http.Request, fields schema[T], expandable string) (q graphQuery[T], err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, odataError("The query string is malformed.")
	}
	if v, ok := values["$expand"]; ok {
		if expandable == "" || !slices.Equal(v, []string{expandable}) {
			return q, odataError("Could not find a property named '%s' on type '%s'.", strings.Join(v, ","), fields.typ)
		}
		q.expand = true
	}
	q.count = values.Get("$count") == "true"
	token := values.Get("$skiptoken")
	for _, name := range []string{"$expand", "$count", "$skiptoken"} {
		values.Del(name)
	}
	rest := r.Clone(r.Context())
	rest.URL.RawQuery = values.Encode()
	if q.query, err = parseQuery(rest, fields); err != nil || token == "" {
		return q, err
	}
	// The token is where the page begins (assumed; clients must not look into it).
	at, err := strconv.ParseUint(strings.TrimPrefix(token, skipToken), 10, 31)
	if err != nil || !strings.HasPrefix(token, skipToken) {
		return q, odataError("The skip token is invalid.")
	}
	q.skip = int(at)
	return q, nil
}

const skipToken = "at-"

// graphPage is a list answer.
type graphPage[J any] struct {
	Context  string `json:"@odata.context"`
	Count    *int   `json:"@odata.count,omitempty"`
	Value    []J    `json:"value"`
	NextLink string `json:"@odata.nextLink,omitempty"`
}

// answerGraphPage cuts the page asked for out of the rows that the filter keeps.
// $top is the length of a page, not of the list, as Graph's general rules for
// paging have it (assumed for these lists).
func answerGraphPage[T, J any](s *Server, r *http.Request, q graphQuery[T], rows []T, set string, encode func(T) J) graphPage[J] {
	if q.keep != nil {
		rows = slices.DeleteFunc(rows, func(row T) bool { return !q.keep(row) })
	}
	out := graphPage[J]{Context: graphContext(r, set), Value: []J{}}
	if q.count {
		n := len(rows)
		out.Count = &n
	}
	top := s.cfg.Graph.PageSize
	if q.limited {
		top = min(top, q.top)
	}
	rows = rows[min(q.skip, len(rows)):]
	if len(rows) > top && top > 0 {
		values := r.URL.Query()
		values.Set("$skiptoken", skipToken+strconv.Itoa(q.skip+top))
		out.NextLink = "https://" + r.Host + r.URL.EscapedPath() + "?" + strings.ReplaceAll(values.Encode(), "%24", "$")
	}
	for _, row := range rows[:min(top, len(rows))] {
		out.Value = append(out.Value, encode(row))
	}
	return out
}

// enumField is a property whose members a filter names as the vendor documents
// them, however the row spells them.
func enumField[T any](get func(T) string) field[T] {
	return stringField(func(row T) string {
		s := get(row)
		if s == "" {
			return ""
		}
		return strings.ToLower(s[:1]) + s[1:]
	})
}
