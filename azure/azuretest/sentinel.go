package azuretest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The workspace of a [Server] where [Sentinel] names no other.
const (
	SubscriptionID = "3b6a1f08-5c2d-4e97-a0b4-9d8c7e6f5a41"
	ResourceGroup  = "rg-soc"
	WorkspaceName  = "law-soc"
	WorkspaceID    = "c4d2e1f0-9a8b-4756-8312-0f1e2d3c4b5a"
)

// Workspace is a Log Analytics workspace with Sentinel on it.
type Workspace struct {
	SubscriptionID string // default [SubscriptionID]
	ResourceGroup  string // default [ResourceGroup]
	Name           string // default [WorkspaceName]
	ID             string // the customer id; default [WorkspaceID]
}

// Sentinel sets up Microsoft Sentinel. The zero value is one workspace.
type Sentinel struct {
	// Workspaces there are; empty fields have defaults. Default one workspace.
	Workspaces []Workspace
	// StaleETag is the status of a PUT with an etag that has been overtaken: 412, the
	// default, or 409. Which one the vendor answers is not known.
	StaleETag int
	// UploadQuota is how many uploads of STIX objects a workspace takes in any minute.
	// Default 100; negative means no limit.
	UploadQuota int
}

func (c Sentinel) withDefaults() Sentinel {
	c.Workspaces = slices.Clone(c.Workspaces)
	if len(c.Workspaces) == 0 {
		c.Workspaces = make([]Workspace, 1)
	}
	for i := range c.Workspaces {
		w := &c.Workspaces[i]
		setDefault(&w.SubscriptionID, SubscriptionID)
		setDefault(&w.ResourceGroup, ResourceGroup)
		setDefault(&w.Name, WorkspaceName)
		setDefault(&w.ID, WorkspaceID)
	}
	setDefault(&c.StaleETag, http.StatusPreconditionFailed)
	setDefault(&c.UploadQuota, 100)
	return c
}

// workspace is a Workspace with what is in it.
type workspace struct {
	Workspace
	incidents []*SentinelIncident // in the order created
	stix      []STIXObject        // in the order first uploaded
	numbers   int                 // of incidents given out
}

// SentinelIncident is an incident in a workspace.
type SentinelIncident struct {
	ID   string // a GUID; default follows from the order of the calls
	ETag string // made by the server
	// Properties are those that were written, as the wire has them, unknown ones too.
	// Default: title "Incident", severity "Medium", status "New".
	Properties map[string]json.RawMessage
	Number     int // made by the server
	Created    time.Time
	Modified   time.Time
	Comments   []SentinelComment
	// Alerts and Entities are what the incident is made of, as the wire has them.
	Alerts, Entities []json.RawMessage
}

// SentinelComment is a comment on a [SentinelIncident].
type SentinelComment struct {
	ID                string
	Message           string
	Created, Modified time.Time
}

func (i SentinelIncident) clone() SentinelIncident {
	i.Properties, i.Comments = maps.Clone(i.Properties), slices.Clone(i.Comments)
	i.Alerts, i.Entities = slices.Clone(i.Alerts), slices.Clone(i.Entities)
	return i
}

func (i SentinelIncident) str(name string) string {
	var s string
	_ = json.Unmarshal(i.Properties[name], &s)
	return s
}

// AddSentinelIncident puts an incident into the first workspace and returns its id.
func (s *Server) AddSentinelIncident(i SentinelIncident) string {
	i = i.clone()
	if i.ID == "" {
		i.ID = s.nextID("incident")
	}
	if i.Properties == nil {
		i.Properties = map[string]json.RawMessage{}
	}
	for name, value := range map[string]string{"title": `"Incident"`, "severity": `"Medium"`, "status": `"New"`} {
		if i.Properties[name] == nil {
			i.Properties[name] = json.RawMessage(value)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workspaces[0].add(&i, s.cfg.Now(), s.etag())
	return i.ID
}

func (w *workspace) add(i *SentinelIncident, now time.Time, etag string) {
	w.numbers++
	i.Number, i.ETag, i.Created, i.Modified = w.numbers, etag, now, now
	w.incidents = append(w.incidents, i)
}

// SentinelIncidents returns the incidents of the workspace of this name, in the order
// they were created.
func (s *Server) SentinelIncidents(workspace string) []SentinelIncident {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []SentinelIncident
	for _, w := range s.workspaces {
		if w.Name == workspace {
			for _, i := range w.incidents {
				out = append(out, i.clone())
			}
		}
	}
	return out
}

// etag returns a new one, in quotes as the vendor has them. s.mu must be held.
func (s *Server) etag() string {
	s.counters["etag"]++
	return fmt.Sprintf(`"%08x-0000-0000-0000-%012x"`, s.counters["etag"], s.cfg.Now().Unix())
}

// sentinelVersions are those of azure-rest-api-specs that serve incidents as they are
// here (facts/microsoft.md 2.4).
var sentinelVersions = []string{"2022-09-01-preview", "2024-09-01", "2025-07-01-preview", "2025-09-01"}

var (
	sentinelReaders    = []string{"Microsoft Sentinel Reader", "Microsoft Sentinel Responder", "Microsoft Sentinel Contributor"}
	sentinelResponders = sentinelReaders[1:]
)

// sentinel adds Sentinel's part of Resource Manager.
func (s *Server) sentinel(p *product) {
	const (
		root = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.OperationalInsights/workspaces/{workspace}" +
			"/providers/Microsoft.SecurityInsights/incidents"
		one     = root + "/{id}"
		comment = one + "/comments/{comment}"
		action  = "Microsoft.SecurityInsights/incidents/"
	)
	for _, op := range []struct {
		pattern, what string
		roles         []string
		serve         func(*workspace, *http.Request) (any, error)
	}{
		{"GET " + root, "read", sentinelReaders, s.listIncidents},
		{"GET " + one, "read", sentinelReaders, s.getIncident},
		{"PUT " + one, "write", sentinelResponders, s.putIncident},
		{"DELETE " + one, "delete", sentinelResponders, s.deleteIncident},
		{"POST " + one + "/alerts", "read", sentinelReaders, s.incidentAlerts},
		{"POST " + one + "/entities", "read", sentinelReaders, s.incidentEntities},
		{"GET " + one + "/comments", "comments/read", sentinelReaders, s.listComments},
		{"GET " + comment, "comments/read", sentinelReaders, s.getComment},
		{"PUT " + comment, "comments/write", sentinelResponders, s.putComment},
		{"DELETE " + comment, "comments/delete", sentinelResponders, s.deleteComment},
	} {
		s.handleARM(p, op.pattern, armOperation{action + op.what, sentinelVersions, op.roles, http.StatusOK, func(r *http.Request) (any, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			w, err := s.workspace(r)
			if err != nil {
				return nil, err
			}
			return op.serve(w, r)
		}})
	}
}

// workspace finds the workspace of a path. s.mu must be held.
func (s *Server) workspace(r *http.Request) (*workspace, error) {
	subscription, group, name := r.PathValue("subscription"), r.PathValue("group"), r.PathValue("workspace")
	have := func(same func(*workspace) bool) bool { return slices.ContainsFunc(s.workspaces, same) }
	inSubscription := func(w *workspace) bool { return strings.EqualFold(w.SubscriptionID, subscription) }
	inGroup := func(w *workspace) bool { return inSubscription(w) && strings.EqualFold(w.ResourceGroup, group) }
	at := slices.IndexFunc(s.workspaces, func(w *workspace) bool { return inGroup(w) && strings.EqualFold(w.Name, name) })
	switch {
	case !have(inSubscription):
		return nil, refuse(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", subscription)
	case !have(inGroup):
		return nil, refuse(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", group)
	case at < 0:
		return nil, refuse(http.StatusNotFound, "ResourceNotFound",
			"The Resource 'Microsoft.OperationalInsights/workspaces/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", name, group)
	}
	return s.workspaces[at], nil
}

// SetSentinelProperty changes an incident of the first workspace as an analyst would
// in the portal: its etag changes with it.
func (s *Server) SetSentinelProperty(id, name string, value json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.workspaces[0].incidents {
		if strings.EqualFold(i.ID, id) {
			i.Properties[name], i.ETag, i.Modified = value, s.etag(), s.cfg.Now()
		}
	}
}
