package azuretest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// CloudAlert is an alert of Defender for Cloud.
type CloudAlert struct {
	Subscription      string // default [SubscriptionID]
	ResourceGroup     string // "" is an alert of the subscription
	Location          string // default "westeurope"
	Name              string // default follows from the order
	Type              string // default "VM_EICAR"
	DisplayName       string
	Description       string
	Severity          string // default "High"
	Status            string // default "Active"
	Intent            string
	Techniques        []string
	CompromisedEntity string
	// Resources are the ARM ids of what it is about; Workspace adds an identifier of
	// another type, with the id of a Log Analytics workspace.
	Resources          []string
	Workspace          string
	ExtendedProperties map[string]string
	Start, End         time.Time // default the moment it was added
}

// ID is the alert's ARM id.
func (a CloudAlert) ID() string {
	group := ""
	if a.ResourceGroup != "" {
		group = "/resourceGroups/" + a.ResourceGroup
	}
	return "/subscriptions/" + a.Subscription + group + "/providers/Microsoft.Security/locations/" + a.Location + "/alerts/" + a.Name
}

func (a CloudAlert) clone() CloudAlert {
	a.Techniques, a.Resources = slices.Clone(a.Techniques), slices.Clone(a.Resources)
	a.ExtendedProperties = maps.Clone(a.ExtendedProperties)
	return a
}

// AddCloudAlert adds an alert, in place of the one that has its ID, and returns it
// with its defaults.
func (s *Server) AddCloudAlert(a CloudAlert) CloudAlert {
	s.mu.Lock()
	defer s.mu.Unlock()
	a = a.clone()
	if a.Name == "" {
		a.Name = "2518000000000000000_" + s.nextIDLocked("cloud alert")
	}
	setDefault(&a.Subscription, SubscriptionID)
	setDefault(&a.Location, "westeurope")
	setDefault(&a.Type, "VM_EICAR")
	setDefault(&a.Severity, "High")
	setDefault(&a.Status, "Active")
	setDefault(&a.Start, s.cfg.Now())
	setDefault(&a.End, a.Start)
	s.cloud.alerts = put(s.cloud.alerts, a, CloudAlert.ID)
	return a.clone()
}

// CloudAlerts are the alerts as they are now, in the order added.
func (s *Server) CloudAlerts() []CloudAlert {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]CloudAlert, len(s.cloud.alerts))
	for i, a := range s.cloud.alerts {
		out[i] = a.clone()
	}
	return out
}

// cloud is what Defender for Cloud, and Azure's health, know.
type cloud struct {
	alerts       []CloudAlert
	scores       []CloudScore
	assessments  []Assessment
	plans        []CloudPlan
	availability []Availability
	events       []HealthEvent
}

func (s *Server) fillCloud(cfg Config) {
	for _, a := range cfg.CloudAlerts {
		s.AddCloudAlert(a)
	}
	for _, c := range cfg.CloudScores {
		s.SetCloudScore(c)
	}
	for _, a := range cfg.Assessments {
		s.SetAssessment(a)
	}
	for _, c := range cfg.CloudPlans {
		s.SetCloudPlan(c)
	}
	for _, a := range cfg.Availability {
		s.SetAvailability(a)
	}
	for _, e := range cfg.HealthEvents {
		s.SetHealthEvent(e)
	}
}

// Azure roles of Defender for Cloud (facts/microsoft.md 2.7).
const (
	roleSecurityReader = "Security Reader"
	roleSecurityAdmin  = "Security Admin"
)

// posture adds Microsoft.Security to Resource Manager.
func (s *Server) posture(p *product) {
	read := []string{roleSecurityReader, roleSecurityAdmin}
	get := func(scopes []string, path, kind, version string, serve func(*http.Request) (any, error)) {
		for _, scope := range scopes {
			s.handleARM(p, "GET "+scope+"/providers/Microsoft.Security/"+path, armOperation{
				"Microsoft.Security/" + kind + "/read", []string{version}, read, http.StatusOK, serve,
			})
		}
	}
	get(groupScope, "alerts", "alerts", "2022-01-01", s.listCloudAlerts)
	get(groupScope, "locations/{location}/alerts", "alerts", "2022-01-01", s.listCloudAlerts)
	get(groupScope, "locations/{location}/alerts/{alert}", "alerts", "2022-01-01", s.getCloudAlert)
	for _, scope := range groupScope {
		for verb, status := range alertVerbs {
			s.handleARM(p, "POST "+scope+"/providers/Microsoft.Security/locations/{location}/alerts/{alert}/"+verb, armOperation{
				"Microsoft.Security/locations/alerts/" + verb + "/action",
				[]string{"2022-01-01"},
				[]string{roleSecurityAdmin},
				http.StatusNoContent, s.alertStatus(status),
			})
		}
	}
	get(subscriptionScope, "secureScores", "secureScores", "2020-01-01", s.listCloudScores)
	get(subscriptionScope, "secureScores/{score}", "secureScores", "2020-01-01", s.getCloudScore)
	get(anyScope, "assessments", "assessments", "2025-05-04", s.listAssessments)
	get(anyScope, "assessments/{assessment}", "assessments", "2025-05-04", s.getAssessment)
	get(anyScope, "pricings", "pricings", "2024-01-01", s.listCloudPlans)
	get(anyScope, "pricings/{plan}", "pricings", "2024-01-01", s.getCloudPlan)
}

var alertVerbs = map[string]string{"activate": "Active", "inProgress": "InProgress", "resolve": "Resolved", "dismiss": "Dismissed"}

// alertOf selects by what the path names. An alert of a resource group is also found
// at its subscription, as the specification's examples have it.
func alertOf(r *http.Request) func(CloudAlert) bool {
	same := func(name, value string) bool {
		want := r.PathValue(name)
		return want == "" || strings.EqualFold(want, value)
	}
	return func(a CloudAlert) bool {
		return same("subscription", a.Subscription) && same("group", a.ResourceGroup) && same("location", a.Location) && same("alert", a.Name)
	}
}

func (s *Server) listCloudAlerts(r *http.Request) (any, error) {
	return listRows(s, r, &s.cloud.alerts, alertOf(r), wireCloudAlert)
}

func (s *Server) getCloudAlert(r *http.Request) (any, error) {
	return getRow(s, &s.cloud.alerts, alertOf(r), "The alert", wireCloudAlert)
}

// alertStatus sets the status; from which one does not matter (assumed).
func (s *Server) alertStatus(status string) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.IndexFunc(s.cloud.alerts, alertOf(r))
		if i < 0 {
			return nil, refuse(http.StatusNotFound, "ResourceNotFound", "The alert was not found.")
		}
		s.cloud.alerts[i].Status = status
		return nil, nil
	}
}

func wireCloudAlert(a CloudAlert) any {
	identifiers := []map[string]string{}
	for _, id := range a.Resources {
		identifiers = append(identifiers, map[string]string{"type": "AzureResource", "azureResourceId": id})
	}
	if a.Workspace != "" {
		identifiers = append(identifiers, map[string]string{"type": "LogAnalytics", "workspaceId": a.Workspace, "workspaceSubscriptionId": a.Subscription})
	}
	return map[string]any{
		"id": a.ID(), "name": a.Name, "type": "Microsoft.Security/Locations/alerts",
		"properties": map[string]any{
			"version": "2022-01-01", "alertType": a.Type, "systemAlertId": a.Name, "alertDisplayName": a.DisplayName,
			"description": a.Description, "severity": a.Severity, "status": a.Status, "intent": text(a.Intent),
			"techniques": a.Techniques, "compromisedEntity": text(a.CompromisedEntity), "resourceIdentifiers": identifiers,
			"extendedProperties": a.ExtendedProperties, "startTimeUtc": stamp(a.Start), "endTimeUtc": stamp(a.End),
			"timeGeneratedUtc": stamp(a.End), "productName": "Microsoft Defender for Cloud", "vendorName": "Microsoft",
			"isIncident": false, "entities": []any{},
		},
	}
}
