package microsoft_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/resilience/fault"
)

// changing is one of the lists, and how things change in it.
type changing struct {
	source func(*azure.Client, microsoft.ChangesConfig) siem.Source
	kind   string
	path   string
	id     string // of thing n, at the beginning of the event's id
	raise  func(srv *azuretest.Server, n int)
	change func(ctx context.Context, c *azure.Client, srv *azuretest.Server, n int) error
}

func alertID(n int) string { return fmt.Sprintf("da%d_1", n) }

var lists = map[string]changing{
	"alerts": {
		microsoft.Alerts, "DefenderAlert", "/api/alerts", "da%d_1",
		func(srv *azuretest.Server, n int) {
			srv.AddAlert(azuretest.DefenderAlert{ID: alertID(n), Evidence: []map[string]any{{"entityType": "Process"}}})
		},
		func(ctx context.Context, c *azure.Client, _ *azuretest.Server, n int) error {
			_, err := c.Defender.UpdateAlerts(ctx, azure.DefenderAlertChange{Status: "Resolved"}, alertID(n))
			return err
		},
	},
	"Graph alerts": {
		microsoft.GraphAlerts, "GraphAlert", "/v1.0/security/alerts_v2", "da%d_1",
		func(srv *azuretest.Server, n int) { srv.AddGraphAlert(azuretest.GraphAlert{ID: alertID(n)}) },
		func(_ context.Context, _ *azure.Client, srv *azuretest.Server, n int) error {
			srv.AddGraphAlert(azuretest.GraphAlert{ID: alertID(n), Status: "resolved", LastUpdate: time.Now()})
			return nil
		},
	},
	"incidents": {
		microsoft.Incidents, "Incident", "/v1.0/security/incidents", azuretest.TenantID + ":%d",
		func(srv *azuretest.Server, n int) {
			srv.AddGraphIncident(azuretest.GraphIncident{ID: fmt.Sprint(n)})
			srv.AddGraphAlert(azuretest.GraphAlert{IncidentID: fmt.Sprint(n), Title: "of the incident"})
		},
		func(_ context.Context, _ *azure.Client, srv *azuretest.Server, n int) error {
			srv.AddGraphIncident(azuretest.GraphIncident{ID: fmt.Sprint(n), Status: "resolved", LastUpdate: time.Now()})
			return nil
		},
	},
}

// envelopes keeps the rows of siem.Envelope.
type envelopes struct{ rows []envelope }

type envelope struct {
	JurymastID    string `json:"JurymastId"`
	TimeGenerated time.Time
	EventType     string
	Event         map[string]any
}

func (s *envelopes) Send(_ context.Context, b *siem.Batch) (siem.Receipt, error) {
	rows, err := b.All()
	for _, raw := range rows {
		var row envelope
		if err := json.Unmarshal(raw, &row); err != nil {
			return siem.Receipt{}, err
		}
		s.rows = append(s.rows, row)
	}
	return siem.Receipt{}, err
}

func (s *envelopes) ids() (out []string) {
	for _, row := range s.rows {
		out = append(out, row.JurymastID)
	}
	slices.Sort(out)
	return out
}

// Every change is an event, once, in any order of the list, through errors of the
// service and a row that nobody can read.
func TestChangesArriveOnce(t *testing.T) {
	for name, list := range lists {
		t.Run(name, func(t *testing.T) {
			sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
				list.changesArriveOnce(t, srv, c)
			})
		})
	}
}

func (list changing) changesArriveOnce(t *testing.T, srv *azuretest.Server, c *azure.Client) {
	sink := &envelopes{}
	var all []string // that there ever were
	latest := map[int]string{}
	note := func(n int) {
		latest[n] = fmt.Sprintf(list.id, n) + ":" + time.Now().UTC().Format(time.RFC3339Nano)
		all = append(all, latest[n])
	}
	go func() {
		for n := range 120 {
			list.raise(srv, n)
			note(n)
			time.Sleep(20 * time.Second)
			if n%20 == 5 {
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: http.MethodGet, Status: 503, Path: list.path, For: 2 * time.Minute})
			}
			if old := n - 5; n%2 == 0 && old >= 0 {
				if list.change(t.Context(), c, srv, old) == nil { // or the breaker is open
					note(old)
				}
			}
			time.Sleep(10 * time.Second)
		}
	}()
	// One page has rows in it that nobody can read.
	srv.Faults().Add(fault.Rule{
		Kind: fault.Status, Status: http.StatusOK, Path: list.path, Method: http.MethodGet, Start: 30 * time.Minute, Count: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"value":[{"title":"nobody"},"?"]}`,
	})
	dead := pumpEnvelopes(t, list.source(c, microsoft.ChangesConfig{}), sink, 2*time.Hour)
	got := sink.ids()
	if n := len(got); n != len(slices.Compact(slices.Clone(got))) || n < 150 {
		t.Errorf("%d events, or copies among them", n)
	}
	for _, id := range got {
		if !slices.Contains(all, id) {
			t.Errorf("%s never was", id)
		}
	}
	for _, id := range latest {
		if !slices.Contains(got, id) {
			t.Errorf("%s is lost", id)
		}
	}
	for _, row := range sink.rows {
		at, err := time.Parse(time.RFC3339Nano, at(row))
		if row.EventType != list.kind || err != nil || !at.Truncate(time.Millisecond).Equal(row.TimeGenerated) || row.Event["id"] == nil {
			t.Fatalf("%+v, %v", row, err)
		}
	}
	if n := strings.Count(dead, "\n"); n != 2 || strings.Count(dead, "azure ") != 2 || !strings.Contains(dead, "nobody") {
		t.Errorf("%d dead letters: %s", n, dead)
	}
}

// at is the time in an event's id.
func at(row envelope) string {
	parts := strings.Split(row.JurymastID, ":")
	return strings.Join(parts[len(parts)-3:], ":")
}

// pumpEnvelopes delivers what a source has for a while, and returns the dead letters.
func pumpEnvelopes(t *testing.T, source siem.Source, sink siem.Sink, during time.Duration) string {
	t.Helper()
	return pumpMapped(t, failover.Member[siem.Sink]{ID: "sink", Value: sink}, source, siem.Envelope, during)
}

func TestChangesExpand(t *testing.T) {
	for name, part := range map[string]string{"alerts": "evidence", "incidents": "alerts"} {
		for _, expand := range []bool{false, true} {
			sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
				sink := &envelopes{}
				lists[name].raise(srv, 1)
				pumpEnvelopes(t, lists[name].source(c, microsoft.ChangesConfig{Expand: expand}), sink, time.Minute)
				if len(sink.rows) != 1 {
					t.Fatalf("%d rows", len(sink.rows))
				}
				if of, _ := sink.rows[0].Event[part].([]any); (len(of) == 1) != expand {
					t.Errorf("%s, expanded %v: %v", name, expand, of)
				}
			})
		}
	}
}

func TestChangesSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, want := range map[string]string{"alerts": "defender-alerts", "Graph alerts": "graph-alerts", "incidents": "incidents"} {
			c := &azure.Client{Graph: &azure.Graph{}}
			p, ok := lists[name].source(c, microsoft.ChangesConfig{Every: 1, Overlap: 2, Start: 3}).(*siem.Poll)
			if !ok || p.Name() != want || p.Every != 1 || p.Overlap != 2 || p.Start != 3 {
				t.Errorf("%s: %+v", name, p)
			}
			if n := lists[name].source(c, microsoft.ChangesConfig{Name: "mine"}).Name(); n != "mine" {
				t.Error(n)
			}
		}
	})
}
