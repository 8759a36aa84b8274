package azure

import (
	"context"
	"net/url"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// ServiceHealth is what Azure says of its own health: Resource Health and Service
// Health, behind Azure Resource Manager. Azure role: Reader.
//
// It is a hint, never truth. It lives in the control plane that fails with what it
// reports on, is written by people, and often is late. It knows workspaces and other
// resources of Azure, and nothing of Defender for Endpoint or Graph (facts/microsoft.md
// 2.8). Nothing in Jurymast acts on it: what a call met decides, and this stands
// beside it as evidence.
type ServiceHealth struct{ *service }

const (
	opAvailability = "health.resources.get"
	opResources    = "health.resources.list"
	opEvents       = "health.events.list"
)

const (
	healthProvider   = "/providers/Microsoft.ResourceHealth"
	availabilityKind = healthProvider + "/availabilityStatuses"
	eventsKind       = healthProvider + "/events"
)

func newServiceHealth(c *Client) *ServiceHealth {
	return &ServiceHealth{c.management.versioned("2025-05-01")}
}

// Policy is the policy that guards Resource Manager, which this shares with every
// other of Azure's resource providers.
func (h *ServiceHealth) Policy() *resilience.Policy { return h.policy }

// Resource returns what Azure says of a resource, by its ARM id. A resource, or kind
// of resources, that Resource Health does not know is an error that matches
// ErrNotFound: that says nothing of its health.
func (h *ServiceHealth) Resource(ctx context.Context, id string) (Availability, error) {
	path, err := scopePath(opAvailability, id, onResource)
	if err != nil {
		return Availability{}, err
	}
	return get(ctx, h.service, opAvailability, path+availabilityKind+"/current", parseAvailability)
}

// Resources lists what Azure says of the resources of a subscription or of a resource
// group. Of a single resource the same list would be its past, so it takes none.
func (h *ServiceHealth) Resources(q ScopeQuery) *List[Availability] {
	return scopeList(h.service, opResources, q, inResourceGroup, availabilityKind, parseAvailability)
}

// EventQuery selects service events.
type EventQuery struct {
	// Subscription whose services count; "" is all of the tenant, for which the role has
	// to be held at the tenant's root.
	Subscription string
	// Since is the day of the last update from which on events are wanted. Default what
	// Azure takes, three days ago.
	Since  time.Time
	Cursor string // of an earlier List of the same query
}

// Events lists service events: outages, planned maintenance, advisories.
func (h *ServiceHealth) Events(q EventQuery) *List[HealthEvent] {
	path := ""
	if q.Subscription != "" {
		var err error
		if path, err = scopePath(opEvents, q.Subscription, inSubscription); err != nil {
			return failed[HealthEvent](opEvents, err)
		}
	}
	query := url.Values{}
	if !q.Since.IsZero() {
		query.Set("queryStartTime", q.Since.UTC().Format("1/2/2006")) // month first
	}
	return armList(h.service, opEvents, path+eventsKind, query, q.Cursor, parseEvent)
}
