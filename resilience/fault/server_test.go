package fault

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// serve starts a server on a real socket behind the plan.
func serve(t *testing.T, p *Plan, http2 bool, next http.Handler) (url string, c *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(p.Handler(next))
	s.EnableHTTP2 = http2
	if http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections) // a blackholed request waits for its client
	return s.URL, s.Client()
}

func TestHandler(t *testing.T) {
	anyError := func(_ string, err error) bool { return err != nil && !isDeadline(err) }
	whole := func(b string, err error) bool { return b == baseBody && err == nil }
	for _, tc := range []struct {
		rule  Rule
		works bool // the handler ran
		check func(body string, err error) bool
	}{
		{Rule{Kind: None}, true, whole},
		{Rule{Kind: Refuse}, false, anyError},
		{Rule{Kind: Blackhole}, false, func(_ string, err error) bool { return isDeadline(err) }},
		{Rule{Kind: Latency, Delay: 10 * time.Millisecond}, true, whole},
		{Rule{Kind: Latency, Delay: time.Hour}, false, func(_ string, err error) bool { return isDeadline(err) }},
		{Rule{Kind: Status, Body: "down"}, false, func(b string, err error) bool { return b == "down" && err == nil }},
		{Rule{Kind: Reset}, false, anyError},
		{Rule{Kind: LoseResponse}, true, anyError},
		{Rule{Kind: LoseResponse, Delay: 10 * time.Millisecond}, true, anyError},
		{Rule{Kind: Truncate}, true, func(b string, err error) bool { return b == baseBody[:len(baseBody)/2] && err != nil }},
	} {
		for _, http2 := range []bool{false, true} {
			name := tc.rule.Kind.String()
			if tc.rule.Delay > 0 {
				name += " " + tc.rule.Delay.String()
			}
			if http2 {
				name += " HTTP/2"
			}
			t.Run(name, func(t *testing.T) {
				p := NewPlan(1)
				var works atomic.Int32
				url, c := serve(t, p, http2, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					works.Add(1)
					_, _ = io.WriteString(w, baseBody)
				}))
				p.Add(tc.rule)
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				if !isWaiting(tc.rule) { // the others are not to fail on a slow machine
					ctx = t.Context()
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/x", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				got, err := body(c.Do(req))
				if !tc.check(got, err) {
					t.Errorf("got %q, %v", got, err)
				}
				if !isWaiting(tc.rule) && time.Since(start) < tc.rule.Delay {
					t.Errorf("answered after %v", time.Since(start))
				}
				if (works.Load() > 0) != tc.works {
					t.Errorf("the handler ran %d times", works.Load())
				}
				p.Heal()
				if got, err := body(c.Do(request(t, http.MethodPost, url))); got != baseBody || err != nil {
					t.Errorf("after healing: %q, %v", got, err)
				}
			})
		}
	}
}

// isWaiting reports whether only the client's deadline ends the request.
func isWaiting(r Rule) bool { return r.Kind == Blackhole || r.Delay >= time.Hour }

// On a plain connection a broken one looks broken: a reset, where there is TCP.
func TestHandlerResetsTheConnection(t *testing.T) {
	p := NewPlan(1)
	url, _ := serve(t, p, false, http.NotFoundHandler())
	p.Add(Rule{Kind: Reset})
	for range 20 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d bytes, %v", n, err)
		}
		_ = conn.Close()
	}
}

// A server that gives up on a delayed request must not answer it with 200.
func TestLatencyCutShortIsNoAnswer(t *testing.T) {
	p := NewPlan(1)
	p.Add(Rule{Kind: Latency, Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler {
			t.Errorf("the handler ended with %v", cause)
		}
	}()
	p.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
}

func TestHandlerStatus(t *testing.T) {
	p := NewPlan(1)
	url, c := serve(t, p, false, http.NotFoundHandler())
	p.Add(Rule{Kind: Status, Status: 429, Header: http.Header{"Retry-After": {"7"}}})
	resp, err := c.Do(request(t, http.MethodGet, url))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = body(resp, nil)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("%d, %q", resp.StatusCode, resp.Header)
	}
}

// An answer without a body, such as the 202 of an action, is cut short as well.
func TestTruncateOfAnEmptyBody(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		p := NewPlan(1)
		url, c := serve(t, p, http2, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
		p.Add(Rule{Kind: Truncate})
		for range 10 {
			if got, err := body(c.Do(request(t, http.MethodPost, url))); err == nil {
				t.Errorf("a truncated answer arrived whole: %q", got)
			}
		}
	}
}

// Truncation keeps status and headers and loses the second half, every time.
func TestTruncateKeepsTheFirstHalf(t *testing.T) {
	p := NewPlan(1)
	url, c := serve(t, p, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Trace", "abc")
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = w.Write(make([]byte, 200_000))
	}))
	p.Add(Rule{Kind: Truncate})
	for range 20 {
		resp, err := c.Do(request(t, http.MethodGet, url))
		if err != nil {
			t.Fatal(err)
		}
		got, err := body(resp, nil)
		if err == nil || len(got) != 100_000 || resp.StatusCode != http.StatusMultiStatus || resp.Header.Get("X-Trace") != "abc" {
			t.Fatalf("%d bytes, %d, %q, %v", len(got), resp.StatusCode, resp.Header, err)
		}
	}
}

// What a server does to one of its hosts must not touch the others.
func TestOneHostOfSeveral(t *testing.T) {
	p := NewPlan(1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(p.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, baseBody) })))
	_ = s.Listener.Close()
	s.Listener = p.Listener(l)
	s.Start()
	defer s.Close()
	for _, kind := range []Kind{Refuse, Blackhole} {
		p.Heal()
		p.Add(Rule{Kind: kind, Host: "login.test"})
		for host, works := range map[string]bool{"login.test": false, "api.test": true} {
			c := &http.Client{Transport: &http.Transport{}, Timeout: 200 * time.Millisecond}
			if works {
				c.Timeout = 0
			}
			req := request(t, http.MethodGet, s.URL)
			req.Host = host
			if got, err := body(c.Do(req)); (err == nil && got == baseBody) != works {
				t.Errorf("%v of login.test, request to %s: %q, %v", kind, host, got, err)
			}
			c.CloseIdleConnections()
		}
	}
}

func TestListener(t *testing.T) {
	p := NewPlan(1)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := p.Listener(inner)
	served := make(chan struct{})
	go func() { // an echo of one message
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4)
			if _, err := io.ReadFull(conn, buf); err == nil {
				_, _ = conn.Write(buf)
			}
			_ = conn.Close()
		}
	}()
	talk := func(wait time.Duration) error {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "ping"); err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, 4))
		return err
	}
	if err := talk(time.Minute); err != nil {
		t.Errorf("no rule: %v", err)
	}
	remove := p.Add(Rule{Kind: Refuse})
	if err := talk(time.Minute); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("refused: %v", err)
	}
	remove()
	remove = p.Add(Rule{Kind: Blackhole})
	var timeout net.Error
	if err := talk(100 * time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("blackhole: %v", err)
	}
	remove()
	if err := talk(time.Minute); err != nil {
		t.Errorf("after healing: %v", err)
	}
	_ = l.Close()
	<-served
}

// A recorder in front of the handler learns what happens before it happens.
func TestWatch(t *testing.T) {
	p := NewPlan(1)
	p.Add(Rule{Kind: Status, Path: "/x"})
	for path, want := range map[string]Kind{"/x": Status, "/y": None} {
		told := Kind(255)
		req := httptest.NewRequest(http.MethodGet, path, nil)
		ctx := Watch(req.Context(), func(k Kind) { told = k })
		p.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), req.WithContext(ctx))
		if told != want {
			t.Errorf("%s: told %v, want %v", path, told, want)
		}
	}
}
