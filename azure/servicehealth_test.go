package azure_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// What Azure does not say, or says in words that are not known, is not health.
func TestUnknownIsNeverAvailable(t *testing.T) {
	cfg := azuretest.Config{Availability: []azuretest.Availability{
		{ResourceID: vm, State: "Available", Title: "ok", ReasonType: "Unplanned"}, {ResourceID: vm2, State: "Recovering"}, {ResourceID: db},
	}}
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		for id, want := range map[string]azure.AvailabilityState{vm: azure.Available, vm2: azure.Unknown, db: azure.Unknown} {
			if a, err := c.ServiceHealth.Resource(ctx, id); err != nil || a.State != want || a.ResourceID != id || a.Occurred.IsZero() || a.Reported.IsZero() {
				t.Errorf("%s: %+v, %v", id, a, err)
			}
		}
		for body, want := range map[string]azure.AvailabilityState{
			`{"availabilityState":"unavailable"}`: azure.Unavailable, `{"availabilityState":"DEGRADED"}`: azure.Degraded,
			`{"availabilityState":"available"}`: azure.Available, `{"availabilityState":"Unknown"}`: azure.Unknown,
			`{"availabilityState":"Available?"}`: azure.Unknown, `{"availabilityState":""}`: azure.Unknown, `{"availabilityState":null}`: azure.Unknown,
			`{"availabilityState":0}`: azure.Unknown, `{"availabilityState":{"value":"Available"}}`: azure.Unknown, `{"availabilityState":["Available"]}`: azure.Unknown,
			`{}`: azure.Unknown, `null`: azure.Unknown, `"Available"`: azure.Unknown,
		} {
			remove := srv.Faults().Add(fault.Rule{
				Kind: fault.Status, Status: 200, Path: "/subscriptions/",
				Body: `{"id":"` + vm + `/providers/Microsoft.ResourceHealth/AvailabilityStatueses/current","properties":` + body + `}`,
			})
			a, err := c.ServiceHealth.Resource(ctx, vm)
			remove()
			if err != nil || a.State != want || a.ResourceID != vm {
				t.Errorf("%s gave %+v, %v", body, a, err)
			}
		}
		srv.SetAvailability(azuretest.Availability{ResourceID: vm, State: "Degraded"})
		if a, err := c.ServiceHealth.Resource(ctx, vm); err != nil || a.State != azure.Degraded {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// When the control plane is down its word on health is missing, and that is an error:
// neither health nor an outage of the resource.
func TestHealthFailsWithTheControlPlane(t *testing.T) {
	cfg := azuretest.Config{Availability: []azuretest.Availability{{ResourceID: vm, State: "Available"}}}
	for _, rule := range []fault.Rule{{Kind: fault.Status, Status: 503}, {Kind: fault.Refuse}, {Kind: fault.Status, Status: 200, Body: `<html>`}, {Kind: fault.Status, Status: 200, Body: `{}`}} {
		cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			srv.Faults().Add(rule)
			if a, err := c.ServiceHealth.Resource(t.Context(), vm); err == nil || a.State != "" {
				t.Errorf("%v: %+v, %v", rule, a, err)
			}
		})
	}
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if a, err := c.ServiceHealth.Resource(t.Context(), vm2); !errors.Is(err, azure.ErrNotFound) || a.State != "" {
			t.Errorf("a resource that is not known: %+v, %v", a, err)
		}
	})
}

// The list of one resource is its past: reading it as the present would take an old
// state for the new one.
func TestThePastOfAResourceIsNotItsPresent(t *testing.T) {
	cfg := azuretest.Config{Availability: []azuretest.Availability{{ResourceID: vm, State: "Available"}, {ResourceID: vm2, State: "Unavailable"}, {ResourceID: db, State: "Degraded"}}}
	cfg.ARM.PageSize = 1
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for scope, want := range map[string]string{sub: "Available Unavailable Degraded", group: "Available Degraded", other: ""} {
			got := names(rows(t, c.ServiceHealth.Resources(azure.ScopeQuery{Scope: scope})), func(a azure.Availability) string { return string(a.State) })
			if got != want {
				t.Errorf("%s: %q, want %q", scope, got, want)
			}
		}
		before := calls(srv)
		for _, scope := range []string{vm, db} {
			if err := lastErr(t, c.ServiceHealth.Resources(azure.ScopeQuery{Scope: scope})); !misused(err) {
				t.Errorf("%s: %v", scope, err)
			}
		}
		for _, id := range []string{"", "x", sub, group, "/subscriptions/" + sub, group + "/tags/t", vm + "/.."} {
			if _, err := c.ServiceHealth.Resource(t.Context(), id); !misused(err) {
				t.Errorf("%q: %v", id, err)
			}
		}
		if calls(srv) != before {
			t.Error("something was sent")
		}
	})
}

func TestHealthEvents(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where a bubble begins
	cfg := azuretest.Config{HealthEvents: []azuretest.HealthEvent{
		{TrackingID: "ALL", Service: "Log Analytics", Regions: []string{"West Europe", "East US"}, Title: "late", Summary: "<p>late</p>"},
		{TrackingID: "ONE", Service: "Sentinel", Subscriptions: []string{sub}, Status: "Resolved", Type: "HealthAdvisory", Mitigated: now},
		{TrackingID: "OLD", LastUpdate: now.AddDate(0, 0, -10)},
	}}
	cfg.ARM.PageSize = 1
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for q, want := range map[azure.EventQuery]string{
			{}:                    "ALL ONE",
			{Subscription: sub}:   "ALL ONE",
			{Subscription: other}: "ALL",
			{Since: now.AddDate(0, 0, -10).Add(5 * time.Hour)}:                      "ALL ONE OLD",
			{Since: now.AddDate(0, 0, -9), Subscription: "/subscriptions/" + other}: "ALL",
		} {
			if got := names(rows(t, c.ServiceHealth.Events(q)), func(e azure.HealthEvent) string { return e.TrackingID }); got != want {
				t.Errorf("%+v gave %q, want %q", q, got, want)
			}
		}
		events := rows(t, c.ServiceHealth.Events(azure.EventQuery{}))
		e := events[0]
		if !e.Active() || events[1].Active() || e.Type != "ServiceIssue" || e.Level != "Warning" || e.Title != "late" || e.ImpactStart.IsZero() || !e.Mitigated.IsZero() || e.LastUpdate.IsZero() {
			t.Errorf("%+v", e)
		}
		if len(e.Impact) != 2 || e.Impact[1] != (azure.EventImpact{Service: "Log Analytics", Region: "East US", Status: "Active"}) {
			t.Errorf("%+v", e.Impact)
		}
		// A service without regions suffers all the same.
		if i := events[1].Impact; len(i) != 1 || i[0].Service != "Sentinel" || !events[1].Mitigated.Equal(now) {
			t.Errorf("%+v", events[1])
		}
		for _, scope := range []string{group, vm, ".."} {
			if err := lastErr(t, c.ServiceHealth.Events(azure.EventQuery{Subscription: scope})); !misused(err) {
				t.Errorf("%q: %v", scope, err)
			}
		}
	})
}
