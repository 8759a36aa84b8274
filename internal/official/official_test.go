package official

import (
	"context"
	"errors"
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
	tokens  = "/" + azuretest.TenantID + "/oauth2/"
	uploads = "/dataCollectionRules/"
	arm     = "/subscriptions/"
	stream  = "Custom-Alerts_CL"
)

// env is a simulated Microsoft and the official clients under Jurymast.
type env struct {
	*testing.T
	srv *azuretest.Server
	c   *azure.Client
}

func open(t *testing.T, change func(*azure.Config, *azuretest.Config), test func(*env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cloud := azuretest.Config{
			InMemory:    true,
			CloudScores: []azuretest.CloudScore{{Current: 3, Max: 5}},
			Collections: []azuretest.Collection{{Streams: map[string][]azuretest.Column{stream: {{Name: "a", Type: "int"}}}}},
		}
		cfg := azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret}
		if change != nil {
			change(&cfg, &cloud)
		}
		srv, err := azuretest.NewServer(cloud)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		cfg.HTTPClient, cfg.AuthorityURL, cfg.ManagementURL = srv.Client(), srv.URL(), srv.URL()
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

// fail makes the next count requests below path end in kind; 0 is all.
func (e *env) fail(path string, kind fault.Kind, count int) {
	e.srv.Faults().Add(fault.Rule{Kind: kind, Status: 503, Path: path, Count: count})
}

// rows are how many rows of uploads are stored.
func (e *env) rows() int {
	rows := e.srv.Rows(azuretest.RuleID, stream)
	for _, raw := range rows {
		if !strings.Contains(string(raw), `"a":1`) {
			e.Errorf("stored %s", raw)
		}
	}
	return len(rows)
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
	c, err := azlogs.NewClient("https://"+azuretest.IngestHost, e.c.Credential(), &azlogs.ClientOptions{ClientOptions: e.c.ClientOptions()})
	if err != nil {
		e.Fatal(err)
	}
	_, err = c.Upload(ctx, azuretest.RuleID, stream, []byte(`[{"a":1}]`), nil)
	return err
}

func (e *env) scores() *armsecurity.SecureScoresClient {
	c, err := armsecurity.NewSecureScoresClient(azuretest.SubscriptionID, e.c.Credential(), e.c.ARMOptions())
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

func responded(err error) int {
	if r, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return r.StatusCode
	}
	return 0
}

// azlogs and azcore send a POST again after a 503, and with it the logs. Who can
// live with doubles says so.
func TestAnUploadIsSentAgainOnlyIfTheCallerSaysSo(t *testing.T) {
	// Options in the context must not bring azcore's retries back.
	retry := policy.RetryOptions{RetryDelay: time.Millisecond}
	again := resilience.Call{Name: "upload", Kind: resilience.Idempotent}
	for _, kind := range []fault.Kind{fault.Status, fault.LoseResponse} {
		open(t, nil, func(e *env) {
			e.fail(uploads, kind, 1)
			err := e.upload(policy.WithRetryOptions(e.Context(), retry))
			if n := len(e.requests(uploads)); err == nil || kind == fault.Status && responded(err) != 503 || n != 1 {
				t.Errorf("%v: %v after %d requests", kind, err, n)
			}
		})
		open(t, nil, func(e *env) {
			e.fail(uploads, kind, 1)
			if err := e.upload(resilience.WithCall(e.Context(), again)); err != nil {
				t.Errorf("%v: %v", kind, err)
			}
			want := 1
			if kind == fault.LoseResponse { // the doubles
				want = 2
			}
			if n := e.rows(); n != want || len(e.requests(uploads)) != 2 {
				t.Errorf("%v: %d rows of %d requests", kind, n, len(e.requests(uploads)))
			}
		})
	}
}

func TestARMReadsAreRetriedByOurPolicy(t *testing.T) {
	open(t, nil, func(e *env) {
		e.fail(arm, fault.Status, 2)
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
		e.fail(uploads, fault.Status, 0)
		for range 200 {
			_ = e.upload(e.Context())
		}
		p := e.c.Policies()["azure."+azuretest.IngestHost]
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
		for range 5 {
			if err := e.upload(e.Context()); err != nil {
				t.Error(err)
			}
			if _, err := e.list(e.Context()); err != nil {
				t.Error(err)
			}
		}
		if n := e.srv.Tokens(); n != 2 || e.rows() != 5 {
			t.Errorf("%d tokens for two scopes, %d rows of 5", n, e.rows())
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
		if err := e.srv.ChallengeCAE(`{"access_token":{"nbf":{"value":"1"}}}`); err != nil {
			t.Fatal(err)
		}
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
	open(t, func(_ *azure.Config, cloud *azuretest.Config) {
		cloud.ARM.Unregistered = []string{"Microsoft.Security"}
	}, func(e *env) {
		if _, err := e.scores().Get(e.Context(), "ascScore", nil); responded(err) != 409 || len(e.requests(arm)) != 1 {
			t.Errorf("%v after %d requests", err, len(e.requests(arm)))
		}
	})
}

func TestReadOnlyRefusesOfficialEffects(t *testing.T) {
	open(t, func(cfg *azure.Config, _ *azuretest.Config) { cfg.ReadOnly = true }, func(e *env) {
		if err := e.upload(e.Context()); !errors.Is(err, azure.ErrReadOnly) || len(e.srv.Requests()) != 0 {
			t.Errorf("%v after %d requests", err, len(e.srv.Requests()))
		}
	})
}
