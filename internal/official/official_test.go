package official

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/monitor/ingestion/azlogs"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/security/armsecurity"
	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tokens       = "/" + azuretest.TenantID + "/oauth2/"
	uploads      = "/dataCollectionRules/"
	subscription = "00000000-0000-0000-0000-000000000001"
	arm          = "/subscriptions/"
)

// env is a simulated Microsoft and the official clients under Jurymast. What the
// simulator does not serve, its fault plan answers (answer).
type env struct {
	*testing.T
	srv *azuretest.Server
	c   *azure.Client
}

func open(t *testing.T, change func(*azure.Config), test func(*env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv, err := azuretest.NewServer(azuretest.Config{InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		cfg := azure.Config{
			TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
			HTTPClient: srv.Client(), AuthorityURL: srv.URL(), ManagementURL: srv.URL(),
		}
		if change != nil {
			change(&cfg)
		}
		c, err := azure.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		test(&env{t, srv, c})
	})
}

// answer is what comes to the next count requests below path; 0 is all.
func (e *env) answer(path string, status, count int, body string) func() {
	return e.srv.Faults().Add(fault.Rule{
		Kind: fault.Status, Path: path, Status: status, Count: count, Body: body,
		Header: http.Header{"Content-Type": {"application/json"}},
	})
}

func (e *env) requests(path string) (out []azuretest.Request) {
	for _, r := range e.srv.Requests() {
		if strings.HasPrefix(r.Path, path) {
			out = append(out, r)
		}
	}
	return out
}

func (e *env) upload(ctx context.Context) error {
	c, err := azlogs.NewClient(e.srv.URL(), e.c.Credential(), &azlogs.ClientOptions{ClientOptions: e.c.ClientOptions()})
	if err != nil {
		e.Fatal(err)
	}
	_, err = c.Upload(ctx, "dcr-1", "Custom-Alerts_CL", []byte(`[{"a":1}]`), nil)
	return err
}

func (e *env) scores() *armsecurity.SecureScoresClient {
	c, err := armsecurity.NewSecureScoresClient(subscription, e.c.Credential(), e.c.ARMOptions())
	if err != nil {
		e.Fatal(err)
	}
	return c
}

// list reads all secure scores of the subscription.
func (e *env) list(ctx context.Context) (names []string, err error) {
	pager := e.scores().NewListPager(nil)
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return names, err
		}
		for _, s := range page.Value {
			names = append(names, *s.Name)
		}
	}
	return names, nil
}

const score = `{"value":[{"id":"/x","name":"ascScore","type":"Microsoft.Security/secureScores","properties":{"displayName":"ASC score"}}]}`

func responded(err error) int {
	if r, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return r.StatusCode
	}
	return 0
}

// azlogs and azcore send a POST again after a 503, and with it the logs. Who can
// live with doubles says so.
func TestAnUploadIsSentAgainOnlyIfTheCallerSaysSo(t *testing.T) {
	open(t, nil, func(e *env) {
		e.answer(uploads, 503, 1, "")
		e.answer(uploads, 204, 0, "")
		// Options in the context must not bring azcore's retries back.
		ctx := policy.WithRetryOptions(e.Context(), policy.RetryOptions{RetryDelay: time.Millisecond})
		if err := e.upload(ctx); responded(err) != 503 || len(e.requests(uploads)) != 1 {
			t.Errorf("%v after %d requests", err, len(e.requests(uploads)))
		}
	})
	open(t, nil, func(e *env) {
		e.answer(uploads, 503, 1, "")
		e.answer(uploads, 204, 0, "")
		ctx := resilience.WithCall(e.Context(), resilience.Call{Name: "upload", Kind: resilience.Idempotent})
		if err := e.upload(ctx); err != nil {
			t.Error(err)
		}
		sent := e.requests(uploads)
		if len(sent) != 2 || string(sent[1].Body) != `[{"a":1}]` {
			t.Errorf("%d requests", len(sent))
		}
	})
}

func TestARMReadsAreRetriedByOurPolicy(t *testing.T) {
	open(t, nil, func(e *env) {
		e.answer(arm, 503, 2, "")
		e.answer(arm, 200, 0, score)
		begin := time.Now()
		names, err := e.list(e.Context())
		if err != nil || len(names) != 1 || names[0] != "ascScore" {
			t.Errorf("%v, %v", names, err)
		}
		if n, took := len(e.requests(arm)), time.Since(begin); n != 3 || took > 2*time.Second { // azcore waits 0.8 s, then 2.4 s
			t.Errorf("%d requests in %v", n, took)
		}
	})
}

// One host that is down opens its breaker, and nobody else's.
func TestTheBreakerIsOurs(t *testing.T) {
	open(t, nil, func(e *env) {
		if _, err := e.c.Credential().GetToken(e.Context(), policy.TokenRequestOptions{Scopes: []string{"https://monitor.azure.com//.default"}}); err != nil {
			t.Fatal(err)
		}
		e.answer(uploads, 503, 0, "")
		for range 200 {
			_ = e.upload(e.Context())
		}
		p := e.c.Policies()["azure.azuretest.example"]
		if p == nil || p.State() != resilience.Opened {
			t.Fatalf("policies: %v", e.c.Policies())
		}
		sent := len(e.requests(uploads))
		if err := e.upload(e.Context()); !errors.Is(err, resilience.ErrOpen) || len(e.requests(uploads)) != sent {
			t.Errorf("%v, %d of %d requests", err, len(e.requests(uploads)), sent)
		}
		if s := e.c.Defender.Policy().State(); s != resilience.Closed {
			t.Errorf("Defender is %v", s)
		}
	})
}

// Any number of official clients take one token for each scope, wait for it no
// longer than they want to, and get another one when it is challenged.
func TestTheTokensAreOurs(t *testing.T) {
	open(t, nil, func(e *env) {
		e.answer(uploads, 204, 0, "")
		e.answer(arm, 200, 0, score)
		for range 5 {
			if err := e.upload(e.Context()); err != nil {
				t.Error(err)
			}
			if _, err := e.list(e.Context()); err != nil {
				t.Error(err)
			}
		}
		if n := e.srv.Tokens(); n != 2 {
			t.Errorf("%d tokens for two scopes", n)
		}
		if a, b := e.requests(uploads)[0].Header.Get("Authorization"), e.requests(uploads)[4].Header.Get("Authorization"); a == "" || a != b {
			t.Error("the uploads had different tokens, or none")
		}
	})
	open(t, nil, func(e *env) {
		e.srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: tokens})
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(e.Context(), time.Second)
				defer cancel()
				begin := time.Now()
				if err := e.upload(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			})
		}
		callers.Wait()
		if n := len(e.requests(tokens)); n != 1 {
			t.Errorf("%d token requests", n)
		}
	})
	open(t, nil, func(e *env) {
		if _, err := e.c.Credential().GetToken(e.Context(), policy.TokenRequestOptions{Scopes: []string{"https://monitor.azure.com//.default"}}); err != nil {
			t.Fatal(err)
		}
		e.srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Path: uploads, Status: 401, Count: 1,
			Header: http.Header{"WWW-Authenticate": {`Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7InZhbHVlIjoiMSJ9fX0="`}},
		})
		e.answer(uploads, 204, 0, "")
		if err := e.upload(e.Context()); err != nil {
			t.Error(err)
		}
		asked := e.requests(tokens)
		if len(asked) != 2 || !strings.Contains(string(asked[1].Body), "nbf") {
			t.Errorf("%d token requests, without the claims", len(asked))
		}
	})
}

// 1.5: an arm client registers the provider behind the caller's back.
func TestNothingIsRegistered(t *testing.T) {
	open(t, nil, func(e *env) {
		e.answer(arm, 409, 0, `{"error":{"code":"MissingSubscriptionRegistration","message":"The subscription is not registered to use namespace 'Microsoft.Security'."}}`)
		if _, err := e.scores().Get(e.Context(), "ascScore", nil); responded(err) != 409 || len(e.requests(arm)) != 1 {
			t.Errorf("%v after %d requests", err, len(e.requests(arm)))
		}
	})
}

func TestReadOnlyRefusesOfficialEffects(t *testing.T) {
	open(t, func(cfg *azure.Config) { cfg.ReadOnly = true }, func(e *env) {
		if err := e.upload(e.Context()); !errors.Is(err, azure.ErrReadOnly) || len(e.srv.Requests()) != 0 {
			t.Errorf("%v after %d requests", err, len(e.srv.Requests()))
		}
	})
}
