package azure_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestCloudAlerts(t *testing.T) {
	cfg := posture()
	cfg.ARM.PageSize = 2
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for q, want := range map[azure.CloudAlertQuery]string{
			{Scope: sub}:                                    "a1 a2 a3",
			{Scope: "/subscriptions/" + other + "/"}:        "a4",
			{Scope: group}:                                  "a1",
			{Scope: sub, Location: "westeurope"}:            "a1 a3",
			{Scope: group, Location: "centralus"}:           "",
			{Scope: strings.ToUpper(sub), Location: "none"}: "",
		} {
			if got := names(rows(t, c.Posture.Alerts(q)), func(a azure.CloudAlert) string { return a.Name }); got != want {
				t.Errorf("%+v gave %q, want %q", q, got, want)
			}
		}
		a := rows(t, c.Posture.Alerts(azure.CloudAlertQuery{Scope: group}))[0]
		if a.Severity != azure.CloudLow || a.Status != azure.CloudAlertActive || a.Type != "VM_EICAR" || a.CompromisedEntity != "vm#1" ||
			!slices.Equal(a.Techniques, []string{"T1059"}) || a.ExtendedProperties["user"] != "x" || a.Start.IsZero() || a.End.IsZero() || len(a.Raw) == 0 {
			t.Errorf("%+v", a)
		}
		// The key that joins, and the kinds of identifiers that are none.
		if len(a.Resources) != 2 || a.Resources[0].ResourceID != vm || a.Resources[1].ResourceID != "" ||
			a.Resources[1].Type != "LogAnalytics" || !strings.Contains(string(a.Resources[1].Raw), `"workspaceId":"w1"`) {
			t.Errorf("%+v", a.Resources)
		}
		got, err := c.Posture.Alert(t.Context(), a.ID)
		if err != nil || got.ID != a.ID {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := c.Posture.Alert(t.Context(), a.ID+"x"); !errors.Is(err, azure.ErrNotFound) {
			t.Error(err)
		}
		// Half a list, and the rest later.
		list := c.Posture.Alerts(azure.CloudAlertQuery{Scope: sub})
		for range list.All(t.Context()) {
			break
		}
		rest := rows(t, c.Posture.Alerts(azure.CloudAlertQuery{Scope: sub, Cursor: list.Cursor()}))
		if got := names(rest, func(a azure.CloudAlert) string { return a.Name }); got != "a2 a3" {
			t.Errorf("the rest is %q", got)
		}
	})
}

func TestSetAlertStatus(t *testing.T) {
	cloud(t, posture(), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		id := srv.CloudAlerts()[0].ID()
		for _, status := range []azure.CloudAlertStatus{azure.CloudAlertDismissed, azure.CloudAlertInProgress, azure.CloudAlertResolved, azure.CloudAlertActive} {
			if err := c.Posture.SetAlertStatus(t.Context(), id, status); err != nil {
				t.Fatal(err)
			}
			if got := srv.CloudAlerts()[0].Status; got != string(status) {
				t.Errorf("%s, want %s", got, status)
			}
			if a, err := c.Posture.Alert(t.Context(), id); err != nil || a.Status != status {
				t.Errorf("%+v, %v", a, err)
			}
		}
		if err := c.Posture.SetAlertStatus(t.Context(), id+"x", azure.CloudAlertActive); !errors.Is(err, azure.ErrNotFound) {
			t.Error(err)
		}
	})
}

// The status was set, the answer lost: saying it again is safe, so it is said again.
func TestAlertStatusSurvivesALostAnswer(t *testing.T) {
	for _, kind := range []fault.Rule{{Kind: fault.LoseResponse}, {Kind: fault.Status, Status: 503}, {Kind: fault.Reset}} {
		cloud(t, posture(), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			kind.Count, kind.Method, kind.Path = 1, http.MethodPost, "/subscriptions/"
			srv.Faults().Add(kind)
			id := srv.CloudAlerts()[0].ID()
			if err := c.Posture.SetAlertStatus(t.Context(), id, azure.CloudAlertDismissed); err != nil {
				t.Fatalf("%v: %v", kind.Kind, err)
			}
			if got := srv.CloudAlerts()[0].Status; got != "Dismissed" || calls(srv) != 2 {
				t.Errorf("%v: %s after %d calls", kind.Kind, got, calls(srv))
			}
		})
	}
}
