package resilience

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// Wire is the last http.RoundTripper before the network. It proves to the
// policy whether a request left, keeps requests (and with them tokens) away
// from foreign hosts, bounds the size of answers, and puts the HTTP attributes
// on the attempt's span. It follows no redirect and is safe for concurrent use.
type Wire struct {
	// Base does the work. Default http.DefaultTransport.
	Base http.RoundTripper
	// AllowHost says which hosts (without port) a request may go to. nil: any.
	AllowHost func(host string) bool
	// MaxBody bounds the bytes read of an answer, after decompression; beyond it
	// reading fails with ErrTooLarge. Default 64 MiB; negative means no bound.
	MaxBody int64
	// RateLimit reads what an answer says of the vendor's quota; the quota of the
	// call learns it. nil: nothing. Vendors' headers are their packages' affair.
	RateLimit func(*http.Response) RateLimit
}

// ErrTooLarge: an answer was larger than Wire.MaxBody.
var ErrTooLarge = errors.New("the answer is larger than allowed")

const defaultMaxBody = 64 << 20

// HostError refuses a request to a host that Wire.AllowHost does not know.
type HostError struct{ Host string }

// Error names the host.
func (e *HostError) Error() string {
	return fmt.Sprintf("host %q is not one of this client's: nothing was sent there", e.Host)
}

// Failure makes HostError Classified.
func (e *HostError) Failure() Failure { return Failure{Class: Misuse, Sent: NotSent} }

// RoundTrip sends req once.
func (w *Wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if e := evidenceOf(req.Context()); e != nil {
		ctx, seen := watched(req.Context())
		return w.send(req.WithContext(ctx), e, seen)
	}
	if err := w.forbidden(req); err != nil {
		return nil, err
	}
	resp, err := w.base().RoundTrip(req)
	return w.bound(resp, nil), err
}

// send sends a request of an attempt, whose context seen watches.
func (w *Wire) send(req *http.Request, e *evidence, seen *watch) (*http.Response, error) {
	if err := w.forbidden(req); err != nil {
		return nil, err
	}
	ctx := req.Context()
	recording := e.span.IsRecording()
	if recording {
		describe(e.span, req.Method, req.URL)
	}
	measured := e.policy.metrics.http.start(ctx)
	resp, err := w.base().RoundTrip(req)
	e.policy.metrics.http.record(ctx, req, resp, err, measured)
	// A request whose context ended between getting a connection and writing its
	// headers may still be written by the connection's own goroutine, so a
	// connection without written headers is proof only if nobody gave up.
	sent := err == nil || seen.wrote.Load() || (seen.got.Load() && ctx.Err() != nil)
	if !sent && !seen.asked.Load() && !dialFailed(err) {
		sent = true // a base that reports nothing proves nothing
	}
	e.note(sent)
	if err != nil {
		e.noteBroken(err)
		return nil, err
	}
	if recording {
		describeAnswer(e.span, resp)
	}
	if w.RateLimit != nil {
		if said := w.RateLimit(resp); said.Limit > 0 {
			e.noteLimit(said)
		}
	}
	return w.bound(resp, e), nil
}

// forbidden refuses a request to a foreign host, and closes its body.
func (w *Wire) forbidden(req *http.Request) error {
	host := req.URL.Hostname()
	if w.AllowHost == nil || w.AllowHost(host) {
		return nil
	}
	closeBody(req)
	return &HostError{Host: host}
}

func (w *Wire) base() http.RoundTripper {
	if w.Base == nil {
		return http.DefaultTransport
	}
	return w.Base
}

// CloseIdleConnections does so at Base, if it can.
func (w *Wire) CloseIdleConnections() {
	if c, ok := w.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// watch notes how far a request got. Its hooks may run after the request has
// been given up.
type watch struct {
	trace             httptrace.ClientTrace
	asked, got, wrote atomic.Bool
}

// watched returns a context through which net/http tells the watch.
func watched(ctx context.Context) (context.Context, *watch) {
	w := &watch{}
	w.trace.GetConn = func(string) { w.asked.Store(true) }
	w.trace.GotConn = func(httptrace.GotConnInfo) { w.got.Store(true) }
	w.trace.WroteHeaders = func() { w.wrote.Store(true) }
	return httptrace.WithClientTrace(ctx, &w.trace), w
}

func dialFailed(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

func (w *Wire) bound(resp *http.Response, e *evidence) *http.Response {
	limit := w.MaxBody
	if limit == 0 {
		limit = defaultMaxBody
	}
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return resp
	}
	if limit < 0 {
		limit = math.MaxInt64
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: limit, evidence: e}
	return resp
}

// boundedBody ends a body that is too long and notes one that breaks off.
type boundedBody struct {
	io.ReadCloser
	left     int64
	evidence *evidence
	end      func() // nil, or frees the attempt's context
}

// Close closes the body and ends its context.
func (b *boundedBody) Close() error {
	if b.end != nil {
		defer b.end()
	}
	return b.ReadCloser.Close()
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// Exactly at the bound the body may still end well.
		var one [1]byte
		if n, err := b.ReadCloser.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		b.evidence.noteBroken(err)
	}
	return n, err
}
