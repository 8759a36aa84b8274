package resilience

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fireTrace fires the hooks that a transport would.
func fireTrace(req *http.Request, gotConn, wrote bool) {
	t := httptrace.ContextClientTrace(req.Context())
	t.GetConn("api.example.test:443")
	if gotConn {
		t.GotConn(httptrace.GotConnInfo{})
	}
	if wrote {
		t.WroteHeaders()
	}
}

// failsafe-go dials a new connection for every retried response, because it
// neither drains nor closes it: 50 calls, 101 connections.
func TestRetriedBodiesAreDrainedAndClosed(t *testing.T) {
	var n, dialled atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%3 != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(bytes.Repeat([]byte("x"), 10<<10))
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dialled.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	p := policy(t, Config{Retry: Retry{Attempts: 3, Base: 1, Max: 1, Budget: -1}, Breaker: Breaker{Disabled: true}})
	client := &http.Client{Transport: &Transport{Policy: p, Wire: Wire{Base: base}}}
	for range 50 {
		resp, err := client.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	if d := dialled.Load(); d > 2 {
		t.Errorf("50 calls with two retries each dialled %d connections", d)
	}
}

// failsafe-go #73, #123: bodies not sent again on retry, and the response cut
// because the attempt's context ends before the caller reads.
func TestBodyIsRewoundAndReadAfterTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		big := strings.Repeat("0123456789abcdef", 32<<10) // 512 KiB
		s := cloud(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if n++; n == 1 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			if string(body) != "payload" {
				t.Errorf("the second attempt sent %q", body)
			}
			_, _ = io.WriteString(w, big[:1000])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Second) // longer than the attempt timeout
			_, _ = io.WriteString(w, big[1000:])
		})
		client := &http.Client{Transport: &Transport{
			Policy: policy(t, Config{Attempt: 5 * time.Second}), Wire: Wire{Base: s.Client().Transport},
		}}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL(), strings.NewReader("payload"))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != big {
			t.Errorf("read %d bytes, %v", len(body), err)
		}
		_ = resp.Body.Close()
		s.Close()
	})
}

func TestTransportReturnsTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := cloud(t, func(w http.ResponseWriter, _ *http.Request) {
			n++
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "sorry")
		})
		client := &http.Client{Transport: &Transport{Policy: policy(t, Config{}), Wire: Wire{Base: s.Client().Transport}}}
		resp, err := client.Get(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 503 || string(body) != "sorry" || n != 3 {
			t.Errorf("status %d, body %q, %d attempts", resp.StatusCode, body, n)
		}
		s.Close()
	})
}

// dotnet/extensions #5248: the standard handler retried POST and made duplicates.
func TestPostIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := cloud(t, func(w http.ResponseWriter, _ *http.Request) { n++; w.WriteHeader(http.StatusServiceUnavailable) })
		client := &http.Client{Transport: &Transport{Policy: policy(t, Config{}), Wire: Wire{Base: s.Client().Transport}}}
		resp, err := client.Post(s.URL(), "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if n != 1 {
			t.Errorf("a POST was sent %d times", n)
		}
		s.Close()
	})
}

func TestTransportKeepsTheAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cloud(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		client := &http.Client{Transport: &Transport{
			Policy: policy(t, Config{Attempt: time.Second, Retry: Retry{Attempts: 1}}), Wire: Wire{Base: s.Client().Transport},
		}}
		_, err := client.Get(s.URL())
		if e := asError(t, err); e.Class != Timeout || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		s.Close()
	})
}

func TestTransportWithoutPolicy(t *testing.T) {
	if _, err := (&http.Client{Transport: &Transport{}}).Get("http://127.0.0.1"); err == nil || !strings.Contains(err.Error(), "Transport.Policy") {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "1.5": 1500 * time.Millisecond, "0": 0, "-4": 0, "soon": 0, "NaN": 0,
		"Mon, 23 Nov 2026 12:00:07 GMT": 7 * time.Second,
		"Mon, 23 Nov 2026 11:00:00 GMT": 0,
		"1743638440":                    MaxRetryAfter, // go-retryablehttp slept 484289h20m8s
	} {
		if got := RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestRetryAfterMs(t *testing.T) {
	h := http.Header{"Retry-After-Ms": {"1500"}, "Retry-After": {"9"}}
	if got := RetryAfter(h, time.Now()); got != 1500*time.Millisecond {
		t.Errorf("got %v", got)
	}
	h.Set("Retry-After-Ms", "soon")
	if got := RetryAfter(h, time.Now()); got != 9*time.Second {
		t.Errorf("got %v", got)
	}
}

// Falcon B3, B4: seconds on the wire, milliseconds in the documentation.
func TestRetryAfterEpoch(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"1795435207": 7 * time.Second, " 1795435207500 ": 7500 * time.Millisecond, "1795435199": 0, "0": 0, "-5": 0,
		"99999999999": MaxRetryAfter, "NaN": 0,
	} {
		if got, ok := RetryAfterEpoch(value, now); got != want || !ok {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	for _, value := range []string{"", "soon", "7s"} {
		if got, ok := RetryAfterEpoch(value, now); ok {
			t.Errorf("%q: %v", value, got)
		}
	}
}

// A vendor's own header is read by whoever knows it.
func TestTransportReadsTheVendorsHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		base := roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := answering(200).RoundTrip(req)
			if n++; n == 1 {
				resp.StatusCode = http.StatusTooManyRequests
				resp.Header.Set("X-RateLimit-RetryAfter", strconv.FormatInt(time.Now().Add(10*time.Second).Unix(), 10))
			}
			return resp, err
		})
		client := &http.Client{Transport: &Transport{
			Policy: policy(t, Config{}), Wire: Wire{Base: base},
			RetryAfter: func(h http.Header, now time.Time) time.Duration {
				wait, _ := RetryAfterEpoch(h.Get("X-RateLimit-RetryAfter"), now)
				return wait
			},
		}}
		begin := time.Now()
		resp, err := client.Get("https://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if took := time.Since(begin); !jittered(took, 10*time.Second) || n != 2 {
			t.Errorf("%d requests, %v", n, took)
		}
	})
}

// roundTripper is a function as a base.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func FuzzRetryAfterEpoch(f *testing.F) {
	for _, s := range []string{"1795435207", "1795435207500", "1e309", "-0", "NaN", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if d, ok := RetryAfterEpoch(value, time.Now()); d < 0 || d > MaxRetryAfter || !ok && d != 0 {
			t.Errorf("%q gave %v, %v", value, d, ok)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"3", "1e309", "-0", "Mon, 23 Nov 2026 12:00:07 GMT", "0x1p10"} {
		f.Add(s, "")
		f.Add("", s)
	}
	f.Fuzz(func(t *testing.T, value, ms string) {
		if d := RetryAfter(http.Header{"Retry-After": {value}, "Retry-After-Ms": {ms}}, time.Now()); d < 0 || d > MaxRetryAfter {
			t.Errorf("%q, %q gave %v", value, ms, d)
		}
	})
}

// A body that cannot be rewound is sent once.
func TestBodyWithoutGetBodyIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := cloud(t, func(w http.ResponseWriter, _ *http.Request) { n++; w.WriteHeader(http.StatusServiceUnavailable) })
		client := &http.Client{Transport: &Transport{Policy: policy(t, Config{}), Wire: Wire{Base: s.Client().Transport}}}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL(), io.MultiReader(strings.NewReader("x")))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if n != 1 {
			t.Errorf("sent %d times", n)
		}
		s.Close()
	})
}

// The caller's own deadline must not look like, or count as, the vendor's.
func TestTransportKeepsTheCallersDeadlineApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cloud(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		p := policy(t, Config{})
		client := &http.Client{Transport: &Transport{Policy: p, Wire: Wire{Base: s.Client().Transport}}}
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(), nil)
			_, err := client.Do(req)
			if !errors.Is(err, context.DeadlineExceeded) || asError(t, err).Class != Canceled {
				t.Fatalf("got %v", err)
			}
			cancel()
		}
		if p.State() != Closed {
			t.Error("departed callers opened the breaker")
		}
		s.Close()
	})
}

// A caller who leaves during the pause gets its own error, not an old answer.
func TestTransportSaysThatTheCallerLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cloud(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		client := &http.Client{Transport: &Transport{Policy: policy(t, Config{}), Wire: Wire{Base: s.Client().Transport}}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(), nil)
		if resp, err := client.Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v", resp, err)
		}
		s.Close()
	})
}

// What sends a request may ask its context how long it has.
func TestTransportShowsItsDeadline(t *testing.T) {
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if d, ok := req.Context().Deadline(); !ok || time.Until(d) > 10*time.Second {
			t.Errorf("deadline %v, %v", d, ok)
		}
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})
	resp, err := (&http.Client{Transport: &Transport{Policy: policy(t, Config{}), Wire: Wire{Base: base}}}).Get("https://api.example.test")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// http.Client.CloseIdleConnections asks its transport, and finds nothing if that
// does not pass it on.
func TestIdleConnectionsCanBeClosed(t *testing.T) {
	closed := &closer{}
	client := &http.Client{Transport: &Transport{Policy: policy(t, Config{}), Wire: Wire{Base: closed}}}
	client.CloseIdleConnections()
	if !closed.closed {
		t.Error("the base was not asked")
	}
	(&Wire{Base: answering(200)}).CloseIdleConnections() // one that cannot
}

type closer struct {
	http.RoundTripper
	closed bool
}

func (c *closer) CloseIdleConnections() { c.closed = true }
