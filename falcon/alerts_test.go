package falcon_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// raised is a cloud's n alerts, one a second, of severities 0 to 99.
func raised(n int) falcontest.Config {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var cfg falcontest.Config
	for i := range n {
		cfg.Alerts = append(cfg.Alerts, falcontest.Alert{
			ID: alertID(i), DeviceID: first, Hostname: "ws-000", Name: fmt.Sprintf("alert %d", i),
			Severity: i % 100, Created: begin.Add(time.Duration(i) * time.Second),
		})
	}
	return cfg
}

func alertID(i int) string { return fmt.Sprintf("%032x:ind:%032x:%05d", 1, 1, i) }

// gather reads a list to its end: the ids of its rows, and its errors.
func gather[T any](t *testing.T, l *falcon.List[T], id func(T) string) (ids []string, errs []error) {
	t.Helper()
	for v, err := range l.All(t.Context()) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ids = append(ids, id(v))
	}
	return ids, errs
}

// some reads the next n rows of a list, fewer at its end.
func some[T any](t *testing.T, l *falcon.List[T], n int, id func(T) string) (ids []string) {
	t.Helper()
	for v, err := range l.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, id(v)); len(ids) == n {
			break
		}
	}
	return ids
}

func idOfAlert(a falcon.Alert) string { return a.ID }

// Offsets end at 10,000 alerts; after goes on, every alert once, in order.
func TestAlertsBeyondTenThousand(t *testing.T) {
	const n = 10_500
	cloud(t, raised(n), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		l := c.Alerts.Query(falcon.AlertQuery{})
		ids, errs := gather(t, l, idOfAlert)
		if len(ids) != n || len(errs) != 0 || !slices.IsSorted(ids) || l.Total() != n {
			t.Errorf("%d alerts of %d, %v", len(ids), l.Total(), errs)
		}
		if calls := count(srv, "/alerts/combined/alerts/v1"); calls != 11 {
			t.Errorf("%d calls", calls)
		}
	})
}

func TestAlertsAreFilteredAndResumed(t *testing.T) {
	cloud(t, raised(300), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		q := falcon.AlertQuery{Filter: falcon.And(falcon.AtLeast("severity", 80), falcon.Equals("status", "new")), Limit: 7}
		all, errs := gather(t, c.Alerts.Query(q), idOfAlert)
		if len(all) != 60 || len(errs) != 0 {
			t.Fatalf("%d alerts, %v", len(all), errs)
		}
		var got []string
		for len(got) < 60 { // a new list for every five alerts
			l := c.Alerts.Query(q)
			got = append(got, some(t, l, 5, idOfAlert)...)
			q.Cursor = l.Cursor()
		}
		if !slices.Equal(got, all) {
			t.Error("resumed, the list is another")
		}
		a, _ := gather(t, c.Alerts.Query(falcon.AlertQuery{Filter: falcon.Equals("name", "alert 7")}), func(a falcon.Alert) string {
			return fmt.Sprint(a.Severity, a.SeverityName, a.Status, a.Hostname, a.Created.Second(), a.ShowInUI, len(a.Raw) > 100)
		})
		if want := fmt.Sprint(7, "Informational", "new", "ws-000", 7, true, true); !slices.Equal(a, []string{want}) {
			t.Errorf("got %q, want %q", a, want)
		}
	})
}

// Falcon forgets a page's token; that is an error and not the end of the list.
func TestAnExpiredAfterIsAnError(t *testing.T) {
	cloud(t, raised(20), nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
		var seen int
		var last error
		for _, err := range c.Alerts.Query(falcon.AlertQuery{Limit: 5}).All(t.Context()) {
			if last = err; err != nil {
				break
			}
			if seen++; seen == 5 {
				time.Sleep(time.Hour)
			}
		}
		if seen != 5 || !errors.Is(last, falcon.ErrNotFound) || !strings.Contains(last.Error(), "expired") {
			t.Errorf("%d alerts, then %v", seen, last)
		}
	})
}

func TestAlertsByID(t *testing.T) {
	cloud(t, raised(2500), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for i := range 2500 {
			ids = append(ids, alertID(i))
		}
		ids = append(ids, "unknown:1", "unknown:2")
		got, errs := gather(t, c.Alerts.Get(ids...), idOfAlert)
		if !slices.Equal(got, ids[:2500]) || len(errs) != 2 || count(srv, "/alerts/entities/alerts/v2") != 3 {
			t.Errorf("%d alerts, %v, %d calls", len(got), errs, count(srv, "/alerts/entities/alerts/v2"))
		}
		for i, err := range errs {
			if row, ok := errors.AsType[*falcon.RowError](err); !ok || row.ID != ids[2500+i] || !errors.Is(err, falcon.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
		if got, errs := gather(t, c.Alerts.Get("unknown"), idOfAlert); len(got) != 0 || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrNotFound) {
			t.Errorf("one that is unknown: %v, %v", got, errs)
		}
		if _, errs := gather(t, c.Alerts.Get(alertID(1), ""), idOfAlert); len(errs) != 1 || resilience.Of(errs[0]).Class != resilience.Misuse {
			t.Errorf("an empty id: %v", errs)
		}
	})
}

func TestAlertsAreChanged(t *testing.T) {
	cloud(t, raised(1200), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		var ids []string
		for i := range 1200 {
			ids = append(ids, alertID(i))
		}
		hide := false
		change := falcon.AlertChange{
			Status: falcon.AlertInProgress, AssignTo: "u-1", AddTags: []string{"a", "b"}, RemoveTags: []string{"b", "c"},
			Comment: "seen", ShowInUI: &hide,
		}
		n, err := c.Alerts.Update(t.Context(), change, append(ids, "unknown")...)
		row, ok := errors.AsType[*falcon.RowError](err)
		if n != 1200 || !ok || row.ID != "unknown" || count(srv, "/alerts/entities/alerts/v3") != 2 {
			t.Errorf("%d changed, %v", n, err)
		}
		for _, a := range srv.Alerts() {
			// Falcon removes before it adds.
			if a.Status != "in_progress" || a.AssignedTo != "u-1" || !slices.Equal(a.Tags, []string{"a", "b"}) || !slices.Equal(a.Comments, []string{"seen"}) || !a.Hidden {
				t.Fatalf("%+v", a)
			}
		}
		if n, err := c.Alerts.Update(t.Context(), falcon.AlertChange{Unassign: true}, ids[0]); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// gofalcon B1: a PATCH is sent again after a 503. A comment would be there twice;
// a status may be set twice.
func TestACommentIsNeverSentTwice(t *testing.T) {
	cloud(t, raised(1), nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		if _, err := c.Alerts.Update(t.Context(), falcon.AlertChange{Status: falcon.AlertNew}, alertID(0)); err != nil {
			t.Fatal(err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: "/alerts/entities/alerts/v3", Count: 1})
		_, err := c.Alerts.Update(t.Context(), falcon.AlertChange{Comment: "once"}, alertID(0))
		if f := resilience.Of(err); err == nil || f.Sent != resilience.MaybeSent {
			t.Errorf("got %v", err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: "/alerts/entities/alerts/v3", Count: 1})
		if _, err := c.Alerts.Update(t.Context(), falcon.AlertChange{Status: falcon.AlertClosed}, alertID(0)); err != nil {
			t.Errorf("a status may be set twice: %v", err)
		}
		if a := srv.Alerts()[0]; len(a.Comments) != 1 || a.Status != "closed" {
			t.Errorf("%+v", a)
		}
	})
}

// What cannot be right is said before anything is sent.
func TestAlertMisuse(t *testing.T) {
	cloud(t, raised(1), func(c *falcon.Config) { c.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		update := func(change falcon.AlertChange, ids ...string) error {
			_, err := c.Alerts.Update(t.Context(), change, ids...)
			return err
		}
		for want, err := range map[string]error{
			"AlertChange is empty":  update(falcon.AlertChange{}, alertID(0)),
			"AlertChange.Status":    update(falcon.AlertChange{Status: "done"}, alertID(0)),
			"exclude each other":    update(falcon.AlertChange{AssignTo: "u", Unassign: true}, alertID(0)),
			"one of the ids":        update(falcon.AlertChange{Status: falcon.AlertNew}, ""),
			"or there are none":     update(falcon.AlertChange{Status: falcon.AlertNew}),
			"the client is read-on": update(falcon.AlertChange{Status: falcon.AlertNew}, alertID(0)),
		} {
			if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		_, errs := gather(t, c.Alerts.Query(falcon.AlertQuery{Filter: falcon.In("name")}), idOfAlert)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "at least one value") {
			t.Errorf("a filter that is none: %v", errs)
		}
		if len(srv.Requests()) != 0 {
			t.Errorf("sent: %v", srv.Requests())
		}
	})
}

// gofalcon C5: one alert with a severity that is a text, and the page is lost.
func TestOneOddAlertDoesNotLoseThePage(t *testing.T) {
	body := `{"meta":{"trace_id":"t","pagination":{"total":3}},"errors":[],"resources":[
		{"composite_id":"a","severity":50},{"composite_id":"b","severity":"50","status":7},{"name":"no id"}]}`
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusOK, Path: "/alerts/combined", Body: body})
		ids, errs := gather(t, c.Alerts.Query(falcon.AlertQuery{}), func(a falcon.Alert) string { return fmt.Sprint(a.ID, a.Severity) })
		if !slices.Equal(ids, []string{"a50", "b50"}) || len(errs) != 1 {
			t.Errorf("%v, %v", ids, errs)
		}
	})
}
