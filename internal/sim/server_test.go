package sim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience/fault"
)

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Hosts = []string{"api.example.test"}
	if cfg.Handler == nil {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello "+r.Host) })
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func get(ctx context.Context, c *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestReachableByNameURLAndProxy(t *testing.T) {
	s := start(t, Config{})
	for _, url := range []string{s.URL(), "https://api.example.test"} {
		if _, err := get(t.Context(), s.Client(), url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	proxy, err := s.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	direct := s.Client().Transport.(*http.Transport)
	through := &http.Transport{TLSClientConfig: direct.TLSClientConfig, Proxy: http.ProxyURL(proxy)}
	defer through.CloseIdleConnections()
	body, err := get(t.Context(), &http.Client{Transport: through}, "https://api.example.test/x")
	if err != nil || body != "hello api.example.test" {
		t.Errorf("through the proxy: %q, %v", body, err)
	}
	if _, err := get(t.Context(), &http.Client{Transport: through}, "https://elsewhere.test/"); err == nil {
		t.Error("the proxy led to a host that is not simulated")
	}
	if _, err := get(t.Context(), s.Client(), "https://elsewhere.test/"); err == nil {
		t.Error("the client led to a host that is not simulated")
	}
}

// Three virtual hours over an in-memory listener take no real time.
func TestInMemoryInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{InMemory: true})
		c := s.Client()
		for range 18 {
			if _, err := get(t.Context(), c, s.URL()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if n := len(s.Requests()); n != 18 {
			t.Errorf("recorded %d requests, want 18", n)
		}
		s.Close()
	})
}

func TestFaultsOnTheWire(t *testing.T) {
	for _, tc := range []struct {
		kind  fault.Kind
		works bool // the handler ran
		check func(body string, err error) bool
	}{
		{fault.Refuse, false, func(_ string, err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{fault.Blackhole, false, func(_ string, err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{fault.Reset, false, func(_ string, err error) bool { return err != nil }},
		{fault.LoseResponse, true, func(_ string, err error) bool { return err != nil }},
		{fault.Truncate, true, func(_ string, err error) bool { return err != nil }},
	} {
		for _, warm := range []bool{false, true} {
			name := tc.kind.String()
			if warm {
				name += " on an open connection"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					works := 0
					s := start(t, Config{InMemory: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						works++
						_, _ = io.WriteString(w, "a body of some length")
					})})
					c := s.Client()
					if warm {
						if _, err := get(t.Context(), c, s.URL()); err != nil {
							t.Fatal(err)
						}
						works = 0
					}
					s.Faults().Add(fault.Rule{Kind: tc.kind})
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					body, err := get(ctx, c, s.URL())
					if warm && tc.kind == fault.Refuse {
						// The client may write to the connection before it hears that it was cut.
						if err == nil {
							t.Errorf("got %q", body)
						}
					} else if !tc.check(body, err) {
						t.Errorf("got %q, %v", body, err)
					}
					if (works > 0) != tc.works {
						t.Errorf("the handler ran %d times", works)
					}
					s.Faults().Heal()
					if _, err := get(t.Context(), s.Client(), s.URL()); err != nil {
						t.Errorf("after healing: %v", err)
					}
					s.Close()
				})
			})
		}
	}
}
