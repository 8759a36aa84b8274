package crowdstrike

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
)

// AlertsConfig says what [Alerts] reads. The zero value reads every alert.
type AlertsConfig struct {
	// Name of the source. Default "falcon-alerts".
	Name string
	// Filter selects alerts. Default: all.
	Filter falcon.FQL
	// Every, Overlap and Start are as in siem.Poll: by default the list is read every
	// minute, from 5 minutes before its last change on, and first from 24 h back. How
	// late Falcon shows an alert is not documented.
	Every, Overlap, Start time.Duration
}

// AlertType is the Event.Type of alerts.
const AlertType = "Alert"

// Alerts is Falcon's alerts as a source of siem: each of them whenever it is raised or
// changed, so that its status arrives too. The id of such an event is the alert's
// composite id and its updated_timestamp:
//
//	5eed...:ind:...:4711:2026-11-24T16:30:00.123456789Z
//
// An alert that changes twice between two polls comes as it is then. Rows that cannot be
// read go to the dead letters. Scope: Alerts read.
func Alerts(c *falcon.Client, cfg AlertsConfig) siem.Source {
	if cfg.Name == "" {
		cfg.Name = "falcon-alerts"
	}
	return &siem.Poll{
		Source: cfg.Name, Every: cfg.Every, Overlap: cfg.Overlap, Start: cfg.Start,
		Changed: func(ctx context.Context, since time.Time) iter.Seq2[siem.Change, error] {
			return alerts(ctx, c, cfg.Filter, updated, since, time.Time{})
		},
	}
}

// Times of an alert.
const (
	updated = "updated_timestamp"
	raised  = "created_timestamp"
)

// alertsPage is how many alerts, of some 5 KB, a call reads.
const alertsPage = 200

// alerts lists those with a time after one and before another, which may be zero,
// oldest first. That something is missing in a page is an error of the whole: only a
// row that is there and cannot be read is one of its own.
func alerts(ctx context.Context, c *falcon.Client, filter falcon.FQL, field string, from, to time.Time) iter.Seq2[siem.Change, error] {
	filter = falcon.And(filter, falcon.After(field, from))
	if !to.IsZero() {
		filter = falcon.And(filter, falcon.Before(field, to))
	}
	return func(yield func(siem.Change, error) bool) {
		for a, err := range c.Alerts.Query(falcon.AlertQuery{Filter: filter, Sort: field + "|asc", Limit: alertsPage}).All(ctx) {
			change := siem.Change{ID: a.ID, Updated: a.Updated, Type: AlertType, Raw: a.Raw}
			if row, ok := errors.AsType[*falcon.RowError](err); ok && len(row.Raw) > 0 {
				change = siem.Change{Raw: row.Raw, Err: row}
			} else if err != nil {
				yield(siem.Change{}, fmt.Errorf("crowdstrike: alerts with a %s after %s: %w", field, from.UTC().Format(time.RFC3339), err))
				return
			}
			if !yield(change, nil) {
				return
			}
		}
	}
}
