package falcontest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenAnswers(t *testing.T) {
	const other = "5eed00000000000000000000000000ff"
	cfg := Config{Hosts: []Host{{DeviceID: "a"}, {DeviceID: "b", CID: other}}}
	for _, tc := range []struct {
		name    string
		form    url.Values
		basic   [2]string
		status  int
		message string
	}{
		{"form", url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}}, [2]string{}, 201, ""},
		{"basic", url.Values{"grant_type": {"client_credentials"}}, [2]string{ClientID, ClientSecret}, 201, ""},
		{
			"wrong id",
			url.Values{"client_id": {"not-valid"}, "client_secret": {ClientSecret}},
			[2]string{},
			400,
			"Failed to generate access token for clientID=not-valid.",
		},
		{
			"wrong secret",
			url.Values{"client_id": {ClientID}, "client_secret": {"x"}},
			[2]string{},
			403,
			"Failed to issue access token - Not Authorized",
		},
		{"wrong secret in basic", url.Values{}, [2]string{ClientID, "x"}, 403, "Failed to issue access token - Not Authorized"},
		{"nothing", url.Values{}, [2]string{}, 400, "Failed to generate access token for clientID=."},
		{
			"member",
			url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}, "member_cid": {strings.ToUpper(other) + "-1A"}},
			[2]string{},
			201, "",
		},
		{
			"unknown member",
			url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}, "member_cid": {"77"}},
			[2]string{},
			403,
			"Failed to issue access token - Not Authorized",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := start(t, cfg)
			if tc.basic[0] != "" {
				c.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(tc.basic[0]+":"+tc.basic[1]))
			}
			r := c.post("/oauth2/token", tc.form)
			equal(t, "status", r.status, tc.status)
			equal(t, "region", r.header.Get("X-Cs-Region"), "us-1")
			equal(t, "limit", r.header.Get("X-Ratelimit-Limit"), "300")
			equal(t, "remaining", r.header.Get("X-Ratelimit-Remaining"), "299")
			if tc.message != "" {
				equal(t, "errors", r.Errors, []apiError{{Code: tc.status, Message: tc.message}})
				equal(t, "powered by", r.Meta.PoweredBy, "csam")
				equal(t, "trace", r.Meta.TraceID, r.header.Get("X-Cs-Traceid"))
				equal(t, "tokens", c.srv.Tokens(), 0)
				return
			}
			var tok map[string]any
			if err := json.Unmarshal(r.raw, &tok); err != nil {
				t.Fatal(err)
			}
			equal(t, "expires_in", tok["expires_in"], 1799.0)
			equal(t, "token_type", tok["token_type"], "bearer")
			if n := strings.Count(tok["access_token"].(string), "."); n != 2 || len(tok) != 3 {
				t.Errorf("not a JWT answer: %v", tok)
			}
			equal(t, "tokens", c.srv.Tokens(), 1)
		})
	}
}

// x/oauth2 escapes what it puts into Basic; other clients do not.
func TestEscapedBasic(t *testing.T) {
	const secret = "a+b/c="
	c := start(t, Config{ClientSecret: secret})
	for _, s := range []string{secret, url.QueryEscape(secret)} {
		c.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(ClientID+":"+s))
		equal(t, s, c.post("/oauth2/token", url.Values{}).status, 201)
	}
}

func TestMemberSeesItsHostsOnly(t *testing.T) {
	const other = "5eed00000000000000000000000000ff"
	c := login(t, Config{Hosts: []Host{{DeviceID: "a"}, {DeviceID: "b", CID: other}}})
	equal(t, "parent", c.get("/devices/queries/devices/v1").ids(), []string{"a", "b"})
	c.login(url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}, "member_cid": {other}})
	equal(t, "member", c.get("/devices/queries/devices/v1").ids(), []string{"b"})
	equal(t, "details", c.get("/devices/entities/devices/v2", "ids", "a", "ids", "b").codes(), []int{404})
	equal(t, "contain", c.act("contain", "a").status, 404)
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := login(t, Config{InMemory: true})
		time.Sleep(1799*time.Second - time.Nanosecond)
		equal(t, "just before", c.get("/devices/queries/devices/v1").status, 200)
		time.Sleep(time.Nanosecond)
		r := c.get("/devices/queries/devices/v1")
		equal(t, "expired", r.status, 401)
		equal(t, "errors", r.Errors, []apiError{{Code: 401, Message: "access denied, invalid bearer token"}})
		equal(t, "powered by", r.Meta.PoweredBy, "crowdstrike-api-gateway")
		equal(t, "limit", r.header.Get("X-Ratelimit-Limit"), "15")
		if strings.Contains(string(r.raw), "resources") {
			t.Errorf("a 401 has no resources: %s", r.raw)
		}
	})
}

func TestRevoke(t *testing.T) {
	c := login(t, Config{})
	first := c.auth
	c.login(url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}})
	second := c.auth
	if first == second {
		t.Fatal("the same token twice")
	}
	status := func(auth string) int {
		c.auth = auth
		return c.get("/devices/queries/devices/v1").status
	}
	equal(t, "several tokens at once", []int{status(first), status(second)}, []int{200, 200})

	c.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(ClientID+":"+ClientSecret))
	bearer := strings.TrimPrefix(first, "Bearer ")
	r := c.post("/oauth2/revoke", url.Values{"token": {bearer}})
	equal(t, "revoke", r.status, 200)
	equal(t, "errors", len(r.Errors), 0)
	equal(t, "unknown token", c.post("/oauth2/revoke", url.Values{"token": {"x"}}).status, 200)
	equal(t, "no token", c.post("/oauth2/revoke", url.Values{}).status, 400)
	c.auth = ""
	equal(t, "no credentials", c.post("/oauth2/revoke", url.Values{"token": {bearer}}).status, 400)
	equal(t, "after", []int{status(first), status(second)}, []int{401, 200})

	c.srv.RevokeTokens()
	equal(t, "after RevokeTokens", status(second), 401)
	equal(t, "issued", c.srv.Tokens(), 2)
}

func TestMalformedAuthorization(t *testing.T) {
	c := login(t, Config{})
	good := strings.TrimPrefix(c.auth, "Bearer ")
	for _, auth := range []string{"", good, "Basic " + good, "Bearer", "Bearer " + good + "x", "Token " + good} {
		c.auth = auth
		equal(t, auth, c.get("/devices/queries/devices/v1").status, http.StatusUnauthorized)
	}
	c.auth = "bearer " + good // the scheme has no case
	equal(t, "lower case", c.get("/devices/queries/devices/v1").status, http.StatusOK)
}
