package resilience

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// dialling returns a client, and how many connections it made.
func dialling(t *testing.T) (*http.Client, *atomic.Int32) {
	made := new(atomic.Int32)
	base := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		made.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(base.CloseIdleConnections)
	return &http.Client{Transport: &Transport{Policy: policy(t, quick), Wire: Wire{Base: base}}}, made
}

// quick retries at once and for as long as there are attempts.
var quick = Config{Retry: Retry{Attempts: 3, Base: 1, Max: 1, Budget: -1}, Breaker: Breaker{Disabled: true}}

const peerURL = "https://api.example.test/"

// clientOf sends by f, under a policy of cfg.
func clientOf(t *testing.T, cfg Config, f roundTripFunc) *http.Client {
	t.Helper()
	return &http.Client{Transport: &Transport{Policy: policy(t, cfg), Wire: Wire{Base: f}}}
}

// answers is a server that has nothing else to say.
func answers(status int) roundTripFunc {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	}
}

// getAll reads the whole answer to a GET.
func getAll(t *testing.T, c *http.Client, url string) (status int, body string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// watchedBody knows whether it was closed.
type watchedBody struct {
	io.Reader
	closed bool
}

func (b *watchedBody) Close() error { b.closed = true; return nil }

// readFunc is a body that comes from a function.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// failsafe-go, failsafehttp: a connection leaked per retried response.
func TestPeer01_RetriedResponseLeaksAConnection(t *testing.T) {
	t.Run("connections", func(t *testing.T) {
		var n atomic.Int32
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1)%3 != 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write(make([]byte, 20<<10))
		}))
		defer srv.Close()
		c, made := dialling(t)
		for range 50 {
			if status, _ := getAll(t, c, srv.URL); status != 200 {
				t.Fatalf("status %d", status)
			}
		}
		if made.Load() > 2 {
			t.Errorf("50 calls of three attempts dialled %d connections", made.Load())
		}
	})
	t.Run("a body without an end", func(t *testing.T) {
		read := 0
		endless := readFunc(func(p []byte) (int, error) { read += len(p); return len(p), nil })
		bodies := []*watchedBody{{Reader: endless}, {Reader: endless}, {Reader: strings.NewReader("ok")}}
		n := 0
		c := clientOf(t, quick, func(*http.Request) (*http.Response, error) {
			n++
			return &http.Response{StatusCode: []int{503, 503, 200}[n-1], Body: bodies[n-1]}, nil
		})
		_, _ = getAll(t, c, peerURL)
		if closed := bodies[0].closed && bodies[1].closed; read > 256<<10 || !closed {
			t.Errorf("%d bytes of two endless answers read, closed %v", read, closed)
		}
	})
	t.Run("a body that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := clientOf(t, Config{}, func(req *http.Request) (*http.Response, error) {
				never := readFunc(func([]byte) (int, error) { <-req.Context().Done(); return 0, req.Context().Err() })
				return &http.Response{StatusCode: 503, Body: io.NopCloser(never)}, nil
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, peerURL, nil)
			begin := time.Now()
			if resp, err := c.Do(req); err == nil {
				_ = resp.Body.Close()
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("a call of 30 s at most waited %v for the body of an answer that it throws away", took)
			}
		})
	})
}

// failsafe-go #65, #73, #123: the context ends before the caller reads the body, worse on HTTP/2;
// and a retry sends a body that is used up.
func TestPeer04_TheBodyIsCutShort(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 32<<10) // 512 KiB
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2 %v", http2), func(t *testing.T) {
			var n atomic.Int32
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				if n.Add(1) < 3 {
					w.WriteHeader(http.StatusBadGateway)
				} else if r.ProtoMajor == 2 != http2 {
					w.WriteHeader(http.StatusHTTPVersionNotSupported)
				}
				_, _ = w.Write(got)
			}))
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			defer srv.Close()
			c := &http.Client{Transport: &Transport{Policy: policy(t, quick), Wire: Wire{Base: srv.Client().Transport}}}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, srv.URL, bytes.NewReader(big))
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 200 || err != nil || !bytes.Equal(got, big) {
				t.Errorf("status %d, %d of %d bytes, %v", resp.StatusCode, len(got), len(big), err)
			}
		})
	}
	t.Run("read slowly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := clientOf(t, Config{Attempt: time.Second, Total: 2 * time.Second}, func(req *http.Request) (*http.Response, error) {
				slow := readFunc(func([]byte) (int, error) {
					if err := sleep(req.Context(), time.Hour); err != nil {
						return 0, err
					}
					return 0, io.EOF
				})
				return &http.Response{StatusCode: 200, Body: io.NopCloser(slow)}, nil
			})
			_, _ = getAll(t, c, peerURL)
		})
	})
}

// failsafe-go #134: the attempts' contexts leak under one that lives long, and each attempt of a
// request with a context of its own costs a goroutine.
func TestPeer05_ContextsAndGoroutinesLeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []context.Context
		c := clientOf(t, quick, func(req *http.Request) (*http.Response, error) {
			attempts = append(attempts, req.Context())
			if len(attempts)%3 == 1 {
				return nil, io.ErrUnexpectedEOF
			}
			return answers([]int{200, 0, 503}[len(attempts)%3])(req)
		})
		for range 3 {
			_, _ = getAll(t, c, peerURL)
		}
		_, _ = Do(t.Context(), policy(t, quick), read, func(ctx context.Context) (int, error) {
			attempts = append(attempts, ctx)
			return 0, errDown
		})
		if len(attempts) != 10 {
			t.Fatalf("%d attempts", len(attempts))
		}
		for i, ctx := range attempts {
			if ctx.Err() == nil {
				t.Errorf("the context of attempt %d is still alive", i)
			}
		}
	})
	t.Run("goroutines", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const crowd = 100
			p := policy(t, Config{})
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			var callers sync.WaitGroup
			for i := range crowd {
				callers.Go(func() {
					type key struct{}
					_, _ = RoundTrip(context.WithValue(ctx, key{}, i), p, read, nil,
						func(ctx context.Context, _ int) (*http.Response, error) { <-ctx.Done(); return nil, ctx.Err() })
				})
			}
			synctest.Wait()
			if more := runtime.NumGoroutine() - before; more > crowd*3/2 {
				t.Errorf("%d calls cost %d goroutines", crowd, more)
			}
			cancel()
			callers.Wait()
		})
	})
}

// gobreaker #46, PR #121: its own example counts a 500 as a success.
func TestPeer16_AnErrorStatusIsASuccess(t *testing.T) {
	for _, status := range []int{408, 500, 502, 503, 504} {
		c := clientOf(t, Config{Retry: Retry{Attempts: 1}}, answers(status))
		for range 10 {
			if got, _ := getAll(t, c, peerURL); got != status {
				t.Fatalf("status %d, want %d", got, status)
			}
		}
		if _, err := c.Get(peerURL); !errors.Is(err, ErrOpen) {
			t.Errorf("after ten answers %d: %v", status, err)
		}
	}
}

// go-retryablehttp #85, #98, #237: one exhausted call closes the idle connections of everybody,
// and error bodies of 64 KiB cost one each.
func TestPeer19_AnExhaustedCallClosesConnections(t *testing.T) {
	healthy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer healthy.Close()
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", strconv.Itoa(64<<10))
		}
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(make([]byte, 64<<10))
	}))
	defer sick.Close()
	c, made := dialling(t)
	for i := range 20 {
		well, _ := getAll(t, c, healthy.URL)
		ill, b := getAll(t, c, sick.URL+[]string{"/length", "/chunked"}[i%2])
		if well != 200 || ill != 500 || len(b) != 64<<10 {
			t.Fatalf("status %d and %d, %d bytes", well, ill, len(b))
		}
	}
	if made.Load() > 3 {
		t.Errorf("20 calls to a healthy host and 20 to a sick one dialled %d connections", made.Load())
	}
}

// go-retryablehttp #212, #235: "giving up after 5 attempt(s)" drops body, status and latency, and
// solace #90: whoever throws an answer away must close it.
func TestPeer20_TheLastAnswerIsLost(t *testing.T) {
	for name, then := range map[string]error{"an answer": nil, "none": &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bodies []*watchedBody
				c := clientOf(t, Config{}, func(*http.Request) (*http.Response, error) {
					time.Sleep(time.Second)
					if len(bodies) > 0 && then != nil {
						return nil, then
					}
					b := &watchedBody{Reader: strings.NewReader("quota of tenant 7")}
					bodies = append(bodies, b)
					return &http.Response{StatusCode: 503, Body: b}, nil
				})
				if then == nil {
					if status, b := getAll(t, c, peerURL); status != 503 || b != "quota of tenant 7" || len(bodies) != 3 {
						t.Errorf("after %d answers: %d %q", len(bodies), status, b)
					}
				} else {
					_, err := c.Get(peerURL)
					e := asError(t, err)
					if len(e.Attempts) != 3 || e.Attempts[0].Status != 503 || e.Attempts[0].Took != time.Second || !errors.Is(err, then) {
						t.Errorf("the first answer, its time, or the end is lost: %s", e.Explain())
					}
				}
				for i, b := range bodies {
					if !b.closed {
						t.Errorf("answer %d was not closed", i)
					}
				}
			})
		})
	}
}

// dotnet/extensions #5248, #6548, #6708: POST is repeated, and the way out fails on timeouts
// because the method is read from the response.
func TestPeer21_APostIsRepeated(t *testing.T) {
	hang := func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	refused := func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	sick := answers(503) // without Response.Request
	for name, tc := range map[string]struct {
		method string
		call   *Call
		send   roundTripFunc
		want   int
	}{
		"503":                         {http.MethodPost, nil, sick, 1},
		"a timeout":                   {http.MethodPost, nil, hang, 1},
		"PATCH, a timeout":            {http.MethodPatch, nil, hang, 1},
		"nothing was sent":            {http.MethodPost, nil, refused, 3},
		"GET, a timeout":              {http.MethodGet, nil, hang, 3},
		"PUT, 503":                    {http.MethodPut, nil, sick, 3},
		"a POST that reads":           {http.MethodPost, &Call{Name: "search", Kind: Read}, sick, 3},
		"a GET that does something":   {http.MethodGet, &Call{Name: "contain"}, sick, 1},
		"the same, after a timeout":   {http.MethodGet, &Call{Name: "contain"}, hang, 1},
		"a DELETE not to be repeated": {http.MethodDelete, &Call{Name: "remove"}, hang, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent []string
				c := clientOf(t, Config{}, func(req *http.Request) (*http.Response, error) {
					b, _ := io.ReadAll(req.Body)
					sent = append(sent, string(b))
					return tc.send(req)
				})
				ctx := t.Context()
				if tc.call != nil {
					ctx = WithCall(ctx, *tc.call)
				}
				req, _ := http.NewRequestWithContext(ctx, tc.method, peerURL, strings.NewReader("ticket"))
				if resp, err := c.Do(req); err == nil {
					_ = resp.Body.Close()
				}
				if len(sent) != tc.want || strings.Join(sent, "") != strings.Repeat("ticket", tc.want) {
					t.Errorf("sent %q, want %d times", sent, tc.want)
				}
			})
		})
	}
}

// Listenarr #867, dotnet/aspnetcore #48089: one breaker for five hosts; or a new one for each
// request, which never opens.
func TestPeer23_SharedOrNotByAccident(t *testing.T) {
	cfg := Config{Retry: Retry{Attempts: 1}, Concurrency: 1}
	sick, healthy := policy(t, cfg), policy(t, cfg) // even with the same name
	var resp *http.Response
	var err error
	for range 11 { // a new client for each request
		c := &http.Client{Transport: &Transport{Policy: sick, Wire: Wire{Base: answers(500)}}}
		if resp, err = c.Get(peerURL); err == nil {
			_ = resp.Body.Close()
		}
	}
	if !errors.Is(err, ErrOpen) {
		t.Errorf("ten clients of one policy failed, and the eleventh: %v", err)
	}
	if e := healthy.Explain(); e.State != Closed || e.Last != 0 || len(e.Failures) != 0 {
		t.Errorf("another policy learned of it: %s", e)
	}
	if _, err = Do(t.Context(), healthy, read, func(ctx context.Context) (int, error) {
		return Do(ctx, policy(t, cfg), read, func(context.Context) (int, error) { return 1, nil })
	}); err != nil {
		t.Errorf("two policies share one place: %v", err)
	}
	if _, err := (&Transport{Wire: Wire{Base: answers(200)}}).RoundTrip(httptest.NewRequest(http.MethodGet, peerURL, nil)); err == nil {
		t.Error("a transport made up a policy of its own")
	}
	set, window := &QuotaSet{}, Window{Calls: 100, Per: time.Minute}
	a, _ := set.Get("tenant a", window)
	again, _ := set.Get("tenant a", window)
	b, _ := set.Get("tenant b", window)
	if _, err := set.Get("tenant a", Window{Calls: 1, Per: time.Minute}); a == nil || a != again || a == b || err == nil {
		t.Errorf("quotas %p and %p of one tenant, %p of another; other windows: %v", a, again, b, err)
	}
}
