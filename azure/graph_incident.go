package azure

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// GraphIncident is an incident of Microsoft Defender XDR: alerts that belong
// together. Fields are read as those of a [GraphAlert].
type GraphIncident struct {
	ID             string
	DisplayName    string
	Description    string
	Status         GraphStatus // GraphActive, GraphInProgress, GraphResolved, GraphRedirected ...
	Severity       GraphSeverity
	Classification GraphClassification
	Determination  string
	AssignedTo     string
	TenantID       string
	WebURL         string
	// RedirectID is the incident that this one was merged with; its Status is then
	// GraphRedirected, and what happens goes on there.
	RedirectID string
	CustomTags []string
	SystemTags []string
	Created    time.Time
	Updated    time.Time
	Comments   []GraphComment
	// Alerts are there if they were asked for. One that cannot be read has its Raw
	// alone.
	Alerts []GraphAlert
	// MoreAlerts: Graph has more alerts of this incident than it gave.
	MoreAlerts bool
	Raw        json.RawMessage
}

func parseGraphIncident(o lenient.Object) (GraphIncident, error) {
	i := GraphIncident{
		ID: o.Str("id"), DisplayName: o.Str("displayName"), Description: o.Str("description"),
		Status: GraphStatus(graphWord(o.Str("status"))), Severity: GraphSeverity(graphWord(o.Str("severity"))),
		Classification: GraphClassification(graphWord(o.Str("classification"))), Determination: graphWord(o.Str("determination")),
		AssignedTo: o.Str("assignedTo"), TenantID: o.Str("tenantId"), WebURL: o.Str("incidentWebUrl"),
		RedirectID: o.Str("redirectIncidentId"), CustomTags: o.Strs("customTags"), SystemTags: o.Strs("systemTags"),
		Created: o.Time("createdDateTime"), Updated: o.Time("lastUpdateDateTime"), Comments: parseGraphComments(o, "comments"),
		MoreAlerts: o.Str("alerts@odata.nextLink") != "", Raw: rawOf(o),
	}
	if i.ID == "" {
		return GraphIncident{}, errors.New("no id")
	}
	list, _ := lenient.List(o["alerts"])
	for _, raw := range list {
		r := readRow(opGraphIncidents, raw, parseGraphAlert)
		if r.Err != nil {
			r.Value = GraphAlert{Raw: raw}
		}
		i.Alerts = append(i.Alerts, r.Value)
	}
	return i, nil
}
