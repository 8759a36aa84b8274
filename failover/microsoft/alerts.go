package microsoft

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover/siem"
)

// ChangesConfig says how the lists of [Alerts], [GraphAlerts] and [Incidents] are read.
// The zero value is usable.
type ChangesConfig struct {
	// Name of the source. Defaults "defender-alerts", "graph-alerts" and "incidents".
	Name string
	// Every, Overlap and Start are as in siem.Poll: by default each list is read every
	// minute, from 5 minutes before its last change on, and first from 24 h back. How
	// late a change becomes visible Microsoft does not document.
	Every, Overlap, Start time.Duration
	// Expand asks for what belongs to a row as well: the evidence of a Defender alert,
	// the alerts of an incident. Graph gives an alert's evidence in any case.
	Expand bool
}

func (cfg ChangesConfig) poll(name string, changed func(ctx context.Context, since time.Time) iter.Seq2[siem.Change, error]) siem.Source {
	if cfg.Name != "" {
		name = cfg.Name
	}
	return &siem.Poll{Source: name, Changed: changed, Every: cfg.Every, Overlap: cfg.Overlap, Start: cfg.Start}
}

// Alerts is the alerts of Defender for Endpoint as a source of siem: every change of one
// is an event of the type "DefenderAlert", with the alert as it was then, and the id
// "alert id:lastUpdateTime". Changes that follow each other faster than the list is read
// are one. Rows that cannot be read go to the dead letters. App permission:
// Alert.Read.All.
//
// Microsoft takes this list out of service on 2027-02-01, see azure.Defender.Alerts;
// [GraphAlerts] has the same alerts.
func Alerts(c *azure.Client, cfg ChangesConfig) siem.Source {
	return cfg.poll("defender-alerts", func(ctx context.Context, since time.Time) iter.Seq2[siem.Change, error] {
		q := azure.DefenderAlertQuery{Query: azure.Query{Filter: azure.Since("lastUpdateTime", since)}, Evidence: cfg.Expand}
		return changes(c.Defender.Alerts(q).All(ctx), func(a azure.DefenderAlert) siem.Change {
			return siem.Change{ID: a.ID, Updated: a.Updated, Type: "DefenderAlert", Raw: a.Raw}
		})
	})
}

// GraphAlerts is Alerts for the alerts of all products of Microsoft Defender XDR, those
// of Defender for Endpoint among them. Events have the type "GraphAlert". App
// permission: SecurityAlert.Read.All.
func GraphAlerts(c *azure.Client, cfg ChangesConfig) siem.Source {
	return cfg.poll("graph-alerts", func(ctx context.Context, since time.Time) iter.Seq2[siem.Change, error] {
		q := azure.GraphQuery{Filter: azure.Since("lastUpdateDateTime", since)}
		return changes(c.Graph.Alerts(q).All(ctx), func(a azure.GraphAlert) siem.Change {
			return siem.Change{ID: a.ID, Updated: a.Updated, Type: "GraphAlert", Raw: a.Raw}
		})
	})
}

// changes are a list's rows, those among them that cannot be read.
func changes[T any](rows iter.Seq2[T, error], of func(T) siem.Change) iter.Seq2[siem.Change, error] {
	return func(yield func(siem.Change, error) bool) {
		for v, err := range rows {
			if bad, ok := errors.AsType[*azure.RowError](err); ok {
				if !yield(siem.Change{ID: bad.ID, Raw: bad.Raw, Err: bad}, nil) {
					return
				}
				continue
			}
			if err != nil {
				yield(siem.Change{}, err)
				return
			}
			if !yield(of(v), nil) {
				return
			}
		}
	}
}
