package azure_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

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

func getToken(ctx context.Context, c *azure.Client, scope string) (string, error) {
	at, err := c.Credential().GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, EnableCAE: true})
	return at.Token, err
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

// 1.3: after a 401 azidentity hands out the same cached token.
func TestRevokedTokenIsReplaced(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		srv.RevokeTokens()
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if n := tokenRequests(srv); n != 2 {
			t.Errorf("%d token requests", n)
		}
	})
}

// T1, T2: waiters ignore their deadlines, and failures are replayed one by one.
func TestT1T2TokenOutage(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Host: "login.microsoftonline.com"})
		done := make(chan time.Duration, 10)
		for range 10 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				begin := time.Now()
				if _, err := c.Defender.Machine(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				done <- time.Since(begin)
			}()
		}
		for range 10 {
			if d := <-done; d != 500*time.Millisecond {
				t.Errorf("returned after %v", d)
			}
		}
		if c.Defender.Policy().State() != resilience.Closed {
			t.Error("a token outage opened the API's breaker")
		}
	})
}

func TestRunKeepsTheTokenWarm(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(25 * time.Minute)
		outage := srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Host: "login.microsoftonline.com"})
		for range 30 {
			time.Sleep(time.Minute)
			if _, err := c.Defender.Machine(t.Context(), first); err != nil {
				t.Fatalf("a token outage shorter than the token's life: %v", err)
			}
		}
		outage()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}
