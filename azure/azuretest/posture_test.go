package azuretest

import (
	"net/http"
	"testing"
)

// managementScope has the double slash that Azure's own clients ask with.
const managementScope = "https://management.core.windows.net//.default"

func startPosture(t *testing.T, cfg Config) *tester {
	t.Helper()
	c := start(t, cfg)
	form := tokenForm()
	form.Set("scope", managementScope)
	c.bearer, _ = c.tokenRequest(form).body["access_token"].(string)
	return c
}

// What the real service would refuse, or what the simulator does not know, is never
// answered with a success.
func TestPostureRefuses(t *testing.T) {
	c := startPosture(t, Config{
		CloudAlerts: []CloudAlert{{Subscription: "s", ResourceGroup: "g", Name: "a"}},
		CloudScores: []CloudScore{{Subscription: "s", Max: 1}}, HealthEvents: []HealthEvent{{TrackingID: "E"}},
		Assessments:  []Assessment{{ResourceID: "/subscriptions/s/resourceGroups/g/providers/n/t/r", Name: "x"}},
		Availability: []Availability{{ResourceID: "/subscriptions/s/resourceGroups/g/providers/n/t/r/t2/r2", State: "Available"}},
	})
	const (
		alerts = "/subscriptions/s/providers/Microsoft.Security/alerts"
		alert  = "/providers/Microsoft.Security/locations/westeurope/alerts/a"
		health = "/providers/Microsoft.ResourceHealth"
	)
	for _, tc := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", alerts, 400, "MissingApiVersionParameter"},
		{"GET", alerts + "?api-version=2025-05-04", 400, "InvalidApiVersionParameter"},
		{"GET", alerts + "?api-version=2022-01-01", 200, ""},
		{"GET", alerts + "?api-version=2022-01-01&$filter=x", 400, "BadRequest"},
		{"GET", "/subscriptions/s" + alert + "?api-version=2022-01-01", 200, ""},
		{"GET", "/subscriptions/s/resourceGroups/G" + alert + "?api-version=2022-01-01", 200, ""},
		{"GET", "/subscriptions/s/resourceGroups/g2" + alert + "?api-version=2022-01-01", 404, "ResourceNotFound"},
		{"GET", "/subscriptions/s2" + alert + "?api-version=2022-01-01", 404, "ResourceNotFound"},
		{"POST", "/subscriptions/s" + alert + "/dismiss?api-version=2022-01-01", 204, ""},
		{"POST", "/subscriptions/s" + alert + "/dismiss?api-version=2022-01-01", 204, ""},
		{"POST", "/subscriptions/s" + alert + "x/dismiss?api-version=2022-01-01", 404, "ResourceNotFound"},
		{"POST", "/subscriptions/s" + alert + "/close?api-version=2022-01-01", 404, "NotFound"},
		{"GET", "/subscriptions/s/providers/Microsoft.Security/secureScores?api-version=2020-01-01", 200, ""},
		{"GET", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Security/secureScores?api-version=2020-01-01", 404, "NotFound"},
		{"GET", "/subscriptions/s/resourceGroups/g/providers/n/t/r/providers/Microsoft.Security/assessments/x?api-version=2025-05-04", 200, ""},
		{"GET", "/subscriptions/s/resourceGroups/g/providers/n/t/r2/providers/Microsoft.Security/assessments/x?api-version=2025-05-04", 404, "ResourceNotFound"},
		{"GET", "/subscriptions/s/providers/Microsoft.Security/pricings?api-version=2024-01-01&$filter=x", 400, "BadRequest"},
		{"GET", "/subscriptions/s/resourceGroups/g/providers/n/t/r/t2/r2" + health + "/availabilityStatuses/current?api-version=2025-05-01", 200, ""},
		{"GET", "/subscriptions/s/resourceGroups/g/providers/n/t/r/t2/r2" + health + "/availabilityStatuses?api-version=2025-05-01", 404, "NotFound"},
		{"GET", health + "/events?api-version=2025-05-01&queryStartTime=1/2/2026", 200, ""},
		{"GET", health + "/events?api-version=2025-05-01&queryStartTime=2026-01-02", 400, "BadRequest"},
	} {
		if r := c.do(tc.method, tc.path, ""); r.status != tc.status || r.code() != tc.code {
			t.Errorf("%s %s: %d %s, want %d %s", tc.method, tc.path, r.status, r.raw, tc.status, tc.code)
		}
	}
	c.signIn() // for another API
	if r := c.get(alerts + "?api-version=2022-01-01"); r.status != http.StatusForbidden {
		t.Errorf("%d %s", r.status, r.raw)
	}
}

// A getter's copy is the caller's; setting again replaces.
func TestPostureIsKeptApart(t *testing.T) {
	given := CloudAlert{Resources: []string{"r"}, ExtendedProperties: map[string]string{"k": "v"}}
	c := startPosture(t, Config{CloudAlerts: []CloudAlert{given}})
	given.Resources[0], given.ExtendedProperties["k"] = "changed", "changed"
	c.CloudAlerts()[0].Resources[0] = "changed"
	added := c.AddCloudAlert(CloudAlert{})
	added.Status = "Resolved"
	c.AddCloudAlert(added)
	got := c.CloudAlerts()
	if len(got) != 2 || got[0].Resources[0] != "r" || got[0].ExtendedProperties["k"] != "v" || got[0].Name == got[1].Name || got[1].Status != "Resolved" || got[1].Subscription != SubscriptionID {
		t.Errorf("%+v", got)
	}
	// Neighbours by name are not within a scope.
	for id, want := range map[string]bool{"/subscriptions/S": true, "/subscriptions/s/resourceGroups/g": true, "/subscriptions/s2": false} {
		if within(id, "/subscriptions/s") != want {
			t.Error(id)
		}
	}
}
