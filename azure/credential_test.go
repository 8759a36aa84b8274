package azure_test

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// T6, T7: azidentity's errors have no chain and no status.
func TestTokenErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*azure.Config)
		code   string
		hint   string
	}{
		"wrong secret":   {func(c *azure.Config) { c.ClientSecret = "wrong" }, "AADSTS7000215", "Config.ClientSecret"},
		"unknown client": {func(c *azure.Config) { c.ClientID = "00000000-0000-0000-0000-000000000000" }, "AADSTS700016", "Config.ClientID"},
		"unknown tenant": {func(c *azure.Config) { c.TenantID = "00000000-0000-0000-0000-000000000000" }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cloud(t, azuretest.Config{}, tc.change, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
				var err error
				for range 5 {
					_, err = c.Defender.Machine(t.Context(), first)
				}
				e, ok := errors.AsType[*azure.TokenError](err)
				if !ok || (tc.code != "" && e.Code != tc.code) || !strings.Contains(e.Error(), tc.hint) {
					t.Errorf("got %v", err)
				}
				if f := resilience.Of(err); f.Class != resilience.Credential || f.Sent != resilience.NotSent {
					t.Errorf("got %+v", f)
				}
				if n := tokenRequests(srv); n > 1 {
					t.Errorf("%d token requests for 5 calls", n)
				}
			})
		})
	}
}

// azidentity cuts the chain of what its transport failed with: a certificate that
// cannot become valid in time was tried again, and a refused connection had no name.
func TestTokenFailuresKeepTheirClass(t *testing.T) {
	for want, base := range map[resilience.Class]http.RoundTripper{
		resilience.Untrusted: roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, x509.UnknownAuthorityError{}
		}),
		resilience.Refused: roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}),
	} {
		cloud(t, azuretest.Config{}, func(c *azure.Config) { c.HTTPClient = &http.Client{Transport: base} }, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
			_, err := c.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://x/.default"}})
			inner, ok := errors.AsType[*resilience.Error](err)
			if !ok || inner.Class != want {
				t.Errorf("got %v", err)
			}
			if want == resilience.Untrusted && len(inner.Attempts) != 1 {
				t.Errorf("%d attempts", len(inner.Attempts))
			}
		})
	}
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
