package azure_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func alarmed(n int) azuretest.Config {
	var cfg azuretest.Config
	for i := range n {
		cfg.Alerts = append(cfg.Alerts, azuretest.DefenderAlert{
			ID: fmt.Sprintf("da%03d_1", i), IncidentID: 9007199254740993, Title: "Suspicious PowerShell", Severity: []string{"Low", "High"}[i%2],
			MachineID: first, RelatedUser: [2]string{"amy", "CORP"}, Techniques: []string{"T1059"},
			Comments: []azuretest.AlertComment{{Comment: "seen", By: "analyst@contoso.com", At: time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC)}},
			Evidence: []map[string]any{
				{"entityType": "Process", "processId": 4780, "fileName": "powershell.exe", "processCommandLine": "-enc", "sha1": nil},
				{"entityType": "Ip", "ipAddress": "192.0.2.1"},
			},
		})
	}
	return cfg
}

func TestDefenderAlerts(t *testing.T) {
	cloud(t, alarmed(5), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		q := azure.DefenderAlertQuery{Query: azure.Query{Filter: azure.Equals("severity", "High")}}
		got := collect(t, c.Defender.Alerts(q))
		if len(got) != 2 || len(got[0].Evidence) != 0 {
			t.Fatalf("%+v", got)
		}
		q.Evidence = true
		a := collect(t, c.Defender.Alerts(q))[0]
		s := fmt.Sprint(a.ID, a.IncidentID, a.Title, a.Status, a.UserDomain, a.UserName, a.Techniques, a.MachineID == first,
			a.Comments[0].By, a.Comments[0].At.Day(), a.Created.IsZero(), a.Resolved.IsZero(), len(a.Evidence),
			a.Evidence[0].ProcessID, a.Evidence[0].CommandLine, a.Evidence[0].SHA1, a.Evidence[1].IPAddress, len(a.Raw) > 300)
		if want := "da001_1 9007199254740993 Suspicious PowerShell New CORP amy [T1059] true analyst@contoso.com 1 false true 2 4780 -enc 192.0.2.1 true"; strings.ReplaceAll(s, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("got %s", s)
		}
		// Pages, with the evidence in each, and a bad row.
		q.Filter, q.Top = "", 3
		l := c.Defender.Alerts(q)
		if got := collect(t, l); len(got) != 3 || len(got[2].Evidence) != 2 {
			t.Errorf("%+v", got)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/alerts", Body: `{"value":[{"title":"x"},{"id":"a","evidence":"none","comments":[1]}]}`, Count: 1})
		var ids []string
		var bad int
		for a, err := range c.Defender.Alerts(azure.DefenderAlertQuery{}).All(t.Context()) {
			if _, ok := errors.AsType[*azure.RowError](err); ok {
				bad++
			} else {
				ids = append(ids, a.ID)
			}
		}
		if bad != 1 || !slices.Equal(ids, []string{"a"}) {
			t.Errorf("%v, %d bad", ids, bad)
		}
	})
}

func TestUpdateAlerts(t *testing.T) {
	cloud(t, alarmed(5), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ids := []string{"da000_1", "da001_1", "da002_1"}
		change := azure.DefenderAlertChange{Status: "Resolved", Classification: "FalsePositive", Determination: "NotMalicious", AssignedTo: "amy", Comment: "test"}
		for _, some := range [][]string{ids[:1], ids[1:]} {
			if done, err := c.Defender.UpdateAlerts(t.Context(), change, some...); err != nil || !slices.Equal(done, some) {
				t.Fatalf("%v, %v", done, err)
			}
		}
		for i, a := range srv.Alerts() {
			want := i < 3
			if (a.Status == "Resolved") != want || (a.AssignedTo == "amy") != want || (len(a.Comments) == 2) != want || a.Determination == "NotMalicious" != want {
				t.Errorf("%+v", a)
			}
		}
		if p, b := requestsOf(srv, http.MethodPatch, "/alerts/da000_1"), requestsOf(srv, http.MethodPost, "/alerts/batchUpdate"); p != 1 || b != 1 {
			t.Errorf("%d and %d calls", p, b)
		}
		done, err := c.Defender.UpdateAlerts(t.Context(), change, "nobody")
		if !errors.Is(err, azure.ErrNotFound) || errors.Is(err, azure.ErrSunset) || len(done) != 0 {
			t.Errorf("%v, %v", done, err)
		}
		// In chunks, and the second of them fails.
		change.Chunk = 2
		done, err = c.Defender.UpdateAlerts(t.Context(), change, "da003_1", "da004_1", "nobody", "da000_1", "da001_1")
		if !slices.Equal(done, []string{"da003_1", "da004_1"}) || !errors.Is(err, azure.ErrNotFound) || !strings.Contains(err.Error(), "after the first 2 of 5") {
			t.Errorf("%v, %v", done, err)
		}
	})
}

// The same status twice is the same; the same comment twice is two comments.
func TestACommentIsNeverSentTwice(t *testing.T) {
	for _, ids := range [][]string{{"da000_1"}, {"da000_1", "da001_1"}} {
		cloud(t, alarmed(2), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			for change, posts := range map[azure.DefenderAlertChange]int{{Status: "Resolved"}: 2, {Status: "New", Comment: "x"}: 1} {
				before := len(srv.Requests())
				srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: "/api/alerts", Count: 1})
				_, err := c.Defender.UpdateAlerts(t.Context(), change, ids...)
				if (err == nil) != (posts == 2) || err != nil && resilience.Of(err).Sent != resilience.MaybeSent {
					t.Errorf("%+v: %v", change, err)
				}
				n := 0
				for _, r := range srv.Requests()[before:] {
					if strings.HasPrefix(r.Path, "/api/alerts") {
						n++
					}
				}
				if n != posts {
					t.Errorf("%+v: sent %d times", change, n)
				}
			}
			for _, a := range srv.Alerts()[:len(ids)] {
				if len(a.Comments) != 2 {
					t.Errorf("%d comments", len(a.Comments))
				}
			}
		})
	}
}

func TestUpdateAlertsMisuse(t *testing.T) {
	cloud(t, alarmed(1), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for want, err := range map[string]error{
			"there are none":         second(c.Defender.UpdateAlerts(t.Context(), azure.DefenderAlertChange{Status: "New"})),
			"one of the ids":         second(c.Defender.UpdateAlerts(t.Context(), azure.DefenderAlertChange{Status: "New"}, "a", "")),
			"nothing is set":         second(c.Defender.UpdateAlerts(t.Context(), azure.DefenderAlertChange{Chunk: 1}, "a")),
			"Chunk is -1":            second(c.Defender.UpdateAlerts(t.Context(), azure.DefenderAlertChange{Status: "New", Chunk: -1}, "a")),
			"alerts.update: the id ": second(c.Defender.UpdateAlerts(t.Context(), azure.DefenderAlertChange{Status: "New"}, " ")),
		} {
			if err == nil || resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Error("something was sent")
		}
	})
}

func second[T any](_ T, err error) error { return err }

// firstError is what ends a list.
func firstError[T any](t *testing.T, l *azure.List[T]) error {
	t.Helper()
	for _, err := range l.All(t.Context()) {
		if err != nil {
			return err
		}
	}
	return nil
}

// Appendix B: 410 and 404 on a retired operation say where to go; the rest of
// Defender works on.
func TestRetiredAlerts(t *testing.T) {
	for _, status := range []int{http.StatusGone, http.StatusNotFound} {
		cloud(t, alarmed(2), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			srv.Retire(status)
			change := azure.DefenderAlertChange{Status: "New"}
			for name, err := range map[string]error{
				"list":  firstError(t, c.Defender.Alerts(azure.DefenderAlertQuery{})),
				"one":   second(c.Defender.UpdateAlerts(t.Context(), change, "da000_1")),
				"batch": second(c.Defender.UpdateAlerts(t.Context(), change, "da000_1", "da001_1")),
			} {
				f := resilience.Of(err)
				if !errors.Is(err, azure.ErrSunset) || f.Class != resilience.Sunset || f.Sent != resilience.Answered || !strings.Contains(err.Error(), "Graph") {
					t.Errorf("%d %s: %v", status, name, err)
				}
			}
			if _, err := c.Defender.Machine(t.Context(), first); err != nil || c.Defender.Policy().State() != resilience.Closed {
				t.Error(err)
			}
			srv.Retire(0)
			if err := firstError(t, c.Defender.Alerts(azure.DefenderAlertQuery{})); err != nil {
				t.Error(err)
			}
		})
	}
	// A 404 of an operation that goes on is about an id.
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Machine(t.Context(), "f00"); errors.Is(err, azure.ErrSunset) {
			t.Error(err)
		}
	})
}

func TestRetiringAlertsWarnOrAreRefused(t *testing.T) {
	var log bytes.Buffer
	logged := func(cfg *azure.Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	cloud(t, alarmed(2), logged, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		for range 3 {
			collect(t, c.Defender.Alerts(azure.DefenderAlertQuery{}))
		}
		if strings.Count(log.String(), "2027-02-01") != 1 || !strings.Contains(log.String(), "defender.alerts.list") {
			t.Errorf("logged %s", log.String())
		}
	})
	cloud(t, alarmed(2), func(cfg *azure.Config) { cfg.RefuseRetiring = true }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		err := firstError(t, c.Defender.Alerts(azure.DefenderAlertQuery{}))
		_, err2 := c.Defender.UpdateAlerts(t.Context(), azure.DefenderAlertChange{Status: "New"}, "da000_1")
		for _, err := range []error{err, err2} {
			f := resilience.Of(err)
			if !errors.Is(err, azure.ErrSunset) || f.Class != resilience.Sunset || f.Sent != resilience.NotSent || !strings.Contains(err.Error(), "RefuseRetiring") {
				t.Errorf("got %v", err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Error("something was sent")
		}
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Error(err)
		}
	})
}
