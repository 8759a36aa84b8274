package azuretest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const incidentsPath = "/subscriptions/" + SubscriptionID + "/resourceGroups/" + ResourceGroup +
	"/providers/Microsoft.OperationalInsights/workspaces/" + WorkspaceName + "/providers/Microsoft.SecurityInsights/incidents"

const (
	version      = "?api-version=2025-09-01"
	incidentBody = `{"properties":{"title":"x","severity":"High","status":"New"}}`
)

// signInTo takes a token for a resource and uses it from now on.
func (c *tester) signInTo(resource string) *tester {
	c.t.Helper()
	form := tokenForm()
	form.Set("scope", resource+"/.default")
	r := c.tokenRequest(form)
	if r.status != http.StatusOK {
		c.t.Fatalf("token: %d %s", r.status, r.raw)
	}
	c.bearer = r.body["access_token"].(string)
	return c
}

func TestARMTakesTokensForEitherName(t *testing.T) {
	c := start(t, Config{})
	for resource, want := range map[string]int{
		"https://management.azure.com": 200, "https://management.azure.com/": 200,
		"https://management.core.windows.net": 200, "https://management.core.windows.net/": 200,
		"https://graph.microsoft.com": 403,
	} {
		if r := c.signInTo(resource).get(incidentsPath + version); r.status != want {
			t.Errorf("%s: %d %s", resource, r.status, r.raw)
		}
	}
	c.signInTo("https://graph.microsoft.com")
	if r := c.get("https://" + armHost + incidentsPath + version); r.status != 403 || r.header.Get("X-Ms-Request-Id") == "" {
		t.Errorf("%d %v", r.status, r.header)
	}
}

func TestARMChecksComeFirst(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg    ARM
		path   string
		status int
		code   string
	}{
		"no version":    {ARM{}, incidentsPath, 400, "MissingApiVersionParameter"},
		"wrong version": {ARM{}, incidentsPath + "?api-version=2017-01-01", 400, "InvalidApiVersionParameter"},
		"no role":       {ARM{Roles: []string{}}, incidentsPath + version, 403, "AuthorizationFailed"},
		"a role":        {ARM{Roles: []string{"Microsoft Sentinel Reader"}}, incidentsPath + version, 200, ""},
		"registration":  {ARM{Unregistered: []string{"microsoft.securityinsights"}}, incidentsPath + version, 409, "MissingSubscriptionRegistration"},
		"another's":     {ARM{Unregistered: []string{"Microsoft.OperationalInsights"}}, incidentsPath + version, 200, ""},
		"subscription":  {ARM{}, strings.Replace(incidentsPath, SubscriptionID, guid("x"), 1) + version, 404, "SubscriptionNotFound"},
		"group":         {ARM{}, strings.Replace(incidentsPath, ResourceGroup, "x", 1) + version, 404, "ResourceGroupNotFound"},
		"workspace":     {ARM{}, strings.Replace(incidentsPath, WorkspaceName, "x", 1) + version, 404, "ResourceNotFound"},
		"provider":      {ARM{}, "/subscriptions/x/providers/Microsoft.Nothing/y" + version, 404, "NotFound"},
		"$top":          {ARM{}, incidentsPath + version + "&$top=0", 400, "BadRequest"},
		"$skipToken":    {ARM{}, incidentsPath + version + "&$skipToken=x", 400, "BadRequest"},
		"$filter":       {ARM{}, incidentsPath + version + "&$filter=properties/color%20eq%20'x'", 400, "ODataError"},
		"$orderby":      {ARM{}, incidentsPath + version + "&$orderby=properties/color", 400, "ODataError"},
	} {
		r := start(t, Config{ARM: tc.cfg}).signInTo("https://management.azure.com").get(tc.path)
		if r.status != tc.status || r.code() != tc.code {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	c := start(t, Config{ARM: ARM{Roles: []string{"Microsoft Sentinel Reader"}}}).signInTo("https://management.azure.com")
	if r := c.do(http.MethodPut, incidentsPath+"/"+guid("i")+version, incidentBody); r.status != 403 || len(c.SentinelIncidents(WorkspaceName)) > 0 {
		t.Errorf("%d %s", r.status, r.raw)
	}
}

func TestARMThrottlesEachSubscription(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	c := start(t, Config{
		Now: func() time.Time { return now },
		ARM: ARM{Reads: Bucket{Burst: 3, PerSecond: 0.5}},
	}).signInTo("https://management.azure.com")
	for left := range 3 {
		if r := c.get(incidentsPath + version); r.status != 200 || r.header.Get("x-ms-ratelimit-remaining-subscription-reads") != []string{"2", "1", "0"}[left] {
			t.Errorf("%d %v", r.status, r.header)
		}
	}
	r := c.get(incidentsPath + version)
	if r.status != 429 || r.code() != "TooManyRequests" || r.header.Get("Retry-After") != "2" {
		t.Errorf("%d %v", r.status, r.header)
	}
	// Writes, and other subscriptions, have buckets of their own.
	if r := c.do(http.MethodPut, incidentsPath+"/"+guid("i")+version, incidentBody); r.status != 201 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := c.get(strings.Replace(incidentsPath, SubscriptionID, guid("x"), 1) + version); r.status != 404 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	now = now.Add(2 * time.Second)
	if a, b := c.get(incidentsPath+version), c.get(incidentsPath+version); a.status != 200 || b.status != 429 {
		t.Errorf("%d, %d", a.status, b.status)
	}
}
