package azuretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// entraHandler is the part of Entra ID that a confidential client needs.
func (s *Server) entraHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /common/discovery/instance", s.discoverInstance)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.openIDConfiguration)
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", s.issueToken)
	return mux
}

// discoverInstance vouches for the authority the client is about to use. A
// client with a private authority asks the public host about it; the simulator
// is both, so it vouches for any.
func (s *Server) discoverInstance(w http.ResponseWriter, r *http.Request) {
	authorize, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || authorize.Scheme != "https" || authorize.Host == "" {
		s.entraError(w, r, http.StatusBadRequest, "invalid_request", 900144,
			"The request body must contain the following parameter: 'authorization_endpoint'.")
		return
	}
	host := authorize.Host
	tenant, _, _ := strings.Cut(strings.TrimPrefix(authorize.Path, "/"), "/")
	type metadata struct {
		PreferredNetwork string   `json:"preferred_network"`
		PreferredCache   string   `json:"preferred_cache"`
		Aliases          []string `json:"aliases"`
	}
	writeEntra(w, http.StatusOK, struct {
		TenantDiscoveryEndpoint string     `json:"tenant_discovery_endpoint"`
		APIVersion              string     `json:"api-version"`
		Metadata                []metadata `json:"metadata"`
	}{
		"https://" + host + "/" + tenant + "/v2.0/.well-known/openid-configuration", "1.1",
		[]metadata{{host, host, []string{host}}},
	})
}

// openIDConfiguration names the host the client used: MSAL refuses an issuer on
// any other.
func (s *Server) openIDConfiguration(w http.ResponseWriter, r *http.Request) {
	if !s.knowsTenant(w, r) {
		return
	}
	base := "https://" + r.Host + "/" + s.cfg.TenantID
	writeEntra(w, http.StatusOK, map[string]any{
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"issuer":                                base + "/v2.0",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"response_types_supported":              []string{"token"},
		"subject_types_supported":               []string{"pairwise"},
		"tenant_region_scope":                   "EU",
	})
}

func (s *Server) knowsTenant(w http.ResponseWriter, r *http.Request) bool {
	tenant := r.PathValue("tenant")
	if strings.EqualFold(tenant, s.cfg.TenantID) {
		return true
	}
	s.entraError(w, r, http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf(
		"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", tenant))
	return false
}

// maxTokenBody bounds the form of a token request.
const maxTokenBody = 64 << 10

func (s *Server) issueToken(w http.ResponseWriter, r *http.Request) {
	if !s.knowsTenant(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxTokenBody)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		s.entraError(w, r, status, "invalid_request", 900144, "The request body could not be read.")
		return
	}
	form := r.PostForm // never the query: secrets do not belong there
	if form.Get("grant_type") == "" {
		s.entraError(w, r, http.StatusBadRequest, "invalid_request", 900144,
			"The request body must contain the following parameter: 'grant_type'.")
		return
	}
	if grant := form.Get("grant_type"); grant != "client_credentials" {
		s.entraError(w, r, http.StatusBadRequest, "unsupported_grant_type", 70003,
			fmt.Sprintf("The app requested an unsupported grant type '%s'.", grant))
		return
	}
	if !s.knowsClient(w, r, form) {
		return
	}
	audience, ok := audienceOf(form.Get("scope"))
	if !ok {
		s.entraError(w, r, http.StatusBadRequest, "invalid_scope", 70011, fmt.Sprintf(
			"The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope %s is not valid.",
			form.Get("scope")))
		return
	}
	var claims map[string]any
	if asked := form.Get("claims"); asked != "" && json.Unmarshal([]byte(asked), &claims) != nil {
		s.entraError(w, r, http.StatusBadRequest, "invalid_request", 900144, "The claims parameter is not a JSON object.") // assumed
		return
	}
	seconds := int(s.cfg.TokenLife / time.Second)
	writeEntra(w, http.StatusOK, struct {
		TokenType    string `json:"token_type"`
		ExpiresIn    int    `json:"expires_in"`
		ExtExpiresIn int    `json:"ext_expires_in"`
		AccessToken  string `json:"access_token"`
	}{"Bearer", seconds, seconds, s.newToken(audience, claims)})
}

// knowsClient checks the client's secret, sent in the form or, as x/oauth2 tries
// first, by Basic authentication.
func (s *Server) knowsClient(w http.ResponseWriter, r *http.Request, form url.Values) bool {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		id, secret = unescape(user), unescape(password)
	}
	switch {
	case !strings.EqualFold(id, s.cfg.ClientID):
		s.entraError(w, r, http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf(
			"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.",
			id, s.cfg.TenantID))
	case secret == "" && form.Get("client_assertion") == "":
		s.entraError(w, r, http.StatusUnauthorized, "invalid_client", 7000216,
			"'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
	case secret == "":
		s.entraError(w, r, http.StatusUnauthorized, "invalid_client", 700027,
			"The certificate with identifier used to sign the client assertion is not registered on application.")
	case secret != s.cfg.ClientSecret:
		s.entraError(w, r, http.StatusUnauthorized, "invalid_client", 7000215, fmt.Sprintf(
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", id))
	default:
		return true
	}
	return false
}

// unescape undoes the form encoding that OAuth asks for inside Basic
// authentication; a value that is not encoded stays as it is.
func unescape(s string) string {
	if v, err := url.QueryUnescape(s); err == nil {
		return v
	}
	return s
}

// audienceOf is the resource a scope parameter asks for. MSAL appends OpenID
// scopes, and resources that end in a slash arrive with two before ".default".
func audienceOf(scope string) (string, bool) {
	audience := ""
	for s := range strings.FieldsSeq(scope) {
		switch s {
		case "openid", "offline_access", "profile", "email":
			continue
		}
		resource, ok := strings.CutSuffix(s, "/.default")
		resource = strings.TrimRight(resource, "/")
		if !ok || resource == "" || audience != "" {
			return "", false
		}
		audience = resource
	}
	return audience, audience != ""
}

// entraError answers in Entra's flat envelope.
func (s *Server) entraError(w http.ResponseWriter, r *http.Request, status int, code string, aadsts int, description string) {
	trace := s.nextID("trace")
	correlation := r.Header.Get("Client-Request-Id")
	if correlation == "" {
		correlation = s.nextID("correlation")
	}
	when := s.cfg.Now().UTC().Format("2006-01-02 15:04:05Z")
	writeEntra(w, status, struct {
		Error            string `json:"error"`
		ErrorDescription string `json:"error_description"`
		ErrorCodes       []int  `json:"error_codes"`
		Timestamp        string `json:"timestamp"`
		TraceID          string `json:"trace_id"`
		CorrelationID    string `json:"correlation_id"`
		ErrorURI         string `json:"error_uri"`
	}{
		code,
		fmt.Sprintf("AADSTS%d: %s\r\nTrace ID: %s\r\nCorrelation ID: %s\r\nTimestamp: %s", aadsts, description, trace, correlation, when),
		[]int{aadsts},
		when, trace, correlation,
		fmt.Sprintf("https://%s/error?code=%d", loginHost, aadsts),
	})
}

func writeEntra(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Cache-Control", "no-store, no-cache")
	writeJSON(w, status, "application/json; charset=utf-8", body)
}
