package azuretest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// GraphIncident is an incident of Microsoft Defender XDR, as Graph shows it. Its
// alerts are those that name it. Empty strings and zero times are null on the wire;
// members of enumerations are sent as they are written here.
type GraphIncident struct {
	ID                 string // default: a number that follows from the order of adding
	DisplayName        string
	Description        string
	Status             string // default "active", or "redirected" with a RedirectIncidentID
	Severity           string // default "medium"
	Classification     string // default "unknown"
	Determination      string // default "unknown"
	AssignedTo         string
	RedirectIncidentID string // of the incident that this one was merged with
	CustomTags         []string
	SystemTags         []string
	Comments           []GraphComment
	// Created defaults to the moment it was added, LastUpdate to Created.
	Created, LastUpdate time.Time
}

func (i GraphIncident) clone() GraphIncident {
	i.CustomTags, i.SystemTags, i.Comments = slices.Clone(i.CustomTags), slices.Clone(i.SystemTags), slices.Clone(i.Comments)
	return i
}

// AddGraphIncident adds an incident, or replaces the one of the same ID, with the
// defaults that [GraphIncident] documents.
func (s *Server) AddGraphIncident(i GraphIncident) {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.ID == "" {
		s.counters["graph incident"]++
		i.ID = strconv.Itoa(1000 + s.counters["graph incident"])
	}
	if i.RedirectIncidentID != "" {
		setDefault(&i.Status, "redirected")
	}
	setDefault(&i.Status, "active")
	setDefault(&i.Severity, "medium")
	setDefault(&i.Classification, "unknown")
	setDefault(&i.Determination, "unknown")
	setDefault(&i.Created, now)
	setDefault(&i.LastUpdate, i.Created)
	s.graphData.incidents = put(s.graphData.incidents, i.clone(), func(i GraphIncident) string { return i.ID })
}

// GraphIncidents returns the incidents in the order they were added.
func (s *Server) GraphIncidents() []GraphIncident {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]GraphIncident, len(s.graphData.incidents))
	for n, i := range s.graphData.incidents {
		out[n] = i.clone()
	}
	return out
}

// graphIncidentLocked finds an incident; it may be changed in place.
func (s *Server) graphIncidentLocked(id string) (*GraphIncident, error) {
	n := slices.IndexFunc(s.graphData.incidents, func(i GraphIncident) bool { return i.ID == id })
	if n < 0 {
		return nil, refuse(http.StatusNotFound, "NotFound", "Incident %s was not found", id)
	}
	return &s.graphData.incidents[n], nil
}

type graphIncidentJSON struct {
	Context            string             `json:"@odata.context,omitempty"`
	ID                 string             `json:"id"`
	TenantID           string             `json:"tenantId"`
	IncidentWebURL     string             `json:"incidentWebUrl"`
	RedirectIncidentID text               `json:"redirectIncidentId"`
	DisplayName        text               `json:"displayName"`
	Created            stamp              `json:"createdDateTime"`
	LastUpdate         stamp              `json:"lastUpdateDateTime"`
	AssignedTo         text               `json:"assignedTo"`
	Classification     string             `json:"classification"`
	Determination      string             `json:"determination"`
	Status             string             `json:"status"`
	Severity           string             `json:"severity"`
	CustomTags         []string           `json:"customTags"`
	SystemTags         []string           `json:"systemTags"`
	Description        text               `json:"description"`
	Comments           []graphCommentJSON `json:"comments"`
	Alerts             *[]graphAlertJSON  `json:"alerts,omitempty"` // if expanded
}

func (s *Server) encodeIncident(i GraphIncident) graphIncidentJSON {
	return graphIncidentJSON{
		ID: i.ID, TenantID: s.cfg.TenantID, IncidentWebURL: portal + "/incidents/" + i.ID + "?tid=" + s.cfg.TenantID,
		RedirectIncidentID: text(i.RedirectIncidentID), DisplayName: text(i.DisplayName), Created: stamp(i.Created),
		LastUpdate: stamp(i.LastUpdate), AssignedTo: text(i.AssignedTo), Classification: i.Classification,
		Determination: i.Determination, Status: i.Status, Severity: i.Severity, CustomTags: append([]string{}, i.CustomTags...),
		SystemTags: append([]string{}, i.SystemTags...), Description: text(i.Description), Comments: encodeComments(i.Comments),
	}
}

// expanded is an incident with its alerts.
func (s *Server) expanded(i GraphIncident, alerts []GraphAlert) graphIncidentJSON {
	out := s.encodeIncident(i)
	out.Alerts = &[]graphAlertJSON{}
	for _, a := range alerts {
		if a.IncidentID == i.ID {
			*out.Alerts = append(*out.Alerts, s.encodeAlert(a))
		}
	}
	return out
}

// graphIncidentFields are the properties that the vendor lets $filter use.
var graphIncidentFields = schema[GraphIncident]{typ: "microsoft.graph.security.incident", fields: map[string]field[GraphIncident]{
	"assignedto":         stringField(func(i GraphIncident) string { return i.AssignedTo }),
	"classification":     enumField(func(i GraphIncident) string { return i.Classification }),
	"determination":      enumField(func(i GraphIncident) string { return i.Determination }),
	"createddatetime":    timeField(func(i GraphIncident) time.Time { return i.Created }),
	"lastupdatedatetime": timeField(func(i GraphIncident) time.Time { return i.LastUpdate }),
	"severity":           enumField(func(i GraphIncident) string { return i.Severity }),
	"status":             enumField(func(i GraphIncident) string { return i.Status }),
}}

const incidentsSet = "security/incidents"

// listGraphIncidents has the newest at the top, as documented.
func (s *Server) listGraphIncidents(r *http.Request) (any, error) {
	q, err := parseGraphQuery(r, graphIncidentFields, "alerts")
	if err != nil {
		return nil, err
	}
	encode := s.encodeIncident
	if q.expand {
		alerts := s.GraphAlerts()
		encode = func(i GraphIncident) graphIncidentJSON { return s.expanded(i, alerts) }
	}
	rows := s.GraphIncidents()
	slices.SortStableFunc(rows, func(a, b GraphIncident) int { return b.Created.Compare(a.Created) })
	return answerGraphPage(s, r, q, rows, incidentsSet, encode), nil
}

// getGraphIncident takes $expand too: documented of the relationship, not of this
// operation.
func (s *Server) getGraphIncident(r *http.Request) (any, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, odataError("The query string is malformed.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.graphIncidentLocked(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	out := s.encodeIncident(i.clone())
	if values.Get("$expand") == "alerts" {
		out = s.expanded(i.clone(), s.graphData.alerts)
	}
	out.Context = graphContext(r, incidentsSet+"/$entity")
	return out, nil
}
