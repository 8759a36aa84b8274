package falcontest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// token is what the gateway knows about a bearer token.
type token struct {
	cid     string
	member  bool // locked to one member CID
	expires time.Time
}

// sees reports whether the token may see the hosts of a CID. A token that is
// not locked to a member belongs to the parent and sees every member's.
func (t token) sees(cid string) bool { return !t.member || t.cid == cid }

type tokens struct {
	mu     sync.Mutex
	issued int
	live   map[string]token
}

// serveToken answers /oauth2/. That revocations count like token requests is assumed.
func (c *cloud) serveToken(q *call) {
	if !c.take(q, &c.tokenRequests, q.source()) {
		return
	}
	switch q.r.Method + " " + q.r.URL.Path {
	case "POST /oauth2/token":
		c.issueToken(q)
	case "POST /oauth2/revoke":
		c.revokeToken(q)
	default:
		q.fail(http.StatusNotFound, byGateway, "404: Page Not Found")
	}
}

func (c *cloud) issueToken(q *call) {
	if !c.authenticate(q) {
		return
	}
	t := token{cid: c.cfg.CID, expires: q.now.Add(c.cfg.TokenLife)}
	if m := q.r.PostForm.Get("member_cid"); m != "" {
		t.cid, t.member = bareCID(m), true
		if t.cid != c.cfg.CID && !c.fleet.hasCID(t.cid) {
			q.fail(http.StatusForbidden, byTokens, "Failed to issue access token - Not Authorized")
			return
		}
	}
	body, _ := json.Marshal(map[string]any{
		"access_token": c.tokens.issue(t, q.now, c.cfg),
		"expires_in":   int(c.cfg.TokenLife / time.Second),
		"token_type":   "bearer",
	})
	q.write(http.StatusCreated, body) // the one answer that is not indented
}

// revokeToken answers 200 for unknown tokens too (RFC 7009, section 2.2).
func (c *cloud) revokeToken(q *call) {
	if !c.authenticate(q) {
		return
	}
	t := q.r.PostForm.Get("token")
	if t == "" {
		q.fail(http.StatusBadRequest, byTokens, "token is required")
		return
	}
	c.tokens.revoke(t)
	q.send(http.StatusOK, refusal{q.meta(byTokens), []apiError{}})
}

// authenticate checks the client's credentials, in the form or as Basic, and
// answers the request if they are wrong.
func (c *cloud) authenticate(q *call) bool {
	if err := q.r.ParseForm(); err != nil {
		q.fail(http.StatusBadRequest, byTokens, "Bad request")
		return false
	}
	id, secret := q.r.PostForm.Get("client_id"), q.r.PostForm.Get("client_secret")
	if i, s, ok := q.r.BasicAuth(); ok {
		id, secret = unescaped(i, c.cfg.ClientID), unescaped(s, c.cfg.ClientSecret)
	}
	switch {
	case id != c.cfg.ClientID:
		q.fail(http.StatusBadRequest, byTokens, fmt.Sprintf("Failed to generate access token for clientID=%s.", id))
	case secret != c.cfg.ClientSecret:
		q.fail(http.StatusForbidden, byTokens, "Failed to issue access token - Not Authorized")
	default:
		return true
	}
	return false
}

// unescaped undoes the form encoding that RFC 6749, section 2.3.1, asks for
// inside Basic, and that only some clients apply.
func unescaped(got, want string) string {
	if got == url.QueryEscape(want) {
		return want
	}
	return got
}

// issue makes a token. It looks like a JWT, names no region, and depends only on
// the configuration, the clock and the number of tokens before it.
func (ts *tokens) issue(t token, now time.Time, cfg Config) string {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.issued++
	claims, _ := json.Marshal(map[string]any{
		"aud": []string{}, "sub": cfg.ClientID, "sub_type": "client", "cid": t.cid,
		"jti": fmt.Sprint(ts.issued), "iat": now.Unix(), "nbf": now.Unix(), "exp": t.expires.Unix(),
	})
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64(claims)
	mac := hmac.New(sha256.New, []byte(cfg.Cloud+" "+cfg.ClientSecret))
	mac.Write([]byte(signed))
	s := signed + "." + b64(mac.Sum(nil))
	ts.live[s] = t
	return s
}

// check returns the token of an Authorization header, if it is still good.
func (ts *tokens) check(now time.Time, authorization string) (token, bool) {
	scheme, bearer, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return token{}, false
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t, ok := ts.live[bearer]
	return t, ok && now.Before(t.expires)
}

func (ts *tokens) revoke(t string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.live, t)
}

func (ts *tokens) revokeAll() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	clear(ts.live)
}

func (ts *tokens) count() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.issued
}

// bareCID is a CID as the API has it: the console shows it in upper case and
// with a two-digit checksum.
func bareCID(cid string) string {
	cid, _, _ = strings.Cut(strings.ToLower(cid), "-")
	return cid
}
