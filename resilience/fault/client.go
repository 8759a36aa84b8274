package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/jurymast/jurymast/internal/wait"
)

// RoundTripper returns a transport that applies the plan to requests sent
// through base (nil means [http.DefaultTransport]). It is safe for concurrent use.
func (p *Plan) RoundTripper(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &roundTripper{plan: p, base: base}
}

type roundTripper struct {
	plan *Plan
	base http.RoundTripper
}

func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	rule := t.plan.Request(req)
	switch rule.Kind {
	case Refuse:
		closeBody(req)
		return nil, refused(req.URL.Host)
	case Blackhole:
		closeBody(req)
		<-req.Context().Done()
		return nil, req.Context().Err()
	case Reset:
		closeBody(req)
		return nil, reset()
	case Status:
		closeBody(req)
		return rule.response(req), nil
	case Latency:
		if err := sleep(req.Context(), rule.Delay); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch rule.Kind {
	case LoseResponse:
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		_ = resp.Body.Close()
		if err := sleep(req.Context(), rule.Delay); err != nil {
			return nil, err
		}
		return nil, reset()
	case Truncate:
		return truncated(resp)
	}
	return resp, nil
}

// Dialer wraps a dial function, such as [net.Dialer.DialContext], so that
// connections are refused or never complete as the plan says.
func (p *Plan) Dialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		switch p.Connect(addr).Kind {
		case Refuse:
			return nil, refused(addr)
		case Blackhole:
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
		}
		return dial(ctx, network, addr)
	}
}

func (r *Rule) response(req *http.Request) *http.Response {
	status := r.status()
	header := http.Header{}
	r.addHeader(header)
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, ContentLength: int64(len(r.Body)),
		Body: io.NopCloser(bytes.NewBufferString(r.Body)), Request: req,
	}
}

// addHeader copies, because whoever gets the answer may change it.
func (r *Rule) addHeader(to http.Header) {
	for name, values := range r.Header {
		to[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
}

func (r *Rule) status() int {
	if r.Status == 0 {
		return http.StatusServiceUnavailable
	}
	return r.Status
}

// truncated cuts the body in half. Without a body there is no half of an answer:
// then all of it is lost.
func truncated(resp *http.Response) (*http.Response, error) {
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if len(body) == 0 {
		return nil, reset()
	}
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), brokenReader{}))
	return resp, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func refused(addr string) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: hostAddr(addr), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func reset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// hostAddr is a host and port as a net.Addr.
type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (a hostAddr) String() string { return string(a) }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if wait.For(ctx, d) != nil {
		return ctx.Err()
	}
	return nil
}
