package azure

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Graph is the security part of Microsoft Graph v1.0: the alerts and incidents of
// Microsoft Defender XDR, and advanced hunting over its tables. App permissions:
// SecurityAlert.Read.All and SecurityIncident.Read.All to read,
// SecurityAlert.ReadWrite.All and SecurityIncident.ReadWrite.All to change and to
// comment, ThreatHunting.Read.All to hunt.
type Graph struct{ *service }

// The documented limits (facts/microsoft.md 2.3). What is said of alerts is taken
// to hold for incidents too; 45 is the least number of hunts that a tenant is given.
var (
	graphQuota = resilience.Window{Calls: 150, Per: time.Minute}
	huntQuota  = []resilience.Window{{Calls: 45, Per: time.Minute}}
)

const (
	opGraphAlerts          = "graph.alerts.list"
	opGraphAlert           = "graph.alerts.get"
	opGraphUpdateAlert     = "graph.alerts.update"
	opGraphCommentAlert    = "graph.alerts.comment"
	opGraphIncidents       = "graph.incidents.list"
	opGraphIncident        = "graph.incidents.get"
	opGraphUpdateIncident  = "graph.incidents.update"
	opGraphCommentIncident = "graph.incidents.comment"
	opHunt                 = "graph.hunt"
)

const (
	alertsPath    = "/v1.0/security/alerts_v2"
	incidentsPath = "/v1.0/security/incidents"
)

func newGraph(c *Client) (*Graph, error) {
	s, err := c.newService("graph", c.place.graph, graphQuota)
	if err != nil {
		return nil, err
	}
	// Without it, members that an enumeration got later, such as the incident status
	// awaitingAction, arrive as unknownFutureValue.
	s.header = http.Header{"Prefer": {"include-unknown-enum-members"}}
	return &Graph{s}, s.limit(huntQuota, opHunt)
}

// Policy is the policy that guards the API.
func (g *Graph) Policy() *resilience.Policy { return g.policy }

// GraphQuery selects alerts or incidents. The zero query is all of them, the newest first.
type GraphQuery struct {
	// Filter is over assignedTo, classification, determination, createdDateTime,
	// lastUpdateDateTime, severity, serviceSource (of alerts only) and status: Graph
	// filters by no other property. See Equals, Since, Before, And and Or.
	Filter OData
	Top    int    // stop after so many rows; 0 means all
	Cursor string // of an earlier List of the same query
}

func (q GraphQuery) values() url.Values { return Query(q).values() }

// Alerts lists alerts.
func (g *Graph) Alerts(q GraphQuery) *List[GraphAlert] {
	return pages(g.service, opGraphAlerts, g.url(alertsPath, q.values()), q.Cursor, q.Top, parseGraphAlert)
}

// Alert returns one alert, or an error that matches ErrNotFound.
func (g *Graph) Alert(ctx context.Context, id string) (GraphAlert, error) {
	path, err := idPath(opGraphAlert, alertsPath+"/", id)
	if err != nil {
		return GraphAlert{}, err
	}
	return get(ctx, g.service, opGraphAlert, path, parseGraphAlert)
}

// Incidents lists incidents without their alerts.
func (g *Graph) Incidents(q GraphQuery) *List[GraphIncident] {
	return g.incidents(q, q.values())
}

// IncidentsWithAlerts lists incidents with their alerts, in as many calls.
func (g *Graph) IncidentsWithAlerts(q GraphQuery) *List[GraphIncident] {
	v := q.values()
	v.Set("$expand", "alerts")
	return g.incidents(q, v)
}

func (g *Graph) incidents(q GraphQuery, v url.Values) *List[GraphIncident] {
	return pages(g.service, opGraphIncidents, g.url(incidentsPath, v), q.Cursor, q.Top, parseGraphIncident)
}

// Incident returns one incident without its alerts, or an error that matches
// ErrNotFound. One that was merged with another is still there: see
// GraphIncident.RedirectID.
func (g *Graph) Incident(ctx context.Context, id string) (GraphIncident, error) {
	return g.incident(ctx, id, "")
}

// IncidentWithAlerts is Incident with the incident's alerts. Graph documents that
// they can be expanded, but not in which operations.
func (g *Graph) IncidentWithAlerts(ctx context.Context, id string) (GraphIncident, error) {
	return g.incident(ctx, id, "?$expand=alerts")
}

func (g *Graph) incident(ctx context.Context, id, query string) (GraphIncident, error) {
	path, err := idPath(opGraphIncident, incidentsPath+"/", id)
	if err != nil {
		return GraphIncident{}, err
	}
	return get(ctx, g.service, opGraphIncident, path+query, parseGraphIncident)
}
