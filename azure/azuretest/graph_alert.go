package azuretest

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// GraphAlert is an alert of Microsoft Defender XDR, as Graph shows it. Empty
// strings and zero times are null on the wire. Members of enumerations are sent as
// they are written here, because the vendor mixes "truePositive" and "TruePositive".
type GraphAlert struct {
	ID                string // default: follows from the order of adding
	ProviderAlertID   string // default ID
	IncidentID        string
	Status            string // default "new"
	Severity          string // default "medium"
	Classification    string // default "unknown"
	Determination     string // default "unknown"
	ServiceSource     string // default "microsoftDefenderForEndpoint"
	DetectionSource   string // default "microsoftDefenderForEndpoint"
	DetectorID        string
	Title             string
	Description       string
	Category          string
	AssignedTo        string
	ThreatDisplayName string
	MITRETechniques   []string
	SystemTags        []string
	Comments          []GraphComment
	// Evidence is sent as it is, each with its "@odata.type"; see [DeviceEvidence].
	Evidence []map[string]any
	// Created defaults to the moment it was added, the others, but Resolved, to Created.
	Created, LastUpdate, FirstActivity, LastActivity, Resolved time.Time
}

// GraphComment is a comment on an alert or an incident.
type GraphComment struct {
	Comment   string
	CreatedBy string
	Created   time.Time
}

// DeviceEvidence is the device that an alert is about: a [Machine] by its ID.
func DeviceEvidence(machineID, dnsName string) map[string]any {
	return map[string]any{
		"@odata.type": "#microsoft.graph.security.deviceEvidence", "createdDateTime": "2026-11-20T09:30:00.1234567Z",
		"verdict": "unknown", "remediationStatus": "none", "mdeDeviceId": machineID, "azureAdDeviceId": nil,
		"deviceDnsName": dnsName, "osPlatform": "Windows11", "osBuild": 22631, "healthStatus": "active", "riskScore": "medium",
		"rbacGroupId": 75, "onboardingStatus": "onboarded", "ipInterfaces": []string{"10.1.2.3"}, "loggedOnUsers": []any{},
		"roles": []string{"compromised"}, "tags": []string{},
	}
}

func (a GraphAlert) clone() GraphAlert {
	a.MITRETechniques, a.SystemTags = slices.Clone(a.MITRETechniques), slices.Clone(a.SystemTags)
	a.Comments, a.Evidence = slices.Clone(a.Comments), slices.Clone(a.Evidence)
	for i, e := range a.Evidence {
		a.Evidence[i] = maps.Clone(e)
	}
	return a
}

// AddGraphAlert adds an alert, or replaces the one of the same ID, with the
// defaults that [GraphAlert] documents.
func (s *Server) AddGraphAlert(a GraphAlert) {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ID == "" {
		a.ID = s.nextIDLocked("graph alert")
	}
	setDefault(&a.ProviderAlertID, a.ID)
	setDefault(&a.Status, "new")
	setDefault(&a.Severity, "medium")
	setDefault(&a.Classification, "unknown")
	setDefault(&a.Determination, "unknown")
	setDefault(&a.ServiceSource, "microsoftDefenderForEndpoint")
	setDefault(&a.DetectionSource, "microsoftDefenderForEndpoint")
	for _, t := range []*time.Time{&a.Created, &a.LastUpdate, &a.FirstActivity, &a.LastActivity} {
		setDefault(t, now)
		now = a.Created
	}
	s.graphData.alerts = put(s.graphData.alerts, a.clone(), func(a GraphAlert) string { return a.ID })
}

// GraphAlerts returns the alerts in the order they were added.
func (s *Server) GraphAlerts() []GraphAlert {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]GraphAlert, len(s.graphData.alerts))
	for i, a := range s.graphData.alerts {
		out[i] = a.clone()
	}
	return out
}

// graphAlertLocked finds an alert; it may be changed in place.
func (s *Server) graphAlertLocked(id string) (*GraphAlert, error) {
	i := slices.IndexFunc(s.graphData.alerts, func(a GraphAlert) bool { return a.ID == id })
	if i < 0 {
		return nil, refuse(http.StatusNotFound, "NotFound", "Alert %s was not found", id)
	}
	return &s.graphData.alerts[i], nil
}

type graphAlertJSON struct {
	Context            string             `json:"@odata.context,omitempty"`
	ID                 string             `json:"id"`
	ProviderAlertID    string             `json:"providerAlertId"`
	IncidentID         text               `json:"incidentId"`
	Status             string             `json:"status"`
	Severity           string             `json:"severity"`
	Classification     string             `json:"classification"`
	Determination      string             `json:"determination"`
	ServiceSource      string             `json:"serviceSource"`
	DetectionSource    string             `json:"detectionSource"`
	DetectorID         text               `json:"detectorId"`
	TenantID           string             `json:"tenantId"`
	Title              text               `json:"title"`
	Description        text               `json:"description"`
	RecommendedActions string             `json:"recommendedActions"`
	Category           text               `json:"category"`
	AssignedTo         text               `json:"assignedTo"`
	AlertWebURL        string             `json:"alertWebUrl"`
	IncidentWebURL     text               `json:"incidentWebUrl"`
	ActorDisplayName   text               `json:"actorDisplayName"`
	ThreatDisplayName  text               `json:"threatDisplayName"`
	MITRETechniques    []string           `json:"mitreTechniques"`
	Created            stamp              `json:"createdDateTime"`
	LastUpdate         stamp              `json:"lastUpdateDateTime"`
	Resolved           stamp              `json:"resolvedDateTime"`
	FirstActivity      stamp              `json:"firstActivityDateTime"`
	LastActivity       stamp              `json:"lastActivityDateTime"`
	Comments           []graphCommentJSON `json:"comments"`
	Evidence           []map[string]any   `json:"evidence"`
	SystemTags         []string           `json:"systemTags"`
}

const portal = "https://security.microsoft.com"

func (s *Server) encodeAlert(a GraphAlert) graphAlertJSON {
	out := graphAlertJSON{
		ID: a.ID, ProviderAlertID: a.ProviderAlertID, IncidentID: text(a.IncidentID), Status: a.Status, Severity: a.Severity,
		Classification: a.Classification, Determination: a.Determination, ServiceSource: a.ServiceSource,
		DetectionSource: a.DetectionSource, DetectorID: text(a.DetectorID), TenantID: s.cfg.TenantID, Title: text(a.Title),
		Description: text(a.Description), Category: text(a.Category), AssignedTo: text(a.AssignedTo),
		AlertWebURL: portal + "/alerts/" + a.ID + "?tid=" + s.cfg.TenantID, ThreatDisplayName: text(a.ThreatDisplayName),
		MITRETechniques: append([]string{}, a.MITRETechniques...), Created: stamp(a.Created), LastUpdate: stamp(a.LastUpdate),
		Resolved: stamp(a.Resolved), FirstActivity: stamp(a.FirstActivity), LastActivity: stamp(a.LastActivity),
		Comments: encodeComments(a.Comments), Evidence: append([]map[string]any{}, a.Evidence...), SystemTags: append([]string{}, a.SystemTags...),
	}
	if a.IncidentID != "" {
		out.IncidentWebURL = text(portal + "/incidents/" + a.IncidentID + "?tid=" + s.cfg.TenantID)
	}
	return out
}

type graphCommentJSON struct {
	Comment   string `json:"comment"`
	CreatedBy text   `json:"createdByDisplayName"`
	Created   stamp  `json:"createdDateTime"`
}

func encodeComments(comments []GraphComment) []graphCommentJSON {
	out := []graphCommentJSON{}
	for _, c := range comments {
		out = append(out, graphCommentJSON{c.Comment, text(c.CreatedBy), stamp(c.Created)})
	}
	return out
}

// graphAlertFields are the properties that the vendor lets $filter use.
var graphAlertFields = schema[GraphAlert]{typ: "microsoft.graph.security.alert", fields: map[string]field[GraphAlert]{
	"assignedto":         stringField(func(a GraphAlert) string { return a.AssignedTo }),
	"classification":     enumField(func(a GraphAlert) string { return a.Classification }),
	"determination":      enumField(func(a GraphAlert) string { return a.Determination }),
	"createddatetime":    timeField(func(a GraphAlert) time.Time { return a.Created }),
	"lastupdatedatetime": timeField(func(a GraphAlert) time.Time { return a.LastUpdate }),
	"severity":           enumField(func(a GraphAlert) string { return a.Severity }),
	"servicesource":      enumField(func(a GraphAlert) string { return a.ServiceSource }),
	"status":             enumField(func(a GraphAlert) string { return a.Status }),
}}

const alertsSet = "security/alerts_v2"

// listGraphAlerts has the newest at the top, as documented.
func (s *Server) listGraphAlerts(r *http.Request) (any, error) {
	q, err := parseGraphQuery(r, graphAlertFields, "")
	if err != nil {
		return nil, err
	}
	rows := s.GraphAlerts()
	slices.SortStableFunc(rows, func(a, b GraphAlert) int { return b.Created.Compare(a.Created) })
	return answerGraphPage(s, r, q, rows, alertsSet, s.encodeAlert), nil
}

func (s *Server) getGraphAlert(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.graphAlertLocked(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return s.alertEntity(r, *a), nil
}

func (s *Server) alertEntity(r *http.Request, a GraphAlert) graphAlertJSON {
	out := s.encodeAlert(a.clone())
	out.Context = graphContext(r, alertsSet+"/$entity")
	return out
}
