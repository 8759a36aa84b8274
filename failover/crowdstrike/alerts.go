package crowdstrike

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// AlertsConfig says what [Alerts] reads. The zero value reads every alert.
type AlertsConfig struct {
	// Name of the source. Default "falcon-alerts".
	Name string
	// Filter selects alerts. Default: all.
	Filter falcon.FQL
	// Every is how long to wait between two polls. Default 1 minute.
	Every time.Duration
	// Back is how far the very first poll reaches. Default 24 hours.
	Back time.Duration
	// Overlap is read again by every poll, for alerts that Falcon shows later than it
	// dates them; how much later is not documented. Default 5 minutes.
	Overlap time.Duration
}

// AlertType is the Event.Type of alerts.
const AlertType = "Alert"

// Alerts is Falcon's alerts as a source of siem: each of them whenever it is raised or
// changed, so that its status arrives too, in the order of updated_timestamp. The
// id of such an event is the alert's composite id and that time:
//
//	5eed...:ind:...:4711:2026-11-24T16:30:00.123456789Z
//
// The feed is "alerts". After a restart those of the last Overlap come again, with
// the same ids. An alert that changes twice between two polls comes as it is then.
// Scope: Alerts read.
func Alerts(c *falcon.Client, cfg AlertsConfig) siem.Source {
	if cfg.Name == "" {
		cfg.Name = "falcon-alerts"
	}
	if cfg.Every == 0 {
		cfg.Every = time.Minute
	}
	if cfg.Back == 0 {
		cfg.Back = 24 * time.Hour
	}
	if cfg.Overlap == 0 {
		cfg.Overlap = 5 * time.Minute
	}
	return &alerts{c: c, cfg: cfg}
}

// alerts: an offset is when the alert was updated, in microseconds since 1970, or one
// more than the last one's, so that the cursor says up to where was read. A time to
// come does not count: it would hide what is updated until then.
type alerts struct {
	c   *falcon.Client
	cfg AlertsConfig

	last uint64            // offset that seen belongs to
	seen map[key]time.Time // what was put, and when it was updated
}

// key stands for an id, in little memory.
type key [16]byte

func keyOf[T string | []byte](id T) key {
	sum := sha256.Sum256([]byte(id))
	return key(sum[:16])
}

const (
	alertsFeed = "alerts"
	// alertsPage is how many alerts, of some 5 KB, a call reads; two pages are kept.
	alertsPage = 200
	// maxSeen bounds the memory of ids. In a greater storm alerts come again.
	maxSeen = 200_000
)

// Name implements siem.Source.
func (s *alerts) Name() string { return s.cfg.Name }

// Read implements siem.Source.
func (s *alerts) Read(ctx context.Context, in *siem.Intake) error {
	if s.cfg.Every < 0 || s.cfg.Back < 0 || s.cfg.Overlap < 0 {
		return resilience.Misusef("crowdstrike: AlertsConfig.Every, Back and Overlap must not be negative")
	}
	for {
		if err := s.poll(ctx, in); err != nil {
			return err
		}
		in.Heard(alertsFeed)
		if err := wait.For(ctx, s.cfg.Every); err != nil {
			return err
		}
	}
}

// poll reads what was updated since the cursor, less the overlap.
func (s *alerts) poll(ctx context.Context, in *siem.Intake) error {
	cursor, ok := in.Cursor(alertsFeed)
	if cursor != s.last || s.seen == nil { // another spool, or one that was damaged
		s.last, s.seen = cursor, map[key]time.Time{}
	}
	from := time.Now().Add(-s.cfg.Back)
	if ok {
		from = time.UnixMicro(int64(cursor)).Add(-s.cfg.Overlap)
	}
	err := listAlerts(ctx, s.c, s.cfg.Filter, updated, from, time.Time{}, reading{
		unreadable: func(row *falcon.RowError) error {
			k := keyOf(row.Raw)
			if _, known := s.seen[k]; known {
				return nil
			}
			if err := in.Unreadable(ctx, alertsFeed, 0, row.Raw, row); err != nil {
				return err
			}
			s.seen[k] = time.Now() // it cannot have been updated later
			return nil
		},
		alerts: func(page []falcon.Alert) error { return s.put(ctx, in, page) },
	})
	s.forget(from)
	return err
}

// put puts the alerts that were not seen.
func (s *alerts) put(ctx context.Context, in *siem.Intake, page []falcon.Alert) error {
	var events []siem.Event
	now := uint64(time.Now().UnixMicro())
	last := s.last
	for i := range page {
		e := alertEvent(&page[i])
		if _, known := s.seen[keyOf(e.ID)]; known {
			continue
		}
		last = max(last+1, min(uint64(max(e.Time.UnixMicro(), 0)), now))
		e.Offset = last
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil
	}
	if err := in.Put(ctx, alertsFeed, events...); err != nil {
		return err
	}
	s.last = last
	for i := range events {
		t := events[i].Time
		if t.IsZero() {
			t = time.Now()
		}
		s.seen[keyOf(events[i].ID)] = t
	}
	if len(s.seen) > maxSeen {
		s.forget(events[len(events)-1].Time.Add(-s.cfg.Overlap))
	}
	return nil
}

// forget drops what no poll will list again, and more if it is too much.
func (s *alerts) forget(before time.Time) {
	for k, t := range s.seen {
		if t.Before(before) {
			delete(s.seen, k)
		}
	}
	if len(s.seen) > maxSeen {
		clear(s.seen)
	}
}

// alertEvent is an alert as it was when it was last changed. Its offset is missing.
func alertEvent(a *falcon.Alert) siem.Event {
	return siem.Event{ID: a.ID + ":" + a.Updated.UTC().Format(time.RFC3339Nano), Time: a.Updated, Type: AlertType, Raw: a.Raw}
}

// Times of an alert.
const (
	updated = "updated_timestamp"
	raised  = "created_timestamp"
)

// reading is who gets what [listAlerts] lists.
type reading struct {
	alerts     func([]falcon.Alert) error
	unreadable func(*falcon.RowError) error
}

// listAlerts lists the alerts with a time after one and before another, which may be
// zero, oldest first. When something is missing in a page the error comes
// before what is in it: that would take the cursor past what is missing.
func listAlerts(ctx context.Context, c *falcon.Client, filter falcon.FQL, field string, from, to time.Time, r reading) error {
	filter = falcon.And(filter, falcon.After(field, from))
	if !to.IsZero() {
		filter = falcon.And(filter, falcon.Before(field, to))
	}
	var page []falcon.Alert
	for a, err := range c.Alerts.Query(falcon.AlertQuery{Filter: filter, Sort: field + "|asc", Limit: alertsPage}).All(ctx) {
		if row, ok := errors.AsType[*falcon.RowError](err); ok && len(row.Raw) > 0 {
			if err := r.unreadable(row); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("crowdstrike: alerts with a %s after %s: %w", field, from.UTC().Format(time.RFC3339), err)
		}
		// An error beside a page comes after its rows, so at most a page behind.
		if page = append(page, a); len(page) >= 2*alertsPage {
			if err := r.alerts(page[:alertsPage]); err != nil {
				return err
			}
			page = append([]falcon.Alert(nil), page[alertsPage:]...)
		}
	}
	if len(page) == 0 {
		return nil
	}
	return r.alerts(page)
}
