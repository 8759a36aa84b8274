package falcontest

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestGatewayHeaders(t *testing.T) {
	c := login(t, Config{Cloud: "eu-1"})
	r := c.get("/devices/queries/devices/v1")
	equal(t, "region", r.header.Get("X-Cs-Region"), "eu-1")
	equal(t, "limit", r.header.Get("X-Ratelimit-Limit"), "6000")
	equal(t, "remaining", r.header.Get("X-Ratelimit-Remaining"), "5999")
	equal(t, "no retry hint", r.header.Values("X-Ratelimit-RetryAfter"), []string(nil))
	equal(t, "content type", r.header.Get("Content-Type"), "application/json")
	equal(t, "powered by", r.Meta.PoweredBy, "device-api")
	if id := r.header.Get("X-Cs-Traceid"); id != r.Meta.TraceID ||
		!regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("trace %q, in the body %q", id, r.Meta.TraceID)
	}
	if next := c.get("/devices/queries/devices/v1"); next.Meta.TraceID == r.Meta.TraceID {
		t.Error("the same trace id twice")
	}
}

func TestRegionRedirect(t *testing.T) {
	c := login(t, Config{Cloud: "us-2"}) // by address: no redirect
	form := url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}}
	for _, tc := range []struct {
		method, path string
		body         any
		limit        string
	}{
		{"POST", "/oauth2/token", form, "300"},
		{"GET", "/devices/queries/devices-scroll/v1?filter=last_seen%3A%3E%3D%272023-04-10T13%3A28%3A12.514Z%27&limit=250", nil, "15"},
		{"POST", "/devices/entities/devices/v2", map[string]any{"ids": []string{"a"}}, "15"},
	} {
		c.base = "https://api.crowdstrike.com"
		r := c.do(tc.method, tc.path, tc.body)
		equal(t, tc.path, r.status, http.StatusPermanentRedirect)
		equal(t, "location", r.header.Get("Location"), "https://api.us-2.crowdstrike.com"+tc.path)
		equal(t, "region", r.header.Get("X-Cs-Region"), "us-2")
		equal(t, "limit", r.header.Get("X-Ratelimit-Limit"), tc.limit)
		equal(t, "length", r.header.Get("Content-Length"), "0")
		equal(t, "body", len(r.raw), 0)
		c.base = "https://api.us-2.crowdstrike.com"
		if r := c.do(tc.method, tc.path, tc.body); r.status >= 300 {
			t.Errorf("at home: %d %s", r.status, r.raw)
		}
	}
}

// A client that never moves to its region runs into the quota of bad tokens.
func TestRedirectsUseUpBadTokenQuota(t *testing.T) {
	c := login(t, Config{Cloud: "us-2"})
	c.base = "https://api.crowdstrike.com"
	for range 15 {
		equal(t, "redirect", c.get("/devices/queries/devices/v1").status, 308)
	}
	equal(t, "the 16th", c.get("/devices/queries/devices/v1").status, 429)
	equal(t, "token", c.post("/oauth2/token", url.Values{}).status, 308)
	c.base = c.srv.URL()
	equal(t, "at home", c.get("/devices/queries/devices/v1").status, 200)
}

func TestEveryHostNameIsServed(t *testing.T) {
	for region := range apiHosts {
		c := login(t, Config{Cloud: region})
		for other, otherHost := range apiHosts {
			c.base = "https://" + otherHost
			want := http.StatusPermanentRedirect
			if other == region {
				want = http.StatusOK
			}
			equal(t, region+" asked as "+other, c.get("/devices/queries/devices/v1").status, want)
			c.base = "https://" + feedHost(other)
			equal(t, feedHost(other), c.get("/").status, http.StatusNotFound)
		}
	}
	equal(t, "feed of us-1", feedHost("us-1"), "firehose.crowdstrike.com")
	equal(t, "feed of us-gov-2", feedHost("us-gov-2"), "firehose.us-gov-2.crowdstrike.mil")
}

func TestScopes(t *testing.T) {
	const read, write = "GET /devices/queries/devices/v1", "POST /devices/entities/devices-actions/v2?action_name=contain"
	for _, tc := range []struct {
		name   string
		scopes []string
		want   map[string]int
	}{
		{"all", nil, map[string]int{read: 200, write: 202}},
		{"none", []string{}, map[string]int{read: 403, write: 403}},
		{"read", []string{"devices:read"}, map[string]int{read: 200, write: 403}},
		{"write", []string{"alerts:read", "devices:write"}, map[string]int{read: 403, write: 202}},
	} {
		c := login(t, Config{Scopes: tc.scopes, Hosts: numbered(1)})
		equal(t, tc.name+" read", c.get("/devices/queries/devices/v1").status, tc.want[read])
		r := c.act("contain", "0001")
		equal(t, tc.name+" write", r.status, tc.want[write])
		if r.status == 403 {
			equal(t, "errors", r.Errors, []apiError{{Code: 403, Message: "access denied, authorization failed"}})
			equal(t, "effects", len(c.srv.Effects()), 0)
		}
	}
}

func TestUnknownPath(t *testing.T) {
	c := login(t, Config{})
	for _, tc := range [][2]string{
		{"GET", "/devices/queries/devices/v9"},
		{"DELETE", "/devices/queries/devices/v1"},
		{"GET", "/oauth2/token"},
		{"GET", "/devices/queries/devices/v1/"},
	} {
		r := c.do(tc[0], tc[1], nil)
		equal(t, tc[1], r.status, 404)
		equal(t, "errors", r.codes(), []int{404})
	}
}

// The windows slide: what was used a minute ago is free again, not before.
func TestQuotas(t *testing.T) {
	form := url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}}
	for _, tc := range []struct {
		name  string
		limit int
		call  func(*client) *reply
		good  int
	}{
		{"requests", 3, func(c *client) *reply { return c.get("/devices/queries/devices/v1") }, 200},
		{"tokens", 4, func(c *client) *reply { return c.post("/oauth2/token", form) }, 201},
		{"bad tokens", 2, func(c *client) *reply { c.auth = ""; return c.get("/devices/queries/devices/v1") }, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := login(t, Config{InMemory: true, Quota: 3, TokenQuota: 4, BadTokenQuota: 2})
				time.Sleep(time.Minute + 300*time.Millisecond) // the login is forgotten, and the clock is between two seconds
				for i := range tc.limit {
					r := tc.call(c)
					equal(t, "status", r.status, tc.good)
					equal(t, "remaining", r.header.Get("X-Ratelimit-Remaining"), strconv.Itoa(tc.limit-i-1))
					time.Sleep(10*time.Second + time.Millisecond)
				}
				r := tc.call(c)
				equal(t, "status", r.status, 429)
				equal(t, "limit", r.header.Get("X-Ratelimit-Limit"), strconv.Itoa(tc.limit))
				equal(t, "remaining", r.header.Get("X-Ratelimit-Remaining"), "0")
				equal(t, "errors", r.Errors, []apiError{{Code: 429, Message: "API rate limit exceeded."}})
				again, err := strconv.ParseInt(r.header.Get("X-Ratelimit-RetryAfter"), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				// One second early is too early, the moment itself is not.
				time.Sleep(time.Until(time.Unix(again-1, 0)))
				equal(t, "too early", tc.call(c).status, 429)
				time.Sleep(time.Until(time.Unix(again, 0)))
				equal(t, "in time", tc.call(c).status, tc.good)
			})
		})
	}
}
