package azure_test

import (
	"errors"
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

const (
	sub   = "11111111-2222-4333-8444-555555555555"
	other = "99999999-2222-4333-8444-555555555555"
	group = "/subscriptions/" + sub + "/resourceGroups/rg (prod)"
	vm    = group + "/providers/Microsoft.Compute/virtualMachines/vm#1"
	vm2   = "/subscriptions/" + sub + "/resourceGroups/rg2/providers/Microsoft.Compute/virtualMachines/vm2"
	db    = group + "/providers/Microsoft.Sql/servers/s1/databases/d1"
)

// posture is a tenant of two subscriptions.
func posture() azuretest.Config {
	return azuretest.Config{
		CloudAlerts: []azuretest.CloudAlert{
			{
				Subscription: sub, ResourceGroup: "rg (prod)", Name: "a1", Resources: []string{vm}, Workspace: "w1", CompromisedEntity: "vm#1", Severity: "low",
				Techniques: []string{"T1059"}, ExtendedProperties: map[string]string{"user": "x"},
			},
			{Subscription: sub, ResourceGroup: "rg2", Name: "a2", Location: "centralus", Status: "Dismissed"},
			{Subscription: sub, Name: "a3"},
			{Subscription: other, Name: "a4"},
		},
		CloudScores: []azuretest.CloudScore{
			{Subscription: sub, Current: 23.53, Max: 39, Weight: 67},
			{Subscription: sub, Name: "none"},
			{Subscription: other, Current: 1, Max: 2},
		},
		Assessments: []azuretest.Assessment{
			{ResourceID: vm, Name: "n1", Code: "Healthy", DisplayName: "patch"},
			{ResourceID: vm, Name: "n2", Code: "NotApplicable", Cause: "OffByPolicy", Description: "off"},
			{ResourceID: vm2, Name: "n1", Code: "Unhealthy"},
			{ResourceID: "/subscriptions/" + other, Name: "n1", Code: "Healthy"},
		},
		CloudPlans: []azuretest.CloudPlan{
			{
				Scope: "/subscriptions/" + sub, Name: "VirtualMachines", Tier: "Standard", SubPlan: "P2", Coverage: "PartiallyCovered",
				Enabled: time.Date(2023, 3, 1, 12, 0, 0, 0, time.UTC), Extensions: []string{"AgentlessVmScanning"},
			},
			{Scope: "/subscriptions/" + sub, Name: "Dns"},
			{Scope: vm, Name: "VirtualMachines", Tier: "Standard", SubPlan: "P1"},
			{Scope: vm2, Name: "VirtualMachines", Tier: "Standard", Inherited: "/subscriptions/" + sub},
		},
	}
}

// rows reads a list to its end.
func rows[T any](t *testing.T, l *azure.List[T]) (out []T) {
	t.Helper()
	for v, err := range l.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func names[T any](in []T, name func(T) string) string {
	var out []string
	for _, v := range in {
		out = append(out, name(v))
	}
	return strings.Join(out, " ")
}

func misused(err error) bool { return resilience.Of(err).Class == resilience.Misuse }

func calls(s *azuretest.Server) (n int) {
	for _, r := range s.Requests() {
		if strings.HasPrefix(r.Host, "management.") {
			n++
		}
	}
	return n
}

// A status, or a question, goes to what it was meant for or nowhere.
func TestForeignIDsAreNeverSent(t *testing.T) {
	cloud(t, posture(), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		alert := srv.CloudAlerts()[0].ID()
		for _, id := range []string{
			"", "a1", vm, "/subscriptions/" + sub, alert + "/dismiss", "/subscriptions/" + sub + "/alerts/a1",
			strings.Replace(alert, "Microsoft.Security", "Microsoft.SecurityInsights", 1), strings.Replace(alert, "/locations/westeurope", "", 1), strings.Replace(alert, "alerts", "tasks", 1),
			strings.Replace(alert, "rg (prod)", "..", 1), strings.Replace(alert, "a1", "..", 1), "https://evil.test" + alert,
			"/x" + alert, strings.Replace(alert, sub, "", 1),
		} {
			if err := c.Posture.SetAlertStatus(ctx, id, azure.CloudAlertDismissed); !misused(err) {
				t.Errorf("status of %q: %v", id, err)
			}
			if _, err := c.Posture.Alert(ctx, id); !misused(err) {
				t.Errorf("alert %q: %v", id, err)
			}
			if _, err := c.Posture.Assessment(ctx, id); !misused(err) {
				t.Errorf("assessment %q: %v", id, err)
			}
		}
		if err := c.Posture.SetAlertStatus(ctx, alert, "Closed"); !misused(err) {
			t.Error(err)
		}
		for _, scope := range []string{"", "/", "..", "/subscriptions", "subscriptions/", "/subscriptions/" + sub + "//x", "/providers/Microsoft.Security/x", "/providers/Microsoft.Management/managementGroups/m/x", "subscriptions/../x", vm + "/.."} {
			q := azure.ScopeQuery{Scope: scope}
			for name, err := range map[string]error{
				"alerts":      lastErr(t, c.Posture.Alerts(azure.CloudAlertQuery{Scope: scope})),
				"scores":      lastErr(t, c.Posture.Scores(q)),
				"assessments": lastErr(t, c.Posture.Assessments(q)),
				"plans":       lastErr(t, c.Posture.Plans(q)),
				"resources":   lastErr(t, c.ServiceHealth.Resources(q)),
			} {
				if !misused(err) {
					t.Errorf("%s of scope %q: %v", name, scope, err)
				}
			}
		}
		// Scores are of subscriptions; alerts are of nothing smaller than a group.
		for _, err := range []error{
			lastErr(t, c.Posture.Scores(azure.ScopeQuery{Scope: group})), lastErr(t, c.Posture.Alerts(azure.CloudAlertQuery{Scope: vm})),
			lastErr(t, c.Posture.Alerts(azure.CloudAlertQuery{Scope: sub, Location: ".."})),
		} {
			if !misused(err) {
				t.Error(err)
			}
		}
		for _, name := range []string{"", "..", "."} {
			if _, err := c.Posture.Score(ctx, sub, name); !misused(err) {
				t.Error(err)
			}
			if _, err := c.Posture.Plan(ctx, sub, name); !misused(err) {
				t.Error(err)
			}
		}
		if calls(srv) != 0 {
			t.Errorf("%d calls", calls(srv))
		}
	})
}

// lastErr is what ended a list.
func lastErr[T any](t *testing.T, l *azure.List[T]) (last error) {
	t.Helper()
	for _, err := range l.All(t.Context()) {
		last = err
	}
	return last
}

// A subscription that Microsoft has not scored yet is not one with no points.
func TestScoreThatIsNotKnownIsNotZero(t *testing.T) {
	cloud(t, posture(), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		scores := rows(t, c.Posture.Scores(azure.ScopeQuery{Scope: sub}))
		if len(scores) != 2 || scores[1].Scored || scores[1].Name != "none" {
			t.Fatalf("%+v", scores)
		}
		s, err := c.Posture.Score(ctx, sub, azure.DefaultScore)
		if err != nil || !s.Scored || s.Current != 23.53 || s.Max != 39 || s.Ratio != 0.6033 || s.Weight != 67 {
			t.Errorf("%+v, %v", s, err)
		}
		if _, err := c.Posture.Score(ctx, other, "none"); !errors.Is(err, azure.ErrNotFound) {
			t.Error(err)
		}
		for body, want := range map[string]azure.CloudScore{
			`{"current":"1.5","max":"3","percentage":"0.5"}`:  {Scored: true, Current: 1.5, Max: 3, Ratio: 0.5},
			`{"current":1,"max":4}`:                           {Scored: true, Current: 1, Max: 4, Ratio: 0.25},
			`{"current":0,"max":0}`:                           {Scored: true},
			`{"current":0,"percentage":0}`:                    {},
			`{"max":10}`:                                      {},
			`{"current":"NaN","max":10}`:                      {},
			`{"current":1,"max":"Infinity","percentage":0.1}`: {},
			`"60%"`: {}, `null`: {}, `[]`: {},
		} {
			remove := srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/subscriptions/", Body: `{"id":"x","properties":{"score":` + body + `}}`})
			s, err := c.Posture.Score(ctx, sub, "x")
			remove()
			if err != nil || s.Scored != want.Scored || s.Current != want.Current || s.Max != want.Max || s.Ratio != want.Ratio {
				t.Errorf("%s gave %+v, %v", body, s, err)
			}
		}
	})
}

// The status of an assessment is an object, and only one word of it is health.
func TestOnlyHealthyIsHealthy(t *testing.T) {
	cloud(t, posture(), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		for scope, want := range map[string]string{
			sub: "n1:Healthy n2:NotApplicable n1:Unhealthy", group: "n1:Healthy n2:NotApplicable", vm2: "n1:Unhealthy", other: "n1:Healthy",
			"/providers/Microsoft.Management/managementGroups/root": "n1:Healthy n2:NotApplicable n1:Unhealthy n1:Healthy",
		} {
			got := names(rows(t, c.Posture.Assessments(azure.ScopeQuery{Scope: scope})), func(a azure.Assessment) string { return a.Name + ":" + string(a.Status.Code) })
			if got != want {
				t.Errorf("%s: %q, want %q", scope, got, want)
			}
		}
		id := vm + "/providers/Microsoft.Security/assessments/n2"
		a, err := c.Posture.Assessment(ctx, id)
		if err != nil || a.ID != id || a.ResourceID != vm || a.Source != "Azure" || a.Status != (azure.AssessmentStatus{Code: azure.AssessmentNotApplicable, Cause: "OffByPolicy", Description: "off"}) {
			t.Errorf("%+v, %v", a, err)
		}
		for body, want := range map[string]azure.AssessmentCode{
			`{"status":{"code":"healthy"}}`: azure.AssessmentHealthy, `{"status":{"code":"UNHEALTHY"}}`: azure.AssessmentUnhealthy,
			`{"status":{"code":"HealthyEnough"}}`: "HealthyEnough", `{"status":{}}`: "", `{"status":null}`: "", `{}`: "", `{"status":[{"code":"Healthy"}]}`: "",
		} {
			remove := srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/subscriptions/", Body: `{"id":"` + id + `","properties":` + body + `}`})
			a, err := c.Posture.Assessment(ctx, id)
			remove()
			if err != nil || a.Status.Code != want || a.ResourceID != vm {
				t.Errorf("%s gave %+v, %v", body, a, err)
			}
		}
		// Capitals, and a resource that is not where the assessment is.
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/subscriptions/", Body: `{"id":"` + id + `","properties":{"resourceDetails":{"Source":"OnPremise","Id":"/arc"}}}`})
		if a, err := c.Posture.Assessment(ctx, id); err != nil || a.ResourceID != "/arc" || a.Source != "OnPremise" {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestCloudPlans(t *testing.T) {
	cloud(t, posture(), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		plans := rows(t, c.Posture.Plans(azure.ScopeQuery{Scope: sub}))
		if len(plans) != 2 || plans[1].Tier != azure.PlanFree || plans[1].Coverage != "NotCovered" {
			t.Fatalf("%+v", plans)
		}
		p, err := c.Posture.Plan(ctx, sub, "VirtualMachines")
		if err != nil || p.Tier != azure.PlanStandard || p.SubPlan != "P2" || p.Coverage != "PartiallyCovered" || p.Enabled.Year() != 2023 ||
			!slices.Equal(p.Extensions, []azure.PlanExtension{{Name: "AgentlessVmScanning", Enabled: true}}) {
			t.Errorf("%+v, %v", p, err)
		}
		for scope, want := range map[string]string{vm: "", vm2: "/subscriptions/" + sub} {
			if p, err := c.Posture.Plan(ctx, scope, "VirtualMachines"); err != nil || p.InheritedFrom != want {
				t.Errorf("%s: %+v, %v", scope, p, err)
			}
		}
		if _, err := c.Posture.Plan(ctx, sub, "Nothing"); !errors.Is(err, azure.ErrNotFound) {
			t.Error(err)
		}
	})
}

// Posture has no second source: what is kept must say how old it is.
func TestPostureSaysWhenItWasRead(t *testing.T) {
	cfg := posture()
	cfg.Availability = []azuretest.Availability{{ResourceID: vm, State: "Available"}}
	cfg.HealthEvents = []azuretest.HealthEvent{{TrackingID: "E"}}
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		time.Sleep(time.Hour)
		q := azure.ScopeQuery{Scope: sub}
		for name, asOf := range map[string]time.Time{
			"alert": rows(t, c.Posture.Alerts(azure.CloudAlertQuery{Scope: sub}))[0].AsOf, "score": rows(t, c.Posture.Scores(q))[0].AsOf,
			"assessment": rows(t, c.Posture.Assessments(q))[0].AsOf, "plan": rows(t, c.Posture.Plans(q))[0].AsOf,
			"availability": rows(t, c.ServiceHealth.Resources(q))[0].AsOf, "event": rows(t, c.ServiceHealth.Events(azure.EventQuery{}))[0].AsOf,
		} {
			if age := time.Since(asOf); age < 0 || age > time.Second {
				t.Errorf("%s was read %v ago", name, age)
			}
		}
	})
}

func TestOneBadRowDoesNotEndTheList(t *testing.T) {
	cloud(t, posture(), nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/subscriptions/", Body: `{"value":[
			{"name":"no id"},7,{"id":"a","properties":{"severity":9,"entities":{},"resourceIdentifiers":[7,{"type":"azureResource","azureResourceId":"/r"},{"type":"Other","azureResourceId":"/not"}],
			"extendedProperties":{"n":9007199254740993},"future":1}},{"id":"b"}]}`})
		var good []azure.CloudAlert
		bad := 0
		for a, err := range c.Posture.Alerts(azure.CloudAlertQuery{Scope: sub}).All(t.Context()) {
			if _, ok := errors.AsType[*azure.RowError](err); ok {
				bad++
			} else if err != nil {
				t.Fatal(err)
			} else {
				good = append(good, a)
			}
		}
		if bad != 2 || len(good) != 2 || good[1].ID != "b" || !strings.Contains(string(good[0].Raw), "future") {
			t.Fatalf("%d bad, good %+v", bad, good)
		}
		if r := good[0].Resources; len(r) != 3 || r[0].ResourceID != "" || r[1].ResourceID != "/r" || r[2].ResourceID != "" || good[0].ExtendedProperties["n"] != "9007199254740993" {
			t.Errorf("%+v", good[0])
		}
	})
}

// 403 AuthorizationFailed will not get better by asking again, and is not an outage.
func TestRoleThatIsMissing(t *testing.T) {
	cfg := posture()
	cfg.ARM.Roles = []string{"Security Reader"}
	cloud(t, cfg, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		id := srv.CloudAlerts()[0].ID()
		if _, err := c.Posture.Alert(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		before := calls(srv)
		err := c.Posture.SetAlertStatus(t.Context(), id, azure.CloudAlertDismissed)
		api, ok := errors.AsType[*azure.APIError](err)
		if !ok || api.Status != http.StatusForbidden || api.Code != "AuthorizationFailed" || api.RequestID == "" || calls(srv) != before+1 {
			t.Errorf("%v after %d calls", err, calls(srv)-before)
		}
		if got := srv.CloudAlerts()[0].Status; got != "Active" || c.Posture.Policy().State() != resilience.Closed {
			t.Errorf("status %s, breaker %v", got, c.Posture.Policy().State())
		}
	})
}

func TestReadOnlySetsNoStatus(t *testing.T) {
	cloud(t, posture(), func(c *azure.Config) { c.ReadOnly = true }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		id := srv.CloudAlerts()[0].ID()
		if err := c.Posture.SetAlertStatus(t.Context(), id, azure.CloudAlertDismissed); !errors.Is(err, azure.ErrReadOnly) || calls(srv) != 0 {
			t.Error(err)
		}
	})
}
