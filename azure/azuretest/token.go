package azuretest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// token is what the server remembers of an access token.
type token struct {
	audience string
	roles    []string
	claims   map[string]any // of the request for it
	expires  time.Time
	revoked  bool
}

// newToken issues an access token for audience. It is a JWT for those who look
// inside, but what counts is that this server remembers it. The claims asked for are
// granted: of them the JWT shows none (assumed: APIs look them up elsewhere).
func (s *Server) newToken(audience string, claims map[string]any) string {
	now := s.cfg.Now()
	t := &token{audience: audience, roles: s.cfg.Roles, claims: claims, expires: now.Add(s.cfg.TokenLife)}
	s.mu.Lock()
	defer s.mu.Unlock()
	jwt := signJWT(map[string]any{
		"aud": audience, "iss": "https://sts.windows.net/" + s.cfg.TenantID + "/", "tid": s.cfg.TenantID,
		"appid": s.cfg.ClientID, "roles": t.roles, "uti": s.nextIDLocked("token"), "ver": "1.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": t.expires.Unix(),
	})
	s.tokens[jwt] = t
	return jwt
}

func signJWT(claims map[string]any) string {
	payload, err := json.Marshal(claims) // strings, numbers and a list: cannot fail
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding
	unsigned := enc.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + enc.EncodeToString(payload)
	mac := hmac.New(sha256.New, []byte("azuretest"))
	mac.Write([]byte(unsigned))
	return unsigned + "." + enc.EncodeToString(mac.Sum(nil))
}

// RevokeTokens makes every token issued so far answer 401 from now on, as if the
// app had been signed out everywhere. A client that shows its cached token again
// is refused again; one issued later works.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		t.revoked = true
	}
}

// ChallengeCAE makes every API answer 401 from now on to tokens that were not
// requested with these claims, and ask for them by the challenge of continuous
// access evaluation; "" ends it. Claims are JSON, such as
// {"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}.
//
// Microsoft challenges only clients that said they understand it (assumed to be
// all of them here).
func (s *Server) ChallengeCAE(claims string) error {
	var wanted map[string]any
	if claims != "" {
		if err := json.Unmarshal([]byte(claims), &wanted); err != nil {
			return fmt.Errorf("azuretest: ChallengeCAE wants claims as a JSON object: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.demanded, s.challenge = wanted, claims
	return nil
}

// covers reports whether have has all that is in want.
func covers(have, want any) bool {
	object, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(have, want)
	}
	there, ok := have.(map[string]any)
	if !ok {
		return false
	}
	for name, v := range object {
		if !covers(there[name], v) {
			return false
		}
	}
	return true
}

// Tokens is how many tokens have been issued so far.
func (s *Server) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tokens)
}

// authenticate returns the token of a request, or the refusal it deserves.
func (s *Server) authenticate(r *http.Request) (token, error) {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return token{}, unauthorized("no bearer token")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[strings.TrimSpace(bearer)]
	switch {
	case !ok:
		return token{}, unauthorized("the token was not issued here")
	case t.revoked:
		return token{}, unauthorized("the token has been revoked")
	case !s.cfg.Now().Before(t.expires):
		return token{}, unauthorized("the token has expired")
	case !covers(t.claims, s.demanded):
		e := unauthorized("the token does not meet the claims of the challenge")
		e.header.Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="", authorization_uri="https://%s/common/oauth2/authorize", error="insufficient_claims", claims="%s"`,
			loginHost, base64.StdEncoding.EncodeToString([]byte(s.challenge))))
		return token{}, e
	}
	return *t, nil
}

func unauthorized(why string) *apiError {
	e := refuse(http.StatusUnauthorized, "Unauthorized", "Unauthorized (invalid or expired authorization header): %s", why)
	e.header = http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}
	return e
}

// authorize checks that the token is meant for the API and carries one of roles, if
// any are asked for.
func (t token) authorize(audiences, roles []string) error {
	if !slices.Contains(audiences, strings.ToLower(t.audience)) {
		return refuse(http.StatusForbidden, "Forbidden", "InvalidAuthenticationTokenAudience: the audience '%s' is not that of this API", t.audience)
	}
	if len(roles) == 0 || slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(t.roles, role) }) {
		return nil
	}
	return refuse(http.StatusForbidden, "Forbidden", "Missing application roles. API required roles: %s, application roles: %s.",
		strings.Join(roles, ","), strings.Join(t.roles, ","))
}
