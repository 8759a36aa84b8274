package falcontest

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Alert is an alert of the simulated cloud. Only ID is required.
type Alert struct {
	ID          string // composite id
	CID         string // default: the server's
	DeviceID    string
	Hostname    string
	Product     string // default epp
	Name        string
	Description string
	Severity    int
	Status      string // default new
	Tactic      string
	Technique   string
	AssignedTo  string // uuid
	Tags        []string
	Comments    []string
	Hidden      bool // show_in_ui is false
	Created     time.Time
	Updated     time.Time
}

const (
	maxAlertIDs      = 1000
	maxAlertCombined = 1000
	maxAlertQuery    = 10000
)

type alerts struct {
	mu   sync.Mutex
	byID map[string]*Alert
}

func (s *alerts) add(a Alert, cid string, now time.Time) {
	orDefault(&a.CID, cid)
	orDefault(&a.Product, "epp")
	orDefault(&a.Status, "new")
	orDefault(&a.Created, now)
	orDefault(&a.Updated, a.Created)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[a.ID] = &a
}

func (s *alerts) all() []Alert {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Alert
	for _, a := range s.byID {
		c := *a
		c.Tags, c.Comments = slices.Clone(a.Tags), slices.Clone(a.Comments)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Alert) int { return strings.Compare(a.ID, b.ID) })
	return out
}

var severityNames = []string{"Informational", "Low", "Medium", "High", "Critical"}

// object is the alert as the API shows it. What an Alert does not have is the same
// in all of them; it is there because clients rely on it (falconjs fails on an alert
// without mitre_attack).
func (a *Alert) object() object {
	nanos := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	const pattern = 10197 // as in the stream's detections
	return object{
		{"composite_id", a.ID},
		{"id", a.ID[strings.LastIndexByte(a.ID, ':')+1:]},
		{"cid", a.CID},
		{"agent_id", a.DeviceID},
		{"aggregate_id", "aggind:" + a.DeviceID},
		{"product", a.Product},
		{"platform", "Windows"},
		{"type", "ldt"},
		{"name", a.Name},
		{"display_name", a.Name},
		{"description", a.Description},
		{"severity", a.Severity},
		{"severity_name", severityNames[min(a.Severity/20, 4)]},
		{"confidence", a.Severity},
		{"status", a.Status},
		{"scenario", "suspicious_activity"},
		{"objective", "Follow Through"},
		{"tactic", a.Tactic},
		{"tactic_id", ""},
		{"technique", a.Technique},
		{"technique_id", ""},
		{"mitre_attack", []object{{{"pattern_id", pattern}, {"tactic", a.Tactic}, {"technique", a.Technique}}}},
		{"pattern_id", pattern},
		{"source_vendors", []string{"CrowdStrike"}},
		{"source_products", []string{"Falcon Insight"}},
		{"data_domains", []string{"Endpoint"}},
		{"assigned_to_uuid", a.AssignedTo},
		{"assigned_to_uid", ""},
		{"assigned_to_name", ""},
		{"seconds_to_triaged", 0},
		{"seconds_to_resolved", 0},
		{"linked_case_ids", []string{}},
		{"email_sent", false},
		{"external", false},
		{"tags", list(a.Tags)},
		{"show_in_ui", !a.Hidden},
		{"device", object{{"device_id", a.DeviceID}, {"hostname", a.Hostname}}},
		{"timestamp", nanos(a.Created)},
		{"crawled_timestamp", nanos(a.Created)},
		{"created_timestamp", nanos(a.Created)},
		{"updated_timestamp", nanos(a.Updated)},
	}
}

// each gives the alerts that a token may see.
func (s *alerts) each(t token) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, a := range s.byID {
			if t.sees(a.CID) && !yield(id, a.object()) {
				return
			}
		}
	}
}

const newestAlert = "created_timestamp|desc"

func (c *cloud) queryAlerts(q *call) {
	l, ok := q.windowed(0, maxAlertQuery)
	if !ok {
		return
	}
	if query, ok := q.query(l, newestAlert, nil); ok {
		page, paging := l.byOffset(query.of(c.alerts.each(q.token), q.now))
		q.list(paging, ids(page))
	}
}

// combinedAlerts pages by "after".
func (c *cloud) combinedAlerts(q *call) {
	var l listing
	if err := json.NewDecoder(q.r.Body).Decode(&l); err != nil || l.Limit < 0 || l.Limit > maxAlertCombined {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	orDefault(&l.Limit, defaultLimit)
	if query, ok := q.query(l, newestAlert, nil); ok {
		q.byAfter(l, query.order, query.of(c.alerts.each(q.token), q.now))
	}
}

// alertBody is the body of operations on alerts.
type alertBody struct {
	IDs        []string         `json:"composite_ids"`
	Parameters []alertParameter `json:"action_parameters"`
}

type alertParameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// rank puts removals before additions, as the documentation says.
func (p alertParameter) rank() int {
	if strings.HasPrefix(p.Name, "remove_") {
		return 0
	}
	return 1
}

func (q *call) alertBody() (b alertBody, ok bool) {
	if err := json.NewDecoder(q.r.Body).Decode(&b); err != nil {
		q.reject(http.StatusBadRequest, "Bad request")
		return b, false
	}
	return b, q.countIDs(b.IDs, maxAlertIDs)
}

func (c *cloud) getAlerts(q *call) {
	b, ok := q.alertBody()
	if !ok {
		return
	}
	found, missing := []object{}, []apiError{}
	c.alerts.mu.Lock()
	for _, id := range b.IDs {
		if a := c.alerts.byID[id]; a != nil && q.token.sees(a.CID) {
			found = append(found, a.object())
		} else {
			missing = append(missing, unknownAlert(id))
		}
	}
	c.alerts.mu.Unlock()
	q.send(http.StatusOK, envelope{q.meta(q.by), found, missing})
}

func unknownAlert(id string) apiError {
	return apiError{Code: http.StatusNotFound, Message: fmt.Sprintf("alert %s not found", id), ID: id}
}

func (c *cloud) updateAlerts(q *call) {
	b, ok := q.alertBody()
	if !ok {
		return
	}
	for _, p := range b.Parameters {
		if alertActions[p.Name] == nil || p.Name == "update_status" && !slices.Contains([]string{"new", "in_progress", "reopened", "closed"}, p.Value) {
			q.reject(http.StatusBadRequest, fmt.Sprintf("invalid action parameter %s: %s", p.Name, p.Value))
			return
		}
	}
	if len(b.Parameters) == 0 {
		q.reject(http.StatusBadRequest, "action_parameters is required")
		return
	}
	slices.SortStableFunc(b.Parameters, func(x, y alertParameter) int { return x.rank() - y.rank() })
	m, missing := q.meta(q.by), []apiError{}
	m.Writes = &writes{}
	c.alerts.mu.Lock()
	for _, id := range b.IDs {
		a := c.alerts.byID[id]
		if a == nil || !q.token.sees(a.CID) {
			missing = append(missing, unknownAlert(id))
			continue
		}
		for _, p := range b.Parameters {
			alertActions[p.Name](a, p.Value)
		}
		a.Updated = q.now
		m.Writes.ResourcesAffected++
	}
	c.alerts.mu.Unlock()
	q.send(http.StatusOK, envelope{m, []string{}, missing})
}

var alertActions = map[string]func(*Alert, string){
	"update_status":  func(a *Alert, v string) { a.Status = v },
	"assign_to_uuid": func(a *Alert, v string) { a.AssignedTo = v },
	"unassign":       func(a *Alert, _ string) { a.AssignedTo = "" },
	"add_tag": func(a *Alert, v string) {
		if !slices.Contains(a.Tags, v) {
			a.Tags = append(a.Tags, v)
		}
	},
	"remove_tag": func(a *Alert, v string) {
		a.Tags = slices.DeleteFunc(a.Tags, func(t string) bool { return t == v })
	},
	"remove_tags_by_prefix": func(a *Alert, v string) {
		a.Tags = slices.DeleteFunc(a.Tags, func(t string) bool { return strings.HasPrefix(t, v) })
	},
	"append_comment": func(a *Alert, v string) { a.Comments = append(a.Comments, v) },
	"show_in_ui":     func(a *Alert, v string) { a.Hidden = v == "false" },
}

// Alerts returns the current state of every alert, by ID.
func (s *Server) Alerts() []Alert { return s.cloud.alerts.all() }

// AddAlert raises an alert, or replaces the one with the same ID, which must not
// be empty.
func (s *Server) AddAlert(a Alert) { s.cloud.alerts.add(a, s.cloud.cfg.CID, s.cloud.cfg.Now()) }
