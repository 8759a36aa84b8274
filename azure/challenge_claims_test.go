package azure_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func nbf(value string) string {
	return `{"access_token":{"nbf":{"essential":true,"value":"` + value + `"}}}`
}

// claimsAsked are those of the token requests so far.
func claimsAsked(t *testing.T, srv *azuretest.Server) (out []string) {
	t.Helper()
	for _, r := range srv.Requests() {
		if strings.HasPrefix(r.Path, tokenPath) {
			form, err := url.ParseQuery(string(r.Body))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, form.Get("claims"))
		}
	}
	return out
}

// 1.3: a challenge is answered by one token that has the claims, for any number of
// callers; an effect too, because a 401 has done nothing.
func TestChallengeIsMet(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		for round, value := range []string{"1", "2"} {
			if err := srv.ChallengeCAE(nbf(value)); err != nil {
				t.Fatal(err)
			}
			var callers sync.WaitGroup
			for range 20 {
				callers.Go(func() {
					if _, err := c.Defender.Machine(t.Context(), first); err != nil {
						t.Error(err)
					}
				})
			}
			callers.Wait()
			asked := claimsAsked(t, srv)
			if len(asked) != 2+round || !strings.Contains(asked[1+round], `"nbf":{"essential":true,"value":"`+value+`"}`) {
				t.Errorf("token requests with claims %q", asked)
			}
		}
		_ = srv.ChallengeCAE(nbf("3"))
		if _, err := c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"}); err != nil || len(srv.Actions()) != 1 {
			t.Errorf("%v, %d actions", err, len(srv.Actions()))
		}
	})
}

// A revoked token and a challenge of the one after it are two things.
func TestChallengeAfterARevokedToken(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		srv.RevokeTokens()
		_ = srv.ChallengeCAE(nbf("1"))
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Error(err)
		}
		if n := tokenRequests(srv); n != 3 {
			t.Errorf("%d token requests", n)
		}
	})
}

// An API that nothing satisfies must not become a storm at Entra.
func TestChallengeThatCannotBeMet(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: 401, Path: "/api",
			Header: http.Header{"WWW-Authenticate": {`Bearer error="insufficient_claims", claims="eyJhIjoxfQ=="`}},
		})
		for range 20 {
			_, err := c.Defender.Machine(t.Context(), first)
			if f := resilience.Of(err); f.Class != resilience.Credential || f.Status != 401 {
				t.Errorf("got %v", err)
			}
		}
		if n := tokenRequests(srv); n != 2 {
			t.Errorf("%d token requests for 20 calls", n)
		}
	})
}

// Claims that Entra will not grant must not stick: the ban may be lifted.
func TestClaimsRefusedByEntra(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		_ = srv.ChallengeCAE(nbf("1"))
		heal := srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 400, Path: tokenPath, Body: `{"error":"interaction_required","error_description":"AADSTS53003: blocked"}`})
		_, err := c.Defender.Machine(t.Context(), first)
		if e, ok := errors.AsType[*azure.TokenError](err); !ok || e.Code != "AADSTS53003" {
			t.Errorf("got %v", err)
		}
		heal()
		_ = srv.ChallengeCAE("")
		time.Sleep(time.Minute)
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Error(err)
		}
		if asked := claimsAsked(t, srv); strings.Contains(asked[len(asked)-1], "nbf") {
			t.Errorf("the claims are asked for ever: %q", asked)
		}
	})
}
