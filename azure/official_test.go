package azure_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// A caller who came between azcore's dropping a refused token and our hearing of it
// fetched that token again, for everybody.
func TestARefusedTokenIsNotFetchedAgain(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		bearer := runtime.NewBearerTokenPolicy(c.Credential(), []string{defenderScope}, nil)
		get := func(options *policy.ClientOptions) (*http.Response, error) {
			pl := runtime.NewPipeline("official", "v1", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}}, options)
			req, err := runtime.NewRequest(t.Context(), http.MethodGet, "https://api.security.microsoft.com/api/machines/"+first)
			if err != nil {
				return nil, err
			}
			return pl.Do(req)
		}
		options := c.ClientOptions()
		options.PerCallPolicies = append(options.PerCallPolicies, policyFunc(func(req *policy.Request) (*http.Response, error) {
			resp, err := req.Next()
			if err == nil && resp.StatusCode == http.StatusUnauthorized {
				_, err = get(&policy.ClientOptions{Transport: kind{}})
			}
			return resp, err
		}))
		for range 2 {
			if resp, err := get(&options); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%+v, %v", resp, err)
			}
			srv.RevokeTokens()
		}
		if n := srv.Tokens(); n != 2 {
			t.Errorf("%d tokens", n)
		}
	})
}

type policyFunc func(*policy.Request) (*http.Response, error)

func (f policyFunc) Do(req *policy.Request) (*http.Response, error) { return f(req) }

// kind is an API that any token is good for.
type kind struct{}

func (kind) Do(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// officialClient asks for a machine as an official client would, with azcore's own
// authentication.
func officialClient(c *azure.Client) func(context.Context) error {
	options := c.ClientOptions()
	bearer := runtime.NewBearerTokenPolicy(c.Credential(), []string{defenderScope}, nil)
	pl := runtime.NewPipeline("official", "v1", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}}, &options)
	return func(ctx context.Context) error {
		req, err := runtime.NewRequest(ctx, http.MethodGet, "https://api.security.microsoft.com/api/machines/"+first)
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
}

func slowToken(cfg *azure.Config) {
	cfg.AuthPolicy.Attempt, cfg.AuthPolicy.Total = time.Hour, time.Hour
}

// Callers who leave because no token comes say nothing of the API, neither ours nor
// those of official clients, where azcore hides why they left.
func TestATokenOutageOpensNoAPI(t *testing.T) {
	cloud(t, azuretest.Config{}, slowToken, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Host: login})
		official := officialClient(c)
		for name, call := range map[string]func(context.Context) error{
			"azure.api.security.microsoft.com": official,
			"azure.defender": func(ctx context.Context) error {
				_, err := c.Defender.Machine(ctx, first)
				return err
			},
		} {
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
				err := call(ctx)
				cancel()
				if f := resilience.Of(err); !errors.Is(err, context.DeadlineExceeded) || f.Class != resilience.Canceled || f.Sent != resilience.NotSent {
					t.Fatalf("%s: %v (%v, %v)", name, err, f.Class, f.Sent)
				}
			}
			if p := c.Policies()[name]; p.State() != resilience.Closed {
				t.Error(p.Explain())
			}
		}
		// Nor does an attempt that ends by itself.
		if err := official(t.Context()); resilience.Of(err).Class != resilience.Credential {
			t.Errorf("got %v", err)
		}
	})
}

// T1: azcore lets one caller fetch the token; the others wait, and do not see that
// their time is over.
func TestCallersBehindASlowTokenOpenNoAPI(t *testing.T) {
	cloud(t, azuretest.Config{}, slowToken, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Latency, Delay: 9 * time.Second, Path: tokenPath})
		call := officialClient(c)
		var callers sync.WaitGroup
		callers.Go(func() {
			if err := call(t.Context()); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		for range 20 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
				defer cancel()
				if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || resilience.Of(err).Sent != resilience.NotSent {
					t.Errorf("got %v", err)
				}
			})
		}
		callers.Wait()
		if p := c.Policies()["azure.api.security.microsoft.com"]; p.State() != resilience.Closed {
			t.Error(p.Explain())
		}
	})
}

// azcore goes on with the token it has if it cannot renew it: what happens then is
// the API's doing, and may have been sent.
func TestATokenThatCouldNotBeRenewedIsNotBlamed(t *testing.T) {
	cloud(t, azuretest.Config{TokenLife: 90 * time.Second}, slowToken, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		call := officialClient(c)
		if err := call(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(86 * time.Second) // ours does for no call any more, but azcore's has not expired
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 400, Host: login, Body: `{"error":"invalid_client","error_description":"AADSTS7000215"}`})
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: "/api"})
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		if err := call(ctx); resilience.Of(err).Sent != resilience.MaybeSent {
			t.Errorf("got %v", err)
		}
	})
}

// The token request of a caller who has left goes on, and has nothing to tell him.
func TestATokenOfAnotherClientKeepsApart(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		other, err := azure.New(azure.Config{Credential: azure.Plain(c.Credential()), HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close(t.Context()) }()
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: tokenPath})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := other.Defender.Machine(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(10 * time.Second)
	})
}

// Any official Azure client runs under the policy, with its own errors.
func TestClientOptionsCarryOfficialClients(t *testing.T) {
	cloud(t, azuretest.Config{}, func(c *azure.Config) { c.ReadOnly = true }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		options := c.ClientOptions()
		bearer := runtime.NewBearerTokenPolicy(c.Credential(), []string{"https://api.securitycenter.microsoft.com/.default"}, nil)
		pl := runtime.NewPipeline("official", "v1", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}}, &options)
		call := func(method, path string) (*http.Response, error) {
			req, err := runtime.NewRequest(t.Context(), method, "https://api.security.microsoft.com"+path)
			if err != nil {
				t.Fatal(err)
			}
			return pl.Do(req)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: "/api", Count: 1})
		resp, err := call(http.MethodGet, "/api/machines/"+first)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "ws-000") {
			t.Errorf("%s, %v", body, err)
		}
		resp, err = call(http.MethodGet, "/api/machines/f00")
		if err != nil || resp.StatusCode != 404 {
			t.Errorf("the official client must see its own answer: %v, %v", resp, err)
		}
		if e, ok := errors.AsType[*azcore.ResponseError](runtime.NewResponseError(resp)); !ok || e.ErrorCode != "ResourceNotFound" {
			t.Errorf("got %v", e)
		}
		if _, err := call(http.MethodPost, "/api/machines/"+first+"/isolate"); !errors.Is(err, azure.ErrReadOnly) {
			t.Errorf("got %v", err)
		}
		// A revoked token must not lock official clients out, nor our own.
		before := srv.Tokens()
		srv.RevokeTokens()
		done := make(chan int, 4)
		for range 4 {
			go func() {
				resp, err := call(http.MethodGet, "/api/machines/"+first)
				if err != nil {
					t.Error(err)
					done <- 0
					return
				}
				done <- resp.StatusCode
			}()
		}
		for range 4 {
			if status := <-done; status != 200 {
				t.Errorf("after a revoked token: %d", status)
			}
		}
		if n := srv.Tokens() - before; n != 1 {
			t.Errorf("%d new tokens", n)
		}
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Errorf("our own call: %v", err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Refuse})
		begin := time.Now()
		if _, err := call(http.MethodGet, "/api/machines/"+first); resilience.Of(err).Class != resilience.Refused {
			t.Errorf("got %v", err)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("azcore's own retries took part: %v", d)
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
