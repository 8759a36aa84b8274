package resilience

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
	"github.com/jurymast/jurymast/resilience/fault"
)

// cloud starts an in-memory TLS server; it must be called inside a bubble.
func cloud(t *testing.T, h http.HandlerFunc) *sim.Server {
	t.Helper()
	s, err := sim.Start(sim.Config{Hosts: []string{"api.example.test"}, Handler: h, InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func post(ctx context.Context, w *Wire) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.test/act", strings.NewReader("{}"))
	if err != nil {
		return 0, err
	}
	resp, err := w.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

const anySent Sent = 255

// What the transport saw decides between NotSent and MaybeSent, on new and on
// already open connections, for every way in which the wire can fail.
func TestSentIsProvenAtTheTransport(t *testing.T) {
	for _, tc := range []struct {
		fault fault.Kind
		warm  bool // an open connection exists
		want  Sent
	}{
		{fault.Refuse, false, NotSent},
		{fault.Blackhole, false, NotSent},
		{fault.Blackhole, true, MaybeSent},
		{fault.Reset, false, MaybeSent},
		{fault.LoseResponse, false, MaybeSent},
		{fault.Truncate, false, MaybeSent},
		// The client may write to a connection that was just cut before it hears of
		// it, so on open ones only the invariants below hold.
		{fault.Refuse, true, anySent},
		{fault.Reset, true, anySent},
	} {
		name := tc.fault.String()
		if tc.warm {
			name += ", open connection"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var effects atomic.Int32
				s := cloud(t, func(w http.ResponseWriter, _ *http.Request) {
					effects.Add(1)
					_, _ = io.WriteString(w, "a body of some length")
				})
				wire := &Wire{Base: s.Client().Transport}
				p := policy(t, Config{})
				act := func() error {
					_, err := Do(t.Context(), p, Call{Name: "act"}, func(ctx context.Context) (int, error) { return post(ctx, wire) })
					return err
				}
				if tc.warm {
					if err := act(); err != nil {
						t.Fatal(err)
					}
					effects.Store(0)
				}
				s.Faults().Add(fault.Rule{Kind: tc.fault})
				e := asError(t, act())
				if tc.want != anySent && e.Sent != tc.want {
					t.Errorf("%v, want %v\n%s", e.Sent, tc.want, e.Explain())
				}
				if e.Sent == NotSent && effects.Load() > 0 {
					t.Error("reported as not sent, and the server did it")
				}
				if effects.Load() > 1 {
					t.Errorf("the effect happened %d times", effects.Load())
				}
				s.Close()
			})
		})
	}
}

// A context that ends between getting the connection and writing the headers
// proves nothing: the connection's own goroutine may still write the request.
func TestGivingUpWhileWritingIsMaybeSent(t *testing.T) {
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		fireTrace(req, true, false)
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	synctest.Test(t, func(t *testing.T) {
		_, err := Do(t.Context(), policy(t, Config{Attempt: time.Second}), Call{Name: "act"},
			func(ctx context.Context) (int, error) { return post(ctx, &Wire{Base: base}) })
		if e := asError(t, err); e.Sent != MaybeSent {
			t.Errorf("got %v", e.Sent)
		}
	})
}

func TestBaseWithoutTracesProvesNothing(t *testing.T) {
	base := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("some failure") })
	_, err := Do(t.Context(), policy(t, Config{}), Call{Name: "act"},
		func(ctx context.Context) (int, error) { return post(ctx, &Wire{Base: base}) })
	if e := asError(t, err); e.Sent != MaybeSent {
		t.Errorf("got %v", e.Sent)
	}
}

// One request that got out is enough, whatever the others of the attempt did.
func TestFirstRequestSentSecondRefused(t *testing.T) {
	n := 0
	wire := &Wire{Base: roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if n++; n == 1 {
			fireTrace(req, true, true)
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	})}
	_, err := Do(t.Context(), policy(t, Config{}), Call{Name: "act"}, func(ctx context.Context) (int, error) {
		if n, err := post(ctx, wire); err != nil {
			return n, err
		}
		return post(ctx, wire)
	})
	if e := asError(t, err); e.Sent != MaybeSent || e.Class != Refused || n != 2 {
		t.Errorf("got %v, %v after %d requests", e.Sent, e.Class, n)
	}
}

func TestForeignHostIsRefusedBeforeAnythingIsSent(t *testing.T) {
	sent := false
	wire := &Wire{
		Base:      roundTripFunc(func(*http.Request) (*http.Response, error) { sent = true; return nil, errors.New("sent") }),
		AllowHost: func(h string) bool { return h == "api.vendor.test" },
	}
	_, err := Do(t.Context(), policy(t, Config{}), Call{Name: "act"}, func(ctx context.Context) (int, error) { return post(ctx, wire) })
	host, ok := errors.AsType[*HostError](err)
	if !ok || host.Host != "api.example.test" || sent || asError(t, err).Sent != NotSent {
		t.Errorf("sent %v, got %v", sent, err)
	}
}

// A gzip bomb of 300 KB took azcore 774 MB.
func TestAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cloud(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 100))
		})
		for limit, want := range map[int64]error{99: ErrTooLarge, 100: nil, -1: nil} {
			if _, err := post(t.Context(), &Wire{Base: s.Client().Transport, MaxBody: limit}); !errors.Is(err, want) {
				t.Errorf("limit %d: %v, want %v", limit, err, want)
			}
		}
		s.Close()
	})
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
