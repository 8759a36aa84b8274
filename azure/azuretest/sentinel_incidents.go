package azuretest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxIncidentBody bounds the body of an incident or a comment (assumed).
const maxIncidentBody = 4 << 20

// resource is what Resource Manager puts around everything.
type resource struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	ETag       string          `json:"etag,omitempty"`
	Kind       string          `json:"kind,omitempty"`
	Properties json.RawMessage `json:"properties"`
}

func (w *workspace) resource(kind, path, name string, properties map[string]any) resource {
	raw, err := json.Marshal(properties)
	if err != nil { // raw values that were valid when they came
		raw = json.RawMessage("{}")
	}
	return resource{
		ID: fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.OperationalInsights/workspaces/%s/providers/Microsoft.SecurityInsights/%s/%s",
			w.SubscriptionID, w.ResourceGroup, w.Name, path, name),
		Name: name, Type: "Microsoft.SecurityInsights/" + kind, Properties: raw,
	}
}

// json is an incident on the wire: what was written, and over it what is the server's.
func (w *workspace) json(i *SentinelIncident) resource {
	p := map[string]any{}
	for name, value := range i.Properties {
		p[name] = value
	}
	products := []string{}
	for _, raw := range i.Alerts {
		var a struct {
			Properties struct{ ProductName string }
		}
		if json.Unmarshal(raw, &a) == nil && a.Properties.ProductName != "" && !slices.Contains(products, a.Properties.ProductName) {
			products = append(products, a.Properties.ProductName)
		}
	}
	maps.Copy(p, map[string]any{
		"incidentNumber": i.Number, "providerName": "Azure Sentinel", "providerIncidentId": fmt.Sprint(i.Number),
		"incidentUrl":    "https://portal.azure.com/#asset/Microsoft_Azure_Security_Insights/Incident/subscriptions/" + w.SubscriptionID + "/incidents/" + i.ID,
		"createdTimeUtc": stamp(i.Created), "lastModifiedTimeUtc": stamp(i.Modified),
		"additionalData": map[string]any{
			"alertsCount": len(i.Alerts), "bookmarksCount": 0, "commentsCount": len(i.Comments),
			"alertProductNames": products, "tactics": []string{},
		},
	})
	out := w.resource("Incidents", "incidents", i.ID, p)
	out.ETag = i.ETag
	return out
}

// incidentFields are what $filter and $orderby may name (assumed: the vendor says
// nowhere which).
var incidentFields = schema[*SentinelIncident]{typ: "Microsoft.SecurityInsights.Incident", under: "properties", fields: map[string]field[*SentinelIncident]{
	"name":                guidField(func(i *SentinelIncident) string { return i.ID }),
	"title":               stringField(func(i *SentinelIncident) string { return i.str("title") }),
	"status":              stringField(func(i *SentinelIncident) string { return i.str("status") }),
	"severity":            stringField(func(i *SentinelIncident) string { return i.str("severity") }),
	"classification":      stringField(func(i *SentinelIncident) string { return i.str("classification") }),
	"incidentnumber":      {kindInt, func(i *SentinelIncident) any { return int64(i.Number) }},
	"createdtimeutc":      timeField(func(i *SentinelIncident) time.Time { return i.Created }),
	"lastmodifiedtimeutc": timeField(func(i *SentinelIncident) time.Time { return i.Modified }),
}}

// listIncidents gives the newest first if no order is asked for (assumed).
func (s *Server) listIncidents(w *workspace, r *http.Request) (any, error) {
	rows := slices.Clone(w.incidents)
	slices.Reverse(rows)
	q := r.URL.Query()
	if src := q.Get("$filter"); src != "" {
		keep, err := parseFilter(src, incidentFields)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(i *SentinelIncident) bool { return !keep(i) })
	}
	if src := q.Get("$orderby"); src != "" {
		name, direction, _ := strings.Cut(src, " ")
		f, ok := incidentFields.fields[strings.ToLower(strings.TrimPrefix(name, "properties/"))]
		if !ok || direction != "" && direction != "asc" && direction != "desc" {
			return nil, odataError("Could not order by '%s'.", src)
		}
		slices.SortStableFunc(rows, func(a, b *SentinelIncident) int {
			l, r := f.get(a), f.get(b)
			n := 0
			switch {
			case l == nil || r == nil:
				n = cmp.Compare(btoi(l != nil), btoi(r != nil))
			default:
				n = order(l, r, false)
			}
			if direction == "desc" {
				return -n
			}
			return n
		})
	}
	return answerARMPage(s, r, rows, w.json)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// incident finds the incident of a path. s.mu must be held.
func (w *workspace) incident(r *http.Request) (int, error) {
	id := r.PathValue("id")
	at := slices.IndexFunc(w.incidents, func(i *SentinelIncident) bool { return strings.EqualFold(i.ID, id) })
	if at < 0 { // the words are assumed
		return at, refuse(http.StatusNotFound, "NotFound", "Incident '%s' does not exist", id)
	}
	return at, nil
}

func (s *Server) getIncident(w *workspace, r *http.Request) (any, error) {
	at, err := w.incident(r)
	if err != nil {
		return nil, err
	}
	return w.json(w.incidents[at]), nil
}

// putIncident replaces all that can be written of an incident, or creates it. With an
// etag, only if that is the incident's (if there is none, it cannot be: assumed);
// without one, whatever is there (assumed).
func (s *Server) putIncident(w *workspace, r *http.Request) (any, error) {
	etag, properties, err := readProperties(r)
	if err != nil {
		return nil, err
	}
	if !isGUID(r.PathValue("id")) {
		return nil, badIncident("The incident's id '%s' is not a GUID.", r.PathValue("id"))
	}
	in := SentinelIncident{ID: r.PathValue("id"), Properties: properties}
	if in.str("title") == "" {
		return nil, badIncident("Property 'title' is required.")
	}
	for _, f := range []struct {
		name     string
		values   []string
		optional bool
	}{
		{"severity", []string{"High", "Medium", "Low", "Informational"}, false},
		{"status", []string{"New", "Active", "Closed"}, false},
		{"classification", []string{"TruePositive", "FalsePositive", "BenignPositive", "Undetermined"}, true},
		{"classificationReason", []string{"SuspiciousActivity", "SuspiciousButExpected", "IncorrectAlertLogic", "InaccurateData"}, true},
	} {
		if v := in.str(f.name); !slices.Contains(f.values, v) && (v != "" || !f.optional) {
			return nil, badIncident("Property '%s' has the invalid value '%s'.", f.name, v)
		}
	}
	// What is the server's is not taken from the client.
	for _, name := range []string{"incidentNumber", "incidentUrl", "providerName", "providerIncidentId", "createdTimeUtc", "lastModifiedTimeUtc", "additionalData"} {
		delete(in.Properties, name)
	}
	now := s.cfg.Now()
	at, err := w.incident(r)
	if err != nil {
		if etag != "" {
			return nil, s.stale()
		}
		w.add(&in, now, s.etag())
		return answer{status: http.StatusCreated, body: w.json(&in)}, nil
	}
	there := w.incidents[at]
	if etag != "" && etag != there.ETag {
		return nil, s.stale()
	}
	there.Properties, there.ETag, there.Modified = in.Properties, s.etag(), now
	return w.json(there), nil
}

func (s *Server) stale() error { // code and words are assumed
	return refuse(s.cfg.Sentinel.StaleETag, http.StatusText(s.cfg.Sentinel.StaleETag), "The etag of the resource is not the one that was sent.")
}

func badIncident(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "BadRequest", format, args...)
}

func readProperties(r *http.Request) (etag string, properties map[string]json.RawMessage, err error) {
	body, err := readBody(r, maxIncidentBody)
	if err != nil {
		return "", nil, err
	}
	var in struct {
		ETag       string                     `json:"etag"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Properties == nil {
		return "", nil, badIncident("The request body is not a resource with properties.")
	}
	return in.ETag, in.Properties, nil
}

// deleteIncident: of one that is not there, 204.
func (s *Server) deleteIncident(w *workspace, r *http.Request) (any, error) {
	at, err := w.incident(r)
	if err != nil {
		return answer{status: http.StatusNoContent}, nil
	}
	w.incidents = slices.Delete(w.incidents, at, at+1)
	return answer{}, nil
}

// incidentAlerts and incidentEntities answer in one piece; their shapes are assumed.
func (s *Server) incidentAlerts(w *workspace, r *http.Request) (any, error) {
	at, err := w.incident(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"value": append([]json.RawMessage{}, w.incidents[at].Alerts...)}, nil
}

func (s *Server) incidentEntities(w *workspace, r *http.Request) (any, error) {
	at, err := w.incident(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"entities": append([]json.RawMessage{}, w.incidents[at].Entities...), "metaData": []any{}}, nil
}
