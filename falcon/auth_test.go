package falcon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// A1, A2: the token fetch ignores the call's context, and blocks every other call.
func TestA1A2HungTokenEndpointKeepsTheCallersDeadline(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: tokenPath})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := c.Hosts.Get(ctx, first)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if f := resilience.Of(err); f.Sent != resilience.NotSent {
			t.Errorf("sent: %v", f.Sent)
		}
	})
}

// A4: a token revoked in mid-flight.
func TestA4RevokedTokenIsFetchedOnce(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		if _, err := c.Hosts.Get(t.Context(), "f00"); !errors.Is(err, falcon.ErrNotFound) { // an answer like any other
			t.Fatal(err)
		}
		srv.RevokeTokens()
		for range 5 {
			if _, err := c.Hosts.Get(t.Context(), first); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(srv, tokenPath); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
	})
}

// A5, A6: bad credentials are asked about once, not per call and not retried,
// and the error says what to do.
func TestA6WrongCredential(t *testing.T) {
	for _, tc := range []struct{ field, hint string }{
		{"secret", "IP allow-list"}, {"id", "Config.ClientID"},
	} {
		change := func(cfg *falcon.Config) {
			if tc.field == "secret" {
				cfg.ClientSecret = "wrong"
			} else {
				cfg.ClientID = "wrong"
			}
		}
		cloud(t, falcontest.Config{}, change, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			for range 10 {
				_, err := c.Hosts.Get(t.Context(), first)
				e, ok := errors.AsType[*falcon.APIError](err)
				if !ok || !strings.Contains(e.Error(), tc.hint) || resilience.Of(err).Class != resilience.Credential {
					t.Fatalf("got %v", err)
				}
				if strings.Contains(err.Error(), falcontest.ClientSecret) {
					t.Error("the secret is in the error")
				}
			}
			if n := count(srv, tokenPath); n != 1 {
				t.Errorf("%d token requests for 10 calls", n)
			}
			if c.Policy().State() != resilience.Closed {
				t.Error("a token failure opened the API's breaker")
			}
		})
	}
}

// A7, A8 and the region redirect: learned lazily, once.
func TestRegionIsLearnedOnce(t *testing.T) {
	unpinned := func(cfg *falcon.Config) { cfg.Cloud = "" }
	pinnedWrong := func(cfg *falcon.Config) { cfg.Cloud = "eu-1" }
	for name, change := range map[string]func(*falcon.Config){"learned": unpinned, "pinned to a wrong one": pinnedWrong} {
		t.Run(name, func(t *testing.T) {
			cloud(t, falcontest.Config{Cloud: "us-2"}, change, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				for range 5 {
					if _, err := c.Hosts.Get(t.Context(), first); err != nil {
						t.Fatal(err)
					}
				}
				redirects := 0
				for _, r := range srv.Requests() {
					if r.Status == http.StatusPermanentRedirect {
						redirects++
					}
				}
				if redirects != 1 {
					t.Errorf("redirected %d times, want once", redirects)
				}
			})
		})
	}
}

// A9: a 308 to a foreign host carries the bearer token there.
func TestA9TokenStaysWithCrowdStrike(t *testing.T) {
	var leaked []string
	cloud(t, falcontest.Config{}, func(cfg *falcon.Config) {
		base := cfg.HTTPClient.Transport
		cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if !strings.HasSuffix(r.URL.Hostname(), ".crowdstrike.com") {
				leaked = append(leaked, r.URL.Host)
			}
			return base.RoundTrip(r)
		})}
	}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		for _, to := range []string{"https://evil.test/x", "https://api.crowdstrike.com.evil.test/x", "https://evilcrowdstrike.com/x", "//evil.test", "::"} {
			remove := srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/devices", Status: 308, Header: http.Header{"Location": {to}}})
			if _, err := c.Hosts.Get(t.Context(), first); err == nil {
				t.Errorf("%s: no error", to)
			}
			remove()
		}
		if len(leaked) > 0 {
			t.Errorf("requests went to %v", leaked)
		}
		if _, err := c.Hosts.Get(t.Context(), first); err != nil {
			t.Errorf("the client was led astray: %v", err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func TestTypedErrorsSayWhatToDo(t *testing.T) {
	t.Run("unknown host", func(t *testing.T) {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
			for _, call := range []func() error{
				func() error { _, err := c.Hosts.Get(t.Context(), "f00"); return err },
				func() error { _, err := c.Hosts.Contain(t.Context(), "f00"); return err },
			} {
				if err := call(); !errors.Is(err, falcon.ErrNotFound) {
					t.Errorf("got %v", err)
				}
			}
		})
	})
	t.Run("empty id", func(t *testing.T) {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			if _, err := c.Hosts.Contain(t.Context(), " "); err == nil || !strings.Contains(err.Error(), "id is empty") || len(srv.Requests()) > 0 {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("read-only", func(t *testing.T) {
		cloud(t, falcontest.Config{}, func(cfg *falcon.Config) { cfg.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			if _, err := c.Hosts.Contain(t.Context(), first); !errors.Is(err, falcon.ErrReadOnly) || len(srv.Effects()) > 0 {
				t.Errorf("got %v", err)
			}
			if _, err := c.Hosts.Get(t.Context(), first); err != nil {
				t.Error(err)
			}
			p := hosts.NewPerformActionV2ParamsWithContext(t.Context())
			if _, err := hosts.New(c.Transport(), nil).PerformActionV2(p); !errors.Is(err, falcon.ErrReadOnly) {
				t.Errorf("through gofalcon: %v", err)
			}
		})
	})
	t.Run("closed", func(t *testing.T) {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
			_ = c.Close(t.Context())
			if _, err := c.Hosts.Get(t.Context(), first); !errors.Is(err, falcon.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("missing scope", func(t *testing.T) {
		cloud(t, falcontest.Config{Scopes: []string{"devices:read"}}, nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
			_, err := c.Hosts.Contain(t.Context(), first)
			if f := resilience.Of(err); f.Class != resilience.Denied || f.Sent != resilience.Answered || !strings.Contains(err.Error(), "scope") {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestRunKeepsTheTokenWarmThroughAnOutage(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(12 * time.Minute) // refreshed at 10
		outage := srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: tokenPath})
		for range 18 {
			time.Sleep(time.Minute)
			if _, err := c.Hosts.Get(t.Context(), first); err != nil {
				t.Fatalf("a token outage shorter than the token's life: %v", err)
			}
		}
		outage()
		time.Sleep(15 * time.Minute)
		if _, err := c.Hosts.Get(t.Context(), first); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// fmt prints unexported fields without their String method.
func TestAClientDoesNotPrintItsSecret(t *testing.T) {
	c, err := falcon.New(falcon.Config{ClientID: "id", ClientSecret: "hush", Cloud: "us-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, c); strings.Contains(text, "hush") {
			t.Errorf("%s: %s", format, text)
		}
	}
}
