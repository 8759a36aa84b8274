package crowdstrike_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

const alertsPath = "/alerts/combined/alerts/v1"

// alert raises or changes an alert and returns the id of its event.
func alert(srv *falcontest.Server, id string, updated time.Time) string {
	srv.AddAlert(falcontest.Alert{ID: id, Created: updated, Updated: updated})
	return id + ":" + updated.UTC().Format(time.RFC3339Nano)
}

// Microsoft's connector asks by created_timestamp and never hears that an alert was
// closed.
func TestAlertsComeWheneverTheyChange(t *testing.T) {
	falconCloud(t, falcontest.Config{}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		sink := &table{}
		alert(srv, "c:ind:old", time.Now().Add(-25*time.Hour))
		want := []string{alert(srv, "c:ind:1", time.Now().Add(-23*time.Hour)), alert(srv, "c:ind:2", time.Now().Add(-time.Second))}
		_, stop := pumping(t, t.TempDir(), sink, crowdstrike.Alerts(c, crowdstrike.AlertsConfig{}))
		defer stop()
		time.Sleep(10 * time.Minute)
		if _, err := c.Alerts.Update(t.Context(), falcon.AlertChange{Status: falcon.AlertClosed}, "c:ind:1"); err != nil {
			t.Fatal(err)
		}
		want = append(want, "c:ind:1:"+srv.Alerts()[0].Updated.UTC().Format(time.RFC3339Nano))
		time.Sleep(10 * time.Minute)
		if got := sink.got(""); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if row := sink.rows[want[2]]; !strings.Contains(row, `"status":"closed"`) || !strings.Contains(row, `"EventType":"Alert"`) {
			t.Errorf("the row is %s", row)
		}
	})
}

// Falcon may show an alert minutes after the time that it gives it, and a time to
// come must not hide those that are updated until then.
func TestAlertsThatComeLateAreNotLost(t *testing.T) {
	falconCloud(t, falcontest.Config{}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		dir, sink := t.TempDir(), &table{}
		_, stop := pumping(t, dir, sink, crowdstrike.Alerts(c, crowdstrike.AlertsConfig{}))
		want := []string{alert(srv, "c:ind:1", time.Now())}
		time.Sleep(2 * time.Minute)
		want = append(want, alert(srv, "c:ind:late", time.Now().Add(-4*time.Minute)))
		time.Sleep(2 * time.Minute)
		want = append(want, alert(srv, "c:ind:future", time.Now().Add(100*time.Hour)))
		time.Sleep(2 * time.Minute)
		want = append(want, alert(srv, "c:ind:4", time.Now()))
		time.Sleep(30 * time.Minute)
		if got := sink.got(""); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		stop()
		want = append(want, alert(srv, "c:ind:5", time.Now()))
		time.Sleep(time.Hour)
		want = append(want, alert(srv, "c:ind:6", time.Now()))
		_, stop = pumping(t, dir, sink, crowdstrike.Alerts(c, crowdstrike.AlertsConfig{}))
		defer stop()
		time.Sleep(30 * time.Minute)
		got := sink.got("")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(slices.Compact(slices.Clone(got)), want) || len(got) > len(want)+3 {
			t.Errorf("got %q, want %q, a few of them twice", got, want)
		}
	})
}

// Many pages, some of whose tokens have expired: all of them, in order, once.
func TestManyAlertsComeOnce(t *testing.T) {
	falconCloud(t, falcontest.Config{}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		sink := &table{}
		var want []string
		for n := range 2500 {
			want = append(want, alert(srv, fmt.Sprintf("c:ind:%04d", n), time.Now().Add(time.Duration(n-2500)*time.Second)))
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 404, Path: alertsPath, Rate: 0.2, Count: 4, Body: `{"errors":[{"code":404,"message":"Search context expired"}],"resources":[]}`})
		_, stop := pumping(t, t.TempDir(), sink, crowdstrike.Alerts(c, crowdstrike.AlertsConfig{}))
		defer stop()
		time.Sleep(30 * time.Minute)
		if got := sink.got(""); !slices.Equal(got, want) {
			t.Errorf("%d rows of %d, or not in order", len(got), len(want))
		}
	})
}

// An answer that says that something is missing in it must not move the cursor: what
// is missing may be older than what is there.
func TestAPageWithAHoleIsReadAgain(t *testing.T) {
	falconCloud(t, falcontest.Config{}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		sink := &table{}
		now := time.Now().UTC()
		want := []string{alert(srv, "c:ind:1", now.Add(-time.Hour)), alert(srv, "c:ind:2", now)}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: alertsPath, Count: 1, Body: fmt.Sprintf(
			`{"meta":{"pagination":{"total":1}},"errors":[{"code":500,"message":"a shard failed"}],"resources":[{"composite_id":"c:ind:2","updated_timestamp":%q}]}`, now.Format(time.RFC3339Nano))})
		_, stop := pumping(t, t.TempDir(), sink, crowdstrike.Alerts(c, crowdstrike.AlertsConfig{}))
		defer stop()
		time.Sleep(10 * time.Minute)
		if got := sink.got(""); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestAnUnreadableAlertIsBuriedOnce(t *testing.T) {
	falconCloud(t, falcontest.Config{}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		dir, sink := t.TempDir(), &table{}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: alertsPath, Count: 5, Body: `{"errors":[],"resources":[{"name":"without an id"}]}`})
		_, stop := pumping(t, dir, sink, crowdstrike.Alerts(c, crowdstrike.AlertsConfig{}))
		time.Sleep(10 * time.Minute)
		stop()
		if letters := readAll(t, dir+"/dead"); strings.Count(letters, "without an id") != 1 {
			t.Errorf("the dead letters: %s", letters)
		}
	})
}
