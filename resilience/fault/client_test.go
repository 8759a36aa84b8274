package fault

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// base answers like a server and says whether it was asked.
type base struct{ asked int }

const baseBody = "a body of some length"

func (b *base) RoundTrip(req *http.Request) (*http.Response, error) {
	b.asked++
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: req,
		Body: io.NopCloser(strings.NewReader(baseBody)), ContentLength: int64(len(baseBody)),
	}, nil
}

// closing says whether a request's body was closed, as a RoundTripper must do.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestRoundTripper(t *testing.T) {
	is := func(want error) func(string, error) bool {
		return func(_ string, err error) bool { return errors.Is(err, want) }
	}
	for _, tc := range []struct {
		rule  Rule
		works bool          // the base was asked
		took  time.Duration // exactly, in the bubble
		check func(body string, err error) bool
	}{
		{Rule{Kind: None}, true, 0, func(b string, err error) bool { return b == baseBody && err == nil }},
		{Rule{Kind: Refuse}, false, 0, is(syscall.ECONNREFUSED)},
		{Rule{Kind: Blackhole}, false, time.Minute, is(context.DeadlineExceeded)},
		{Rule{Kind: Latency, Delay: time.Second}, true, time.Second, func(b string, err error) bool { return b == baseBody && err == nil }},
		{Rule{Kind: Latency, Delay: time.Hour}, false, time.Minute, is(context.DeadlineExceeded)},
		{Rule{Kind: Status}, false, 0, func(b string, err error) bool { return b == "" && err == nil }},
		{Rule{Kind: Reset}, false, 0, is(syscall.ECONNRESET)},
		{Rule{Kind: LoseResponse}, true, 0, is(syscall.ECONNRESET)},
		{Rule{Kind: LoseResponse, Delay: time.Second}, true, time.Second, is(syscall.ECONNRESET)},
		{Rule{Kind: LoseResponse, Delay: time.Hour}, true, time.Minute, is(context.DeadlineExceeded)},
		{Rule{Kind: Truncate}, true, 0, func(b string, err error) bool {
			return b == baseBody[:len(baseBody)/2] && errors.Is(err, io.ErrUnexpectedEOF)
		}},
	} {
		name := tc.rule.Kind.String()
		if tc.rule.Delay > 0 {
			name += " " + tc.rule.Delay.String()
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, b := NewPlan(1), &base{}
				p.Add(tc.rule)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				sent := &closing{Reader: strings.NewReader("x")}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://a.test/x", sent)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				got, err := body(p.RoundTripper(b).RoundTrip(req))
				if !tc.check(got, err) {
					t.Errorf("got %q, %v", got, err)
				}
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				if (b.asked > 0) != tc.works {
					t.Errorf("the base was asked %d times", b.asked)
				}
				if !sent.closed {
					t.Error("the request's body was left open")
				}
			})
		})
	}
}

func TestRoundTripperStatus(t *testing.T) {
	p := NewPlan(1)
	p.Add(Rule{Kind: Status, Count: 1})
	p.Add(Rule{Kind: Status, Status: 429, Header: http.Header{"retry-after": {"7"}}, Body: "slow down"})
	transport := p.RoundTripper(&base{})
	for _, want := range []struct {
		status           string
		retryAfter, body string
	}{
		{"503 Service Unavailable", "", ""},
		{"429 Too Many Requests", "7", "slow down"},
		{"429 Too Many Requests", "7", "slow down"},
	} {
		resp, err := transport.RoundTrip(request(t, http.MethodGet, "https://a.test/"))
		if err != nil {
			t.Fatal(err)
		}
		status, retryAfter, length := resp.Status, resp.Header.Get("Retry-After"), resp.ContentLength
		resp.Header.Set("Retry-After", "the caller may change what it got")
		got, err := body(resp, nil)
		if err != nil || status != want.status || retryAfter != want.retryAfter || got != want.body || length != int64(len(got)) {
			t.Errorf("got %q, Retry-After %q, %q, length %d, %v; want %+v", status, retryAfter, got, length, err, want)
		}
	}
}

func TestDialer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPlan(1)
		dialed := errors.New("dialed")
		dial := p.Dialer(func(context.Context, string, string) (net.Conn, error) { return nil, dialed })
		try := func(addr string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := dial(ctx, "tcp", addr)
			return err
		}
		if err := try("a.test:443"); !errors.Is(err, dialed) {
			t.Errorf("no rule: %v", err)
		}
		p.Add(Rule{Kind: Refuse, Host: "a.test"})
		p.Add(Rule{Kind: Blackhole, Host: "b.test"})
		var op *net.OpError
		if err := try("a.test:443"); !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("refused: %v", err)
		}
		start := time.Now()
		if err := try("b.test:443"); !isDeadline(err) || time.Since(start) != time.Minute {
			t.Errorf("blackhole after %v: %v", time.Since(start), err)
		}
		if err := try("c.test:443"); !errors.Is(err, dialed) {
			t.Errorf("another host: %v", err)
		}
	})
}
