package azuretest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Availability is what Azure says of a resource.
type Availability struct {
	ResourceID string // ARM id
	Location   string // default "westeurope"
	State      string // "Available", "Unavailable", "Degraded", "Unknown", or what Azure may come to say; empty is null
	Title      string
	Summary    string
	ReasonType string    // such as "Unplanned"
	Occurred   time.Time // default the moment it was set
	Reported   time.Time // default the moment it was set
}

func (a Availability) id() string {
	return a.ResourceID + "/providers/Microsoft.ResourceHealth/availabilityStatuses/current"
}

// SetAvailability says how a resource is, from now on.
func (s *Server) SetAvailability(a Availability) {
	setDefault(&a.Location, "westeurope")
	setDefault(&a.Occurred, s.cfg.Now())
	setDefault(&a.Reported, s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cloud.availability = put(s.cloud.availability, a, Availability.id)
}

// HealthEvent is something that Azure announces.
type HealthEvent struct {
	TrackingID    string
	Type          string   // default "ServiceIssue"
	Status        string   // "Active" (default), "Resolved"
	Level         string   // default "Warning"
	Subscriptions []string // that are told of it; nil is all
	Title         string
	Summary       string
	Service       string // such as "Log Analytics"; "" names none
	Regions       []string
	ImpactStart   time.Time // default the moment it was set
	Mitigated     time.Time
	LastUpdate    time.Time // default the moment it was set
}

func (e HealthEvent) id() string { return "/providers/Microsoft.ResourceHealth/events/" + e.TrackingID }

// SetHealthEvent adds an event, in place of the one that has its TrackingID.
func (s *Server) SetHealthEvent(e HealthEvent) {
	setDefault(&e.Type, "ServiceIssue")
	setDefault(&e.Status, "Active")
	setDefault(&e.Level, "Warning")
	setDefault(&e.ImpactStart, s.cfg.Now())
	setDefault(&e.LastUpdate, s.cfg.Now())
	e.Subscriptions, e.Regions = slices.Clone(e.Subscriptions), slices.Clone(e.Regions)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cloud.events = put(s.cloud.events, e, HealthEvent.id)
}

const healthVersion = "2025-05-01"

// serviceHealth adds Microsoft.ResourceHealth to Resource Manager. The past of a
// resource is not there. The role is assumed.
func (s *Server) serviceHealth(p *product) {
	get := func(scopes []string, path, kind string, serve func(*http.Request) (any, error)) {
		for _, scope := range scopes {
			s.handleARM(p, "GET "+scope+"/providers/Microsoft.ResourceHealth/"+path, armOperation{
				"Microsoft.ResourceHealth/" + kind + "/read", []string{healthVersion}, []string{"Reader", roleSecurityReader, roleSecurityAdmin}, http.StatusOK, serve,
			})
		}
	}
	get(resourceScope, "availabilityStatuses/current", "availabilityStatuses", s.getAvailability)
	get(groupScope, "availabilityStatuses", "availabilityStatuses", s.listAvailability)
	get(append(subscriptionScope[:1:1], ""), "events", "events", s.listEvents)
}

func (s *Server) getAvailability(r *http.Request) (any, error) {
	return getRow(s, &s.cloud.availability, func(a Availability) bool { return strings.EqualFold(a.id(), r.URL.Path) }, "The health of the resource", wireAvailability)
}

func (s *Server) listAvailability(r *http.Request) (any, error) {
	scope := scopeOf(r, "Microsoft.ResourceHealth")
	return listRows(s, r, &s.cloud.availability, func(a Availability) bool { return within(a.ResourceID, scope) }, wireAvailability)
}

func wireAvailability(a Availability) any {
	return map[string]any{
		"id": a.id(), "name": "current", "type": "Microsoft.ResourceHealth/AvailabilityStatuses", "location": a.Location,
		"properties": map[string]any{
			"availabilityState": text(a.State), "title": text(a.Title), "summary": text(a.Summary), "reasonType": text(a.ReasonType),
			"occuredTime": stamp(a.Occurred), "reportedTime": stamp(a.Reported), "reasonChronicity": "Persistent",
		},
	}
}

// eventDays is how far back events go without queryStartTime, by their last update.
const eventDays = 3

func (s *Server) listEvents(r *http.Request) (any, error) {
	since := s.cfg.Now().AddDate(0, 0, -eventDays)
	if v := r.URL.Query().Get("queryStartTime"); v != "" {
		var err error
		if since, err = time.Parse("1/2/2006", v); err != nil {
			return nil, refuse(http.StatusBadRequest, "BadRequest", "queryStartTime '%s' is not a date.", v) // assumed
		}
	}
	subscription := r.PathValue("subscription")
	return listRows(s, r, &s.cloud.events, func(e HealthEvent) bool {
		told := subscription == "" || e.Subscriptions == nil || slices.ContainsFunc(e.Subscriptions, func(id string) bool { return strings.EqualFold(id, subscription) })
		return told && !e.LastUpdate.Before(since)
	}, wireEvent)
}

func wireEvent(e HealthEvent) any {
	impact := []map[string]any{}
	if e.Service != "" {
		regions := []map[string]any{}
		for _, name := range e.Regions {
			regions = append(regions, map[string]any{"impactedRegion": name, "status": e.Status, "lastUpdateTime": stamp(e.LastUpdate)})
		}
		impact = append(impact, map[string]any{"impactedService": e.Service, "impactedRegions": regions})
	}
	return map[string]any{
		"id": e.id(), "name": e.TrackingID, "type": "/providers/Microsoft.ResourceHealth/events",
		"properties": map[string]any{
			"eventType": e.Type, "eventSource": "ServiceHealth", "status": e.Status, "eventLevel": e.Level, "level": e.Level,
			"title": e.Title, "summary": e.Summary, "impact": impact, "impactStartTime": stamp(e.ImpactStart),
			"impactMitigationTime": stamp(e.Mitigated), "lastUpdateTime": stamp(e.LastUpdate),
		},
	}
}
