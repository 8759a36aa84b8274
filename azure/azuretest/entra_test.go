package azuretest

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

func TestInstanceDiscovery(t *testing.T) {
	c := start(t, Config{})
	authorize := "https://" + loginHost + "/" + TenantID + "/oauth2/v2.0/authorize"
	r := c.get("https://" + loginHost + "/common/discovery/instance?" +
		url.Values{"api-version": {"1.1"}, "authorization_endpoint": {authorize}}.Encode())
	want := `{"tenant_discovery_endpoint":"https://login.microsoftonline.com/` + TenantID + `/v2.0/.well-known/openid-configuration",` +
		`"api-version":"1.1","metadata":[{"preferred_network":"login.microsoftonline.com","preferred_cache":"login.microsoftonline.com","aliases":["login.microsoftonline.com"]}]}` + "\n"
	if r.status != http.StatusOK || r.raw != want {
		t.Errorf("got %d %s", r.status, r.raw)
	}
	if r := c.get("/common/discovery/instance?api-version=1.1"); r.status != http.StatusBadRequest {
		t.Errorf("without authorization_endpoint: %d", r.status)
	}
}

// MSAL refuses an issuer on another host than the one it asked.
func TestIssuerIsTheHostAsked(t *testing.T) {
	c := start(t, Config{})
	for _, base := range []string{c.URL(), "https://" + loginHost} {
		r := c.get(base + "/" + TenantID + "/v2.0/.well-known/openid-configuration?")
		if r.status != http.StatusOK || r.body["issuer"] != base+"/"+TenantID+"/v2.0" ||
			r.body["token_endpoint"] != base+"/"+TenantID+"/oauth2/v2.0/token" ||
			r.body["authorization_endpoint"] != base+"/"+TenantID+"/oauth2/v2.0/authorize" {
			t.Errorf("%s: %d %s", base, r.status, r.raw)
		}
	}
	if r := c.get("/common/v2.0/.well-known/openid-configuration"); r.status != http.StatusBadRequest || !strings.Contains(r.raw, "AADSTS90002") {
		t.Errorf("unknown tenant: %d %s", r.status, r.raw)
	}
}

func TestToken(t *testing.T) {
	c := start(t, Config{Roles: []string{"Machine.Read.All"}})
	form := tokenForm()
	form.Set("scope", "https://management.core.windows.net//.default openid offline_access profile")
	r := c.tokenRequest(form)
	if r.status != http.StatusOK || r.body["token_type"] != "Bearer" || r.body["expires_in"] != 3599.0 || r.body["ext_expires_in"] != 3599.0 {
		t.Fatalf("got %d %s", r.status, r.raw)
	}
	_, payload, _ := strings.Cut(r.body["access_token"].(string), ".")
	payload, _, _ = strings.Cut(payload, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Aud, Appid, Tid string
		Roles           []string
		Iat, Exp        int64
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Aud != "https://management.core.windows.net" || claims.Appid != ClientID || claims.Tid != TenantID ||
		len(claims.Roles) != 1 || claims.Exp-claims.Iat != 3599 {
		t.Errorf("claims: %s", raw)
	}
	if c.Tokens() != 1 {
		t.Errorf("%d tokens issued", c.Tokens())
	}
}

func TestTokenByBasicAuthentication(t *testing.T) {
	c := start(t, Config{ClientSecret: "a b+c%"})
	form := tokenForm()
	form.Del("client_id")
	form.Del("client_secret")
	req := c.request(http.MethodPost, "/"+TenantID+"/oauth2/v2.0/token", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(ClientID), url.QueryEscape("a b+c%"))
	if r, err := c.send(req); err != nil || r.status != http.StatusOK {
		t.Errorf("%d %s, %v", r.status, r.raw, err)
	}
}

func TestTokenErrors(t *testing.T) {
	c := start(t, Config{})
	for _, tc := range []struct {
		name   string
		set    url.Values
		status int
		code   string
		aadsts float64
	}{
		{"wrong secret", url.Values{"client_secret": {"nope"}}, 401, "invalid_client", 7000215},
		{"no secret", url.Values{"client_secret": {""}}, 401, "invalid_client", 7000216},
		{"certificate", url.Values{"client_secret": {""}, "client_assertion": {"ey"}}, 401, "invalid_client", 700027},
		{"unknown client", url.Values{"client_id": {"x"}}, 400, "unauthorized_client", 700016},
		{"no grant", url.Values{"grant_type": {""}}, 400, "invalid_request", 900144},
		{"other grant", url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type", 70003},
		{"no scope", url.Values{"scope": {"openid"}}, 400, "invalid_scope", 70011},
		{"not a default scope", url.Values{"scope": {"https://graph.microsoft.com/User.Read"}}, 400, "invalid_scope", 70011},
		{"two resources", url.Values{"scope": {"https://a/.default https://b/.default"}}, 400, "invalid_scope", 70011},
		{"huge", url.Values{"claims": {strings.Repeat("x", maxTokenBody)}}, 413, "invalid_request", 900144},
	} {
		form := tokenForm()
		for k, v := range tc.set {
			form[k] = v
		}
		r := c.tokenRequest(form)
		codes, _ := r.body["error_codes"].([]any)
		if r.status != tc.status || r.body["error"] != tc.code || len(codes) != 1 || codes[0] != tc.aadsts {
			t.Errorf("%s: %d %s", tc.name, r.status, r.raw)
		}
		for _, field := range []string{"error_description", "timestamp", "trace_id", "correlation_id"} {
			if s, _ := r.body[field].(string); s == "" {
				t.Errorf("%s: no %s", tc.name, field)
			}
		}
	}
	if r := c.post("/other-tenant/oauth2/v2.0/token", ""); r.status != 400 || !strings.Contains(r.raw, "AADSTS90002: Tenant 'other-tenant'") {
		t.Errorf("unknown tenant: %d %s", r.status, r.raw)
	}
	if c.Tokens() != 0 {
		t.Errorf("%d tokens issued to strangers", c.Tokens())
	}
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet(), TokenLife: time.Hour}).signIn()
		time.Sleep(time.Hour - time.Nanosecond)
		if r := c.get("/api/machines"); r.status != http.StatusOK {
			t.Errorf("just before: %d %s", r.status, r.raw)
		}
		time.Sleep(time.Nanosecond)
		r := c.get("/api/machines")
		if r.status != http.StatusUnauthorized || r.code() != "Unauthorized" || !strings.Contains(r.raw, "expired") {
			t.Errorf("after an hour: %d %s", r.status, r.raw)
		}
		if r := c.signIn().get("/api/machines"); r.status != http.StatusOK {
			t.Errorf("with a new token: %d", r.status)
		}
		c.Close()
	})
}

func TestRevokeTokens(t *testing.T) {
	c := start(t, Config{Machines: fleet()}).signIn()
	cached := c.bearer
	c.RevokeTokens()
	for range 2 {
		r := c.get("/api/machines")
		if r.status != http.StatusUnauthorized || strings.Contains(r.header.Get("Www-Authenticate"), "insufficient_claims") {
			t.Errorf("revoked: %d %v", r.status, r.header)
		}
	}
	if r := c.signIn().get("/api/machines"); r.status != http.StatusOK {
		t.Errorf("new token: %d", r.status)
	}
	c.bearer = cached
	if r := c.get("/api/machines"); r.status != http.StatusUnauthorized {
		t.Errorf("the old token works again: %d", r.status)
	}
	if c.Tokens() != 2 {
		t.Errorf("%d tokens", c.Tokens())
	}
}

func TestChallengeCAE(t *testing.T) {
	c := start(t, Config{Machines: fleet()}).signIn()
	if err := c.ChallengeCAE("[]"); err == nil {
		t.Error("claims that are no object")
	}
	const claims = `{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}`
	if err := c.ChallengeCAE(claims); err != nil {
		t.Fatal(err)
	}
	for _, have := range []string{"", `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`, `{"access_token":1}`} {
		form := tokenForm()
		form.Set("claims", have)
		c.bearer = c.tokenRequest(form).body["access_token"].(string)
		r := c.get("/api/machines")
		want := `error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(claims)) + `"`
		if got := r.header.Get("WWW-Authenticate"); r.status != http.StatusUnauthorized || !strings.HasPrefix(got, "Bearer ") || !strings.HasSuffix(got, want) {
			t.Errorf("%s: %d %s", have, r.status, got)
		}
	}
	form := tokenForm()
	form.Set("claims", `{"access_token":{"xms_cc":{"values":["CP1"]},"nbf":{"value":"1604106651","essential":true}}}`)
	c.bearer = c.tokenRequest(form).body["access_token"].(string)
	if r := c.get("/api/machines"); r.status != http.StatusOK {
		t.Errorf("with the claims: %d %s", r.status, r.raw)
	}
	_ = c.ChallengeCAE("")
	if r := c.signIn().get("/api/machines"); r.status != http.StatusOK {
		t.Errorf("after the challenge: %d %s", r.status, r.raw)
	}
	form.Set("claims", "{")
	if r := c.tokenRequest(form); r.status != http.StatusBadRequest {
		t.Errorf("broken claims: %d %s", r.status, r.raw)
	}
}
