package azure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud runs a test against a simulated Microsoft with machines ws-000 .. ws-<n-1>,
// in a bubble where time is virtual.
func cloud(t *testing.T, server azuretest.Config, change func(*azure.Config), test func(*testing.T, *azuretest.Server, *azure.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server.InMemory = true
		if server.Machines == nil {
			server.Machines = fleet(3)
		}
		srv, err := azuretest.NewServer(server)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		cfg := azure.Config{
			TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
			HTTPClient: srv.Client(),
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
		test(t, srv, c)
	})
}

func fleet(n int) []azuretest.Machine {
	out := make([]azuretest.Machine, n)
	for i := range out {
		out[i] = azuretest.Machine{ID: fmt.Sprintf("%040x", i+1), ComputerDNSName: fmt.Sprintf("ws-%03d.corp.example", i)}
	}
	return out
}

var first = fmt.Sprintf("%040x", 1)

func tokenRequests(s *azuretest.Server) (n int) {
	for _, r := range s.Requests() {
		if strings.HasSuffix(r.Path, "/oauth2/v2.0/token") {
			n++
		}
	}
	return n
}

func TestListsPageAndResume(t *testing.T) {
	cloud(t, azuretest.Config{Machines: fleet(25)}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		seen := map[string]bool{}
		l := c.Defender.Machines(azure.Query{})
		for m, err := range l.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			seen[m.ID] = true
			if len(seen) == 10 {
				break
			}
		}
		for m, err := range c.Defender.Machines(azure.Query{Cursor: l.Cursor()}).All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[m.ID] {
				t.Errorf("%s came twice", m.ID)
			}
			seen[m.ID] = true
		}
		if len(seen) != 25 {
			t.Errorf("saw %d of 25", len(seen))
		}
		if n := len(collect(t, c.Defender.Machines(azure.Query{Top: 4}))); n != 4 {
			t.Errorf("Top 4 gave %d", n)
		}
	})
}

func collect[T any](t *testing.T, l *azure.List[T]) (out []T) {
	t.Helper()
	for v, err := range l.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// Docs: the list answers 404 when there is no machine.
func TestNoMachinesIsAnEmptyList(t *testing.T) {
	cloud(t, azuretest.Config{Machines: []azuretest.Machine{}}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		if got := collect(t, c.Defender.Machines(azure.Query{})); len(got) != 0 {
			t.Errorf("got %v", got)
		}
	})
}

// 1.2: azcore follows a next link to any host, with the bearer token.
func TestNextLinkIsPinned(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machines", Body: `{"value":[{"id":"a"}],"@odata.nextLink":"https://evil.test/api/machines"}`})
		var last error
		for _, err := range c.Defender.Machines(azure.Query{}).All(t.Context()) {
			last = err
		}
		if host, ok := errors.AsType[*resilience.HostError](last); !ok || host.Host != "evil.test" {
			t.Errorf("got %v", last)
		}
	})
}

// 1.2: a caller's retry options in the context re-enable azcore's retries.
func TestRetryOptionsInTheContextAreRefused(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Method: http.MethodPost, Path: "/api/machines"})
		ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{MaxRetries: 5, RetryDelay: time.Millisecond})
		_, _ = c.Defender.Isolate(ctx, first, azure.Isolate{Comment: "x"})
		n := 0
		for _, r := range srv.Requests() {
			if r.Method == http.MethodPost && strings.HasPrefix(r.Path, "/api") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d POSTs", n)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTypedErrors(t *testing.T) {
	t.Run("unknown machine", func(t *testing.T) {
		cloud(t, azuretest.Config{}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
			_, err := c.Defender.Machine(t.Context(), "f00")
			if api, ok := errors.AsType[*azure.APIError](err); !ok || !errors.Is(err, azure.ErrNotFound) || api.Code != "ResourceNotFound" || api.RequestID == "" {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("read-only", func(t *testing.T) {
		cloud(t, azuretest.Config{}, func(cfg *azure.Config) { cfg.ReadOnly = true }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			if _, err := c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"}); !errors.Is(err, azure.ErrReadOnly) || len(srv.Requests()) > 0 {
				t.Errorf("got %v", err)
			}
			if _, err := c.Defender.Machine(t.Context(), first); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("closed", func(t *testing.T) {
		cloud(t, azuretest.Config{}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
			_ = c.Close(t.Context())
			if _, err := c.Defender.Machine(t.Context(), first); !errors.Is(err, azure.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("missing permission", func(t *testing.T) {
		cloud(t, azuretest.Config{Roles: []string{"Machine.Read.All"}}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
			_, err := c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"})
			if f := resilience.Of(err); f.Class != resilience.Denied || f.Sent != resilience.Answered {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("empty arguments", func(t *testing.T) {
		cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			_, err1 := c.Defender.Isolate(t.Context(), "", azure.Isolate{Comment: "x"})
			_, err2 := c.Defender.Isolate(t.Context(), first, azure.Isolate{})
			if err1 == nil || err2 == nil || len(srv.Requests()) > 0 {
				t.Errorf("%v, %v", err1, err2)
			}
		})
	})
}

func TestConfigErrorsNameTheField(t *testing.T) {
	ok := azure.Config{TenantID: "t", ClientID: "c", ClientSecret: "s"}
	for field, change := range map[string]func(*azure.Config){
		"Config.TenantID":     func(c *azure.Config) { c.TenantID = "" },
		"Config.Cloud":        func(c *azure.Config) { c.Cloud = "mars" },
		"Config.DefenderURL":  func(c *azure.Config) { c.DefenderURL = "http://x" },
		"Config.AuthorityURL": func(c *azure.Config) { c.AuthorityURL = "nowhere" },
		"Config.Policy":       func(c *azure.Config) { c.Policy.Attempt, c.Policy.Total = 9, 8 },
		"Config.AuthPolicy":   func(c *azure.Config) { c.AuthPolicy.Attempt, c.AuthPolicy.Total = 9, 8 },
	} {
		cfg := ok
		change(&cfg)
		if _, err := azure.New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestConfigFromEnv(t *testing.T) {
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST"} {
		t.Setenv(name, "")
	}
	t.Setenv("AZURE_CLIENT_SECRET", "hush-hush")
	if _, err := azure.ConfigFromEnv(); err == nil || !strings.Contains(err.Error(), "AZURE_TENANT_ID") {
		t.Errorf("got %v", err)
	}
	t.Setenv("AZURE_TENANT_ID", "t")
	t.Setenv("AZURE_CLIENT_ID", "c")
	cfg, err := azure.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(s, "hush") {
		t.Errorf("the secret prints: %s", s)
	}
	t.Setenv("AZURE_CLIENT_SECRET", "")
	if cfg, err := azure.ConfigFromEnv(); err != nil || cfg.Credential == nil {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// fmt prints unexported fields without their String method.
func TestAClientDoesNotPrintItsSecret(t *testing.T) {
	c, err := azure.New(azure.Config{TenantID: "t", ClientID: "id", ClientSecret: "hush"})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, c); strings.Contains(text, "hush") {
			t.Errorf("%s: %s", format, text)
		}
	}
}

// 1.2: azcore gives the answer and an error if the context ends as it arrives; an
// isolation that was carried out looked as if it had failed.
func TestAnAnswerThatIsHereCounts(t *testing.T) {
	var leave context.CancelFunc
	cloud(t, azuretest.Config{}, func(cfg *azure.Config) {
		next := cfg.HTTPClient.Transport
		cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil && r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/api") {
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				resp.Body = io.NopCloser(bytes.NewReader(body))
				leave()
				return resp, err
			}
			return resp, err
		})}
	}, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		leave = cancel
		is, err := c.Defender.Isolate(ctx, first, azure.Isolate{Comment: "x"})
		if err != nil || is.Action.ID == "" || len(srv.Actions()) != 1 {
			t.Errorf("%+v, %v", is, err)
		}
		options := c.ClientOptions()
		bearer := runtime.NewBearerTokenPolicy(c.Credential(), []string{"https://api.securitycenter.microsoft.com/.default"}, nil)
		pl := runtime.NewPipeline("official", "v1", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}}, &options)
		ctx, leave = context.WithCancel(t.Context())
		req, err := runtime.NewRequest(ctx, http.MethodPost, "https://api.security.microsoft.com/api/machines/"+first+"/isolate")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := pl.Do(req)
		if err != nil || resp.StatusCode != http.StatusBadRequest { // it is isolated already, and there is no body
			t.Fatalf("%+v, %v", resp, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || len(body) == 0 {
			t.Errorf("%s, %v", body, err)
		}
	})
}
