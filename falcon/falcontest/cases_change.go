package falcontest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// selector is how a body names evidence and templates.
type selector struct {
	ID string `json:"id"`
}

// caseBody is the body of the operations that write. What it leaves out and what it
// says is null is the same here; the real service may differ.
type caseBody struct {
	caseFields             // of a new case
	ID         string      `json:"id"`
	Expected   int         `json:"expected_version"`
	Changes    *caseFields `json:"fields"`
	Tags       []string    `json:"tags"`
	Alerts     []selector  `json:"alerts"`
	Events     []selector  `json:"events"`
	Template   selector    `json:"template"`
	Evidence   struct {
		Alerts []selector `json:"alerts"`
		Events []selector `json:"events"`
	} `json:"evidence"`
}

type caseFields struct {
	Name        *string `json:"name"`
	Description *string `json:"description"`
	Status      *string `json:"status"`
	Severity    *int    `json:"severity"`
	AssignTo    *string `json:"assigned_to_user_uuid"`
	Unassign    *bool   `json:"remove_user_assignment"`
	Custom      []struct {
		ID     string   `json:"id"`
		Values []string `json:"values"`
	} `json:"custom_fields"`
}

// wrong tells what cannot be. The range of the severity is assumed.
func (f *caseFields) wrong() string {
	switch {
	case f.Status != nil && !slices.Contains([]string{"new", "in_progress", "closed", "reopened"}, *f.Status):
		return "invalid status: " + *f.Status
	case f.Severity != nil && (*f.Severity < 0 || *f.Severity > 100):
		return fmt.Sprintf("invalid severity: %d", *f.Severity)
	}
	return ""
}

func (f *caseFields) apply(c *Case) {
	set(&c.Name, f.Name)
	set(&c.Description, f.Description)
	set(&c.Status, f.Status)
	set(&c.Severity, f.Severity)
	set(&c.AssignedTo, f.AssignTo)
	if f.Unassign != nil && *f.Unassign {
		c.AssignedTo = ""
	}
	for _, custom := range f.Custom {
		if c.Fields == nil {
			c.Fields = map[string][]string{}
		}
		c.Fields[custom.ID] = custom.Values
	}
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (q *call) caseBody() (b caseBody, ok bool) {
	if err := json.NewDecoder(q.r.Body).Decode(&b); err != nil {
		q.reject(http.StatusBadRequest, "Bad request")
		return b, false
	}
	return b, true
}

// createCase needs a name and a severity, as PSFalcon does. Evidence that is not
// known is an error beside the case, which is created all the same (assumed).
func (c *cloud) createCase(q *call) {
	b, ok := q.caseBody()
	if !ok {
		return
	}
	if b.Name == nil || *b.Name == "" || b.Severity == nil {
		q.reject(http.StatusBadRequest, "name and severity are required")
		return
	}
	if wrong := b.wrong(); wrong != "" {
		q.reject(http.StatusBadRequest, wrong)
		return
	}
	known, missing := c.knownAlerts(q, b.Evidence.Alerts)
	n := Case{CID: q.token.cid, Tags: union(nil, b.Tags), Alerts: union(nil, known), Events: union(nil, selected(b.Evidence.Events)), TemplateID: b.Template.ID}
	b.apply(&n)
	created := c.cases.add(n, q.token.cid, q.now)
	c.cases.mu.Lock()
	shown := created.object()
	c.cases.mu.Unlock()
	q.send(http.StatusCreated, envelope{q.meta(q.by), []object{shown}, missing})
}

// updateCase keeps to expected_version: a change to another version is answered
// 409, which is assumed; the specification has no status for it.
func (c *cloud) updateCase(q *call) {
	b, ok := q.caseBody()
	if !ok {
		return
	}
	if b.Changes == nil {
		q.reject(http.StatusBadRequest, "fields is required")
		return
	}
	if wrong := b.Changes.wrong(); wrong != "" {
		q.reject(http.StatusBadRequest, wrong)
		return
	}
	c.changeCase(q, b.ID, b.Expected, nil, b.Changes.apply)
}

func (c *cloud) addCaseAlerts(q *call) {
	if b, ok := q.caseBody(); ok {
		known, missing := c.knownAlerts(q, b.Alerts)
		c.changeCase(q, b.ID, 0, missing, func(one *Case) { one.Alerts = union(one.Alerts, known) })
	}
}

// addCaseEvents believes every id: the simulator has no events to look at.
func (c *cloud) addCaseEvents(q *call) {
	if b, ok := q.caseBody(); ok {
		c.changeCase(q, b.ID, 0, nil, func(one *Case) { one.Events = union(one.Events, selected(b.Events)) })
	}
}

func (c *cloud) addCaseTags(q *call) {
	if b, ok := q.caseBody(); ok {
		c.changeCase(q, b.ID, 0, nil, func(one *Case) { one.Tags = union(one.Tags, b.Tags) })
	}
}

func (c *cloud) removeCaseTags(q *call) {
	params := q.r.URL.Query()
	c.changeCase(q, params.Get("id"), 0, nil, func(one *Case) {
		one.Tags = slices.DeleteFunc(one.Tags, func(t string) bool { return slices.Contains(params["tag"], t) })
	})
}

// changeCase changes a case and shows it; beside are errors of parts of the change.
// A case that is not known is answered 404 (assumed).
func (c *cloud) changeCase(q *call, id string, expected int, beside []apiError, change func(*Case)) {
	c.cases.mu.Lock()
	defer c.cases.mu.Unlock()
	one := c.cases.byID[id]
	if one == nil || !q.token.sees(one.CID) {
		q.send(http.StatusNotFound, envelope{q.meta(q.by), []object{}, []apiError{unknownCase(id)}})
		return
	}
	if expected != 0 && expected != one.Version {
		q.reject(http.StatusConflict, fmt.Sprintf("version conflict: expected %d, current %d", expected, one.Version))
		return
	}
	change(one)
	one.Version++
	one.Updated = q.now
	m := q.meta(q.by)
	m.Writes = &writes{ResourcesAffected: 1}
	q.send(http.StatusOK, envelope{m, []object{one.object()}, append([]apiError{}, beside...)})
}

// knownAlerts tells the alerts that the cloud has from those it has not.
func (c *cloud) knownAlerts(q *call, asked []selector) (known []string, missing []apiError) {
	missing = []apiError{}
	c.alerts.mu.Lock()
	defer c.alerts.mu.Unlock()
	for _, s := range asked {
		if a := c.alerts.byID[s.ID]; a != nil && q.token.sees(a.CID) {
			known = append(known, s.ID)
		} else {
			missing = append(missing, unknownAlert(s.ID))
		}
	}
	return known, missing
}

func selected(some []selector) (ids []string) {
	for _, s := range some {
		ids = append(ids, s.ID)
	}
	return ids
}

// union adds what is not there: evidence and tags are sets (assumed).
func union(have, more []string) []string {
	for _, s := range more {
		if !slices.Contains(have, s) {
			have = append(have, s)
		}
	}
	return have
}
