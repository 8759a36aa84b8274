package azure

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// AvailabilityState is what Azure says of a resource.
type AvailabilityState string

// Azure's states. One that is missing, or that is none of these, is read as Unknown,
// and never as Available.
const (
	Available   AvailabilityState = "Available"
	Unavailable AvailabilityState = "Unavailable"
	Degraded    AvailabilityState = "Degraded"
	Unknown     AvailabilityState = "Unknown"
)

var availabilityStates = []AvailabilityState{Available, Unavailable, Degraded, Unknown}

// Availability is what Azure says of one resource. The fields are those of the
// examples in azure-rest-api-specs: one that is missing is zero, Raw has everything.
type Availability struct {
	ResourceID string // ARM id; compare ResourceKey of it
	State      AvailabilityState
	Title      string
	Summary    string
	ReasonType string    // such as Unplanned, Planned, UserInitiated
	Occurred   time.Time // when the state changed
	Reported   time.Time // when Azure last looked: an old one makes an old State
	AsOf       time.Time // when it was read here
	Raw        json.RawMessage
}

func parseAvailability(o lenient.Object) (Availability, error) {
	p := o.Object("properties")
	a := Availability{
		ResourceID: parent(o.Str("id"), "Microsoft.ResourceHealth"),
		State:      known(p.Str("availabilityState"), availabilityStates),
		Title:      p.Str("title"), Summary: p.Str("summary"), ReasonType: p.Str("reasonType"),
		Occurred: p.Time("occuredTime"), // so spelled by Azure
		Reported: p.Time("reportedTime"), AsOf: time.Now().UTC(), Raw: rawOf(o),
	}
	if a.ResourceID == "" {
		return Availability{}, errors.New("no id of a resource")
	}
	if !slices.Contains(availabilityStates, a.State) {
		a.State = Unknown
	}
	return a, nil
}

// HealthEvent is something that Azure announced. The fields are those of the
// examples in azure-rest-api-specs: one that is missing is zero, Raw has everything.
type HealthEvent struct {
	ID          string
	TrackingID  string
	Type        string // ServiceIssue, PlannedMaintenance, HealthAdvisory, SecurityAdvisory ...
	Status      string // Active, Resolved
	Level       string // such as Warning, Error
	Title       string
	Summary     string // may be HTML
	ImpactStart time.Time
	Mitigated   time.Time
	LastUpdate  time.Time
	Impact      []EventImpact
	AsOf        time.Time
	Raw         json.RawMessage
}

// EventImpact is one service in one region that an event is about.
type EventImpact struct {
	Service string // such as "Log Analytics"
	Region  string // such as "West Europe"; "" if none is named
	Status  string // there
}

// Active reports that Azure says it goes on.
func (e HealthEvent) Active() bool { return strings.EqualFold(e.Status, "Active") }

func parseEvent(o lenient.Object) (HealthEvent, error) {
	p := o.Object("properties")
	e := HealthEvent{
		ID: o.Str("id"), TrackingID: o.Str("name"), Type: p.Str("eventType"), Status: p.Str("status"),
		Level: cmp.Or(p.Str("eventLevel"), p.Str("level")), Title: p.Str("title"), Summary: p.Str("summary"),
		ImpactStart: p.Time("impactStartTime"), Mitigated: p.Time("impactMitigationTime"), LastUpdate: p.Time("lastUpdateTime"),
		AsOf: time.Now().UTC(), Raw: rawOf(o),
	}
	if e.ID == "" {
		return HealthEvent{}, errors.New("no id")
	}
	for _, impact := range p.Objects("impact") {
		service := impact.Str("impactedService")
		regions := impact.Objects("impactedRegions")
		if len(regions) == 0 {
			regions = []lenient.Object{nil} // the service is known to suffer all the same
		}
		for _, r := range regions {
			e.Impact = append(e.Impact, EventImpact{service, r.Str("impactedRegion"), r.Str("status")})
		}
	}
	return e, nil
}
