package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/token"
	"github.com/jurymast/jurymast/resilience"
)

// fetchToken asks for an access token once, or twice if the gateway names
// another region (facts/falcon.md 2.2).
func (c *Client) fetchToken(ctx context.Context) (token.Token, error) {
	creds, err := c.cfg.Credentials(ctx)
	if err != nil {
		return token.Token{}, fmt.Errorf("Config.Credentials: %w", err)
	}
	form := url.Values{"client_id": {creds.ClientID}, "client_secret": {string(creds.ClientSecret)}}
	if c.cfg.MemberCID != "" {
		form.Set("member_cid", c.cfg.MemberCID)
	}
	w := &written{
		operation: "oauth2.token", method: http.MethodPost, path: "/oauth2/token",
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}},
		body:   []byte(form.Encode()),
	}
	begin := time.Now()
	a, err := c.roundTrip(ctx, w, "")
	if err != nil {
		return token.Token{}, err
	}
	if a.redirected {
		if a, err = c.roundTrip(ctx, w, ""); err != nil {
			return token.Token{}, err
		}
	}
	if a.status >= 300 {
		return token.Token{}, refusedToken(a)
	}
	var t struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(a.body, &t); err != nil || t.AccessToken == "" {
		if err == nil {
			err = errors.New("no access_token in it")
		}
		return token.Token{}, a.malformed(w.operation, err)
	}
	if t.ExpiresIn <= 0 {
		t.ExpiresIn = 1799 // what Falcon documents
	}
	return token.Token{Value: t.AccessToken, Expires: begin.Add(time.Duration(t.ExpiresIn * float64(time.Second)))}, nil
}

// refusedToken says what to do about the refusals that Falcon is known for.
func refusedToken(a *answer) error {
	e := a.apiError("oauth2.token")
	switch a.status {
	case http.StatusBadRequest:
		e.Hint = "the client id is not known in this cloud: check Config.ClientID and Config.Cloud"
	case http.StatusUnauthorized:
		e.Hint = "check Config.ClientID and Config.ClientSecret"
	case http.StatusForbidden:
		e.Hint = "the secret is wrong or revoked, or this machine's address is not on the API client's IP allow-list: check Config.ClientSecret"
		if strings.Contains(strings.ToLower(e.Error()), "member") {
			e.Hint = "check Config.MemberCID"
		}
	default:
		return e
	}
	e.class, e.sent = resilience.Credential, resilience.Answered
	return e
}
