package microsoft

import (
	"context"
	"iter"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover/siem"
)

// Incidents is the incidents of Microsoft Defender XDR as a source of siem, as [Alerts]
// is for alerts. Events have the type "Incident" and the id "tenant:incident
// id:lastUpdateDateTime", because incidents are only numbered. One that was merged with
// another is an event too. App permission: SecurityIncident.Read.All, and with Expand
// SecurityAlert.Read.All; Graph may then leave out some alerts of a large incident.
func Incidents(c *azure.Client, cfg ChangesConfig) siem.Source {
	list := c.Graph.Incidents
	if cfg.Expand {
		list = c.Graph.IncidentsWithAlerts
	}
	return cfg.poll("incidents", func(ctx context.Context, since time.Time) iter.Seq2[siem.Change, error] {
		q := azure.GraphQuery{Filter: azure.Since("lastUpdateDateTime", since)}
		return changes(list(q).All(ctx), func(i azure.GraphIncident) siem.Change {
			return siem.Change{ID: i.TenantID + ":" + i.ID, Updated: i.Updated, Type: "Incident", Raw: i.Raw}
		})
	})
}
