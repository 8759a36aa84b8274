package azuretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// DefenderAlert is an alert of Defender for Endpoint. Empty strings and zero
// numbers and times are null on the wire.
type DefenderAlert struct {
	ID              string // default: the next of the form da<18 digits>_<10 digits>
	IncidentID      int64
	InvestigationID int64
	AssignedTo      string
	Severity        string // default "Medium"
	Status          string // default "New"
	Classification  string
	Determination   string
	DetectionSource string // default "WindowsDefenderAtp"
	Category        string
	Title           string
	Description     string
	Created         time.Time // default the moment it was added
	FirstEvent      time.Time // default Created
	LastEvent       time.Time // default Created
	Updated         time.Time // default Created; changes set it
	Resolved        time.Time
	MachineID       string
	ComputerDNSName string
	RelatedUser     [2]string // name and domain
	Techniques      []string  // of MITRE, such as "T1059"
	Comments        []AlertComment
	Evidence        []map[string]any // as on the wire; only with $expand=evidence
}

// AlertComment is a comment of a [DefenderAlert].
type AlertComment struct {
	Comment string
	By      string
	At      time.Time
}

func (a DefenderAlert) clone() DefenderAlert {
	a.Techniques, a.Comments, a.Evidence = slices.Clone(a.Techniques), slices.Clone(a.Comments), slices.Clone(a.Evidence)
	return a
}

// AddAlert raises an alert.
func (s *Server) AddAlert(a DefenderAlert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ID == "" {
		s.counters["alert"]++
		a.ID = "da" + strconv.Itoa(637472900382838869+s.counters["alert"]) + "_1364969609"
	}
	setDefault(&a.Severity, "Medium")
	setDefault(&a.Status, "New")
	setDefault(&a.DetectionSource, "WindowsDefenderAtp")
	setDefault(&a.Created, s.cfg.Now())
	for _, t := range []*time.Time{&a.FirstEvent, &a.LastEvent, &a.Updated} {
		setDefault(t, a.Created)
	}
	s.alerts = append(s.alerts, a.clone())
}

// Alerts returns Defender's alerts as they stand, in the order they were added.
func (s *Server) Alerts() []DefenderAlert {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]DefenderAlert, len(s.alerts))
	for i, a := range s.alerts {
		out[i] = a.clone()
	}
	return out
}

// long is an integer the vendor writes as null when it is unknown.
type long int64

// MarshalJSON writes the number for the wire.
func (n long) MarshalJSON() ([]byte, error) {
	if n == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int64(n))
}

type alertJSON struct {
	ID                string           `json:"id"`
	IncidentID        long             `json:"incidentId"`
	InvestigationID   long             `json:"investigationId"`
	AssignedTo        text             `json:"assignedTo"`
	Severity          string           `json:"severity"`
	Status            string           `json:"status"`
	Classification    text             `json:"classification"`
	Determination     text             `json:"determination"`
	DetectionSource   text             `json:"detectionSource"`
	Category          text             `json:"category"`
	Title             text             `json:"title"`
	Description       text             `json:"description"`
	AlertCreationTime stamp            `json:"alertCreationTime"`
	FirstEventTime    stamp            `json:"firstEventTime"`
	LastEventTime     stamp            `json:"lastEventTime"`
	LastUpdateTime    stamp            `json:"lastUpdateTime"`
	ResolvedTime      stamp            `json:"resolvedTime"`
	MachineID         text             `json:"machineId"`
	ComputerDNSName   text             `json:"computerDnsName"`
	RelatedUser       *relatedUserJSON `json:"relatedUser"`
	MITRETechniques   []string         `json:"mitreTechniques"`
	Comments          []commentJSON    `json:"comments"`
	Evidence          []map[string]any `json:"evidence"`
}

type relatedUserJSON struct {
	UserName   string `json:"userName"`
	DomainName string `json:"domainName"`
}

type commentJSON struct {
	Comment     string `json:"comment"`
	CreatedBy   string `json:"createdBy"`
	CreatedTime stamp  `json:"createdTime"`
}

func (a DefenderAlert) json() alertJSON {
	out := alertJSON{
		ID: a.ID, IncidentID: long(a.IncidentID), InvestigationID: long(a.InvestigationID), AssignedTo: text(a.AssignedTo),
		Severity: a.Severity, Status: a.Status, Classification: text(a.Classification), Determination: text(a.Determination),
		DetectionSource: text(a.DetectionSource), Category: text(a.Category), Title: text(a.Title), Description: text(a.Description),
		AlertCreationTime: stamp(a.Created), FirstEventTime: stamp(a.FirstEvent), LastEventTime: stamp(a.LastEvent),
		LastUpdateTime: stamp(a.Updated), ResolvedTime: stamp(a.Resolved), MachineID: text(a.MachineID),
		ComputerDNSName: text(a.ComputerDNSName), MITRETechniques: append([]string{}, a.Techniques...),
		Comments: []commentJSON{}, Evidence: append([]map[string]any{}, a.Evidence...),
	}
	if a.RelatedUser != [2]string{} {
		out.RelatedUser = &relatedUserJSON{a.RelatedUser[0], a.RelatedUser[1]}
	}
	for _, c := range a.Comments {
		out.Comments = append(out.Comments, commentJSON{c.Comment, c.By, stamp(c.At)})
	}
	return out
}

// bare is the alert as a list shows it without $expand. That evidence is an empty
// list then is assumed.
func (a DefenderAlert) bare() alertJSON {
	a.Evidence = nil
	return a.json()
}

func longField[T any](get func(T) int64) field[T] {
	return field[T]{kindInt, func(row T) any {
		if n := get(row); n != 0 {
			return n
		}
		return nil
	}}
}

// alertFields are the properties the vendor lets $filter use.
var alertFields = schema[DefenderAlert]{typ: "microsoft.windowsDefenderATP.api.alert", expand: "evidence", fields: map[string]field[DefenderAlert]{
	"id":                stringField(func(a DefenderAlert) string { return a.ID }),
	"alertcreationtime": timeField(func(a DefenderAlert) time.Time { return a.Created }),
	"lastupdatetime":    timeField(func(a DefenderAlert) time.Time { return a.Updated }),
	"lasteventtime":     timeField(func(a DefenderAlert) time.Time { return a.LastEvent }),
	"incidentid":        longField(func(a DefenderAlert) int64 { return a.IncidentID }),
	"investigationid":   longField(func(a DefenderAlert) int64 { return a.InvestigationID }),
	"assignedto":        stringField(func(a DefenderAlert) string { return a.AssignedTo }),
	"detectionsource":   stringField(func(a DefenderAlert) string { return a.DetectionSource }),
	"status":            stringField(func(a DefenderAlert) string { return a.Status }),
	"severity":          stringField(func(a DefenderAlert) string { return a.Severity }),
	"category":          stringField(func(a DefenderAlert) string { return a.Category }),
}}

func (s *Server) listAlerts(r *http.Request) (any, error) {
	q, err := parseQuery(r, alertFields)
	if err != nil {
		return nil, err
	}
	encode := DefenderAlert.bare
	if q.expand {
		encode = DefenderAlert.json
	}
	return answerPage(r, q, s.Alerts(), "Alerts", encode), nil
}

// alertChanges are the parameters of a change. Names are case-sensitive.
var alertChanges = map[string]func(*DefenderAlert) *string{
	"status":         func(a *DefenderAlert) *string { return &a.Status },
	"assignedTo":     func(a *DefenderAlert) *string { return &a.AssignedTo },
	"classification": func(a *DefenderAlert) *string { return &a.Classification },
	"determination":  func(a *DefenderAlert) *string { return &a.Determination },
}

// change applies a body to alerts, all of them or, if one is not known, none. That
// the vendor does so too is assumed.
func (s *Server) change(ids []string, body map[string]json.RawMessage) ([]DefenderAlert, error) {
	incorrect := refuse(http.StatusBadRequest, "InvalidRequestBody", "Request body is incorrect")
	values := map[string]string{}
	for name, raw := range body {
		var v string
		if json.Unmarshal(raw, &v) != nil || alertChanges[name] == nil && name != "comment" {
			return nil, incorrect
		}
		values[name] = v
	}
	if len(values) == 0 {
		return nil, incorrect
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*DefenderAlert
	for _, id := range ids {
		i := slices.IndexFunc(s.alerts, func(a DefenderAlert) bool { return a.ID == id })
		if i < 0 {
			return nil, notFound("Alert %s was not found", id)
		}
		found = append(found, &s.alerts[i])
	}
	now := s.cfg.Now()
	var out []DefenderAlert
	for _, a := range found {
		for name, v := range values {
			if name == "comment" {
				a.Comments = append(a.Comments, AlertComment{v, s.cfg.ClientID, now})
			} else {
				*alertChanges[name](a) = v
			}
		}
		if a.Updated = now; values["status"] == "Resolved" {
			a.Resolved = now
		}
		out = append(out, a.clone())
	}
	return out, nil
}

func (s *Server) updateAlert(r *http.Request) (any, error) {
	body, err := readObject(r)
	if err != nil {
		return nil, err
	}
	changed, err := s.change([]string{r.PathValue("id")}, body)
	if err != nil {
		return nil, err
	}
	return struct {
		Context string `json:"@odata.context"`
		alertJSON
	}{contextURL(r, "Alerts/$entity"), changed[0].bare()}, nil
}

// updateAlerts answers with an empty body.
func (s *Server) updateAlerts(r *http.Request) (any, error) {
	body, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var ids []string
	if json.Unmarshal(body["alertIds"], &ids) != nil || len(ids) == 0 {
		return nil, refuse(http.StatusBadRequest, "MissingRequiredParameter", "Parameter alertIds is missing")
	}
	delete(body, "alertIds")
	_, err = s.change(ids, body)
	return nil, err
}

// readObject reads a body whose names are case-sensitive, which a Go struct would
// not be.
func readObject(r *http.Request) (map[string]json.RawMessage, error) {
	body, err := readBody(r, maxActionBody)
	if err != nil {
		return nil, err
	}
	var in map[string]json.RawMessage
	if json.Unmarshal(body, &in) != nil || in == nil {
		return nil, refuse(http.StatusBadRequest, "InvalidRequestBody", "Request body is incorrect")
	}
	return in, nil
}
