package azure_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const (
	login         = "login.microsoftonline.com"
	tokenPath     = "/" + azuretest.TenantID + "/oauth2"
	defenderScope = "https://api.securitycenter.microsoft.com/.default"
	graphScope    = "https://graph.microsoft.com/.default"
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

func getToken(ctx context.Context, c *azure.Client, scope string) (string, error) {
	at, err := c.Credential().GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, EnableCAE: true})
	return at.Token, err
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

// azcore answers a challenge by GetToken with its claims: they are honoured, and
// the token is everybody's from then on.
func TestOfficialClientsAreChallenged(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		options := c.ClientOptions()
		call := func(pl runtime.Pipeline) error {
			req, err := runtime.NewRequest(t.Context(), http.MethodGet, "https://api.security.microsoft.com/api/machines/"+first)
			if err != nil {
				return err
			}
			resp, err := pl.Do(req)
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return runtime.NewResponseError(resp)
			}
			_, err = runtime.Payload(resp)
			return err
		}
		var pls []runtime.Pipeline
		for range 3 {
			bearer := runtime.NewBearerTokenPolicy(c.Credential(), []string{defenderScope}, nil)
			pls = append(pls, runtime.NewPipeline("official", "v1", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}}, &options))
			if err := call(pls[len(pls)-1]); err != nil {
				t.Fatal(err)
			}
		}
		_ = srv.ChallengeCAE(nbf("7"))
		for _, pl := range pls {
			if err := call(pl); err != nil {
				t.Error(err)
			}
		}
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Error(err)
		}
		if n := tokenRequests(srv); n != 2 {
			t.Errorf("%d token requests", n)
		}
	})
}

func TestTokensOfOtherTenants(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ask := func(tenant string) error {
			_, err := c.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graphScope}, TenantID: tenant})
			return err
		}
		for _, own := range []string{"", azuretest.TenantID, strings.ToUpper(azuretest.TenantID)} {
			if err := ask(own); err != nil {
				t.Errorf("%q: %v", own, err)
			}
		}
		if n := tokenRequests(srv); n != 1 {
			t.Errorf("%d token requests for one tenant", n)
		}
		err := ask("00000000-0000-0000-0000-000000000000")
		if e, ok := errors.AsType[*azure.TokenError](err); !ok || !strings.Contains(e.Error(), "00000000-0000-0000-0000-000000000000") {
			t.Errorf("got %v", err)
		}
		if n := tokenRequests(srv); n != 1 {
			t.Errorf("another tenant's token was asked of ours: %d", n)
		}
	})
}

// The number: 500 callers with a hung token endpoint each return within their own
// deadline, and at most 3 token requests are sent.
func TestFiveHundredCallersAndAHungTokenEndpoint(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: tokenPath})
		var callers sync.WaitGroup
		for i := range 500 {
			callers.Go(func() {
				deadline := 100*time.Millisecond + time.Duration(i)*20*time.Millisecond // up to 10 s
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				begin := time.Now()
				_, err := c.Defender.Machine(ctx, first)
				if took := time.Since(begin); err == nil || took > deadline {
					t.Errorf("with a deadline of %v: %v after %v", deadline, err, took)
				}
			})
		}
		callers.Wait()
		if n := tokenRequests(srv); n < 1 || n > 3 {
			t.Errorf("%d token requests", n)
		}
		if c.Defender.Policy().State() != resilience.Closed {
			t.Error("a token outage opened the API's breaker")
		}
	})
}

// The number: the token endpoint is down for 0.6 of a token's life, beginning at
// every tenth of its life, with Run running: no failed call.
func TestOutageOfSixTenthsOfATokensLife(t *testing.T) {
	const life = time.Hour
	for tenth := range 10 {
		for _, down := range []fault.Rule{{Kind: fault.Status, Status: 503}, {Kind: fault.Blackhole}, {Kind: fault.Refuse}} {
			t.Run(fmt.Sprintf("%s from %d tenths", down.Kind, tenth), func(t *testing.T) {
				cloud(t, azuretest.Config{TokenLife: life, MinuteQuota: -1, HourQuota: -1}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
					ctx, cancel := context.WithCancel(t.Context())
					var run sync.WaitGroup
					run.Go(func() { _ = c.Run(ctx) })
					defer run.Wait()
					defer cancel()
					time.Sleep(time.Minute) // until the first token is here
					down.Host, down.Start, down.For = login, time.Duration(tenth)*life/10, life*6/10
					srv.Faults().Add(down)
					for range 3 * 60 {
						time.Sleep(time.Minute)
						if _, err := c.Defender.Machine(t.Context(), first); err != nil {
							t.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// Run warms Defender's token from the beginning and those of other APIs from
// their first use.
func TestRunWarmsWhatIsUsed(t *testing.T) {
	cloud(t, azuretest.Config{TokenLife: time.Hour}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for range 2 { // two at once do no harm
			go func() { ended <- c.Run(ctx) }()
		}
		issued := func() map[string]int {
			n := map[string]int{}
			for _, r := range srv.Requests() {
				if strings.HasPrefix(r.Path, tokenPath) {
					form, _ := url.ParseQuery(string(r.Body))
					scope, _, _ := strings.Cut(form.Get("scope"), " ")
					n[scope]++
				}
			}
			return n
		}
		time.Sleep(59 * time.Minute)
		if n := issued(); n[defenderScope] != 3 || n[graphScope] != 0 {
			t.Errorf("after an hour: %v", n)
		}
		old, err := getToken(t.Context(), c, graphScope)
		if err != nil {
			t.Fatal(err)
		}
		srv.ResetRequests()
		time.Sleep(2 * time.Hour)
		if n := issued(); n[graphScope] != 6 && n[graphScope] != 5 {
			t.Errorf("two hours after the first use: %v", n)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Refuse, Host: login})
		if now, err := getToken(t.Context(), c, graphScope); err != nil || now == old {
			t.Errorf("not warm: %v", err)
		}
		cancel()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		}
	})
}

func TestRunEndsWithTheClient(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: tokenPath})
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context()) }()
		time.Sleep(time.Second)
		begin := time.Now()
		if err := c.Close(t.Context()); err != nil || time.Since(begin) > time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(begin))
		}
		if err := <-ended; !errors.Is(err, azure.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
		if err := c.Run(t.Context()); !errors.Is(err, azure.ErrClosed) {
			t.Errorf("Run of a closed client: %v", err)
		}
		if _, err := getToken(t.Context(), c, graphScope); !errors.Is(err, azure.ErrClosed) {
			t.Errorf("GetToken of a closed client: %v", err)
		}
	})
}

func managedIdentity(o azcore.ClientOptions) (azcore.TokenCredential, error) {
	return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o})
}

const imds = "169.254.169.254"

// noIdentityInTheEnvironment makes azidentity look at the machine's service only.
func noIdentityInTheEnvironment(t *testing.T) {
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"} {
		t.Setenv(name, "") // to be restored
		_ = os.Unsetenv(name)
	}
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "prod") // no programs of the developer's machine
}

// MSAL caches the tokens of a managed identity for the whole process: one that the
// API refuses is replaced all the same.
func TestManagedIdentity(t *testing.T) {
	noIdentityInTheEnvironment(t)
	for name, factory := range map[string]azure.CredentialFactory{"named": managedIdentity, "found": azure.DefaultCredential("")} {
		t.Run(name, func(t *testing.T) {
			cloud(t, azuretest.Config{}, func(cfg *azure.Config) { cfg.Credential = factory }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
				// What an earlier test left in the cache was not issued here.
				_, _ = c.Defender.Machine(t.Context(), first)
				time.Sleep(time.Minute)
				if _, err := c.Defender.Machine(t.Context(), first); err != nil {
					t.Fatal(err)
				}
				before := srv.Tokens()
				srv.RevokeTokens()
				if _, err := c.Defender.Machine(t.Context(), first); err != nil {
					t.Error(err)
				}
				if n := srv.Tokens() - before; n != 1 {
					t.Errorf("%d new tokens", n)
				}
			})
		})
	}
}

// T10, T11: azidentity asks a sick machine seven times in 100 s, and looks for one
// that is not there for a second in each call.
func TestT10T11SickMachine(t *testing.T) {
	noIdentityInTheEnvironment(t)
	for name, tc := range map[string]struct {
		factory azure.CredentialFactory
		fault   fault.Rule
	}{
		"500":     {managedIdentity, fault.Rule{Kind: fault.Status, Status: 500}},
		"refused": {managedIdentity, fault.Rule{Kind: fault.Refuse}},
		"hangs":   {managedIdentity, fault.Rule{Kind: fault.Blackhole}},
		"absent":  {azure.DefaultCredential(""), fault.Rule{Kind: fault.Blackhole}},
	} {
		t.Run(name, func(t *testing.T) {
			cloud(t, azuretest.Config{}, func(cfg *azure.Config) { cfg.Credential = tc.factory }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
				tc.fault.Host = imds
				srv.Faults().Add(tc.fault)
				begin := time.Now()
				var callers sync.WaitGroup
				for range 20 {
					callers.Go(func() {
						_, err := getToken(t.Context(), c, "https://"+name+".test/.default")
						if _, ok := errors.AsType[*azure.TokenError](err); !ok {
							t.Errorf("got %v", err)
						}
					})
				}
				callers.Wait()
				if took := time.Since(begin); took > 8*time.Second {
					t.Errorf("20 callers waited %v", took)
				}
				n := 0
				for _, r := range srv.Requests() {
					if r.Host == imds {
						n++
					}
				}
				if n > 3 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// A credential with a cache of its own is asked for another token than the one that
// the API refused.
func TestPlainCredentialRenewsARefusedToken(t *testing.T) {
	cloud(t, azuretest.Config{}, func(cfg *azure.Config) {
		cred, err := azidentity.NewClientSecretCredential(azuretest.TenantID, azuretest.ClientID, azuretest.ClientSecret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: cfg.HTTPClient}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Credential = azure.Plain(cred)
	}, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		srv.RevokeTokens()
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Error(err)
		}
		if n := srv.Tokens(); n != 2 {
			t.Errorf("%d tokens", n)
		}
	})
}

// A token that works elsewhere is worth another try, but one: an API that refuses
// it without end must not hold the call.
func TestARefusedTokenIsRenewedOnceInACall(t *testing.T) {
	var c *azure.Client
	refused := 0
	cloud(t, azuretest.Config{}, func(cfg *azure.Config) {
		next := cfg.HTTPClient.Transport
		cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil && resp.StatusCode == http.StatusUnauthorized && refused < 10 {
				refused++
				_, err = c.Defender.Machine(r.Context(), fmt.Sprintf("%040x", 2)) // it works there
			}
			return resp, err
		})}
	}, func(t *testing.T, srv *azuretest.Server, client *azure.Client) {
		c = client
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 401, Path: "/api/machines/" + first})
		if _, err := c.Defender.Machine(t.Context(), first); resilience.Of(err).Status != 401 || refused != 2 {
			t.Errorf("%v after %d times", err, refused)
		}
	})
}

// azcore's retry options in the context would bring azidentity's retries back.
func TestRetryOptionsInTheContextDoNotReachTheCredential(t *testing.T) {
	for _, more := range []bool{false, true} {
		cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: tokenPath})
			ctx := t.Context()
			if more {
				ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: 9, RetryDelay: time.Millisecond})
			}
			if _, err := getToken(ctx, c, graphScope); err == nil {
				t.Error("no error")
			}
			if n := tokenRequests(srv); n > 3 {
				t.Errorf("%d token requests", n)
			}
		})
	}
}
