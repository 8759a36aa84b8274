package resilience

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Transport puts a policy around an http.Client: set it as Client.Transport.
// It is safe for concurrent use.
//
// A request is retried only if its Kind allows it and its body, if any, can be
// rewound by GetBody (bytes, strings and nil bodies can). The attempt timeout
// ends when the headers are here; the body may take as long as the request's
// context allows. When every attempt was answered, the last answer is returned
// as it is, whatever its status; otherwise the error is an [*Error].
type Transport struct {
	// Policy is required.
	Policy *Policy
	// Wire sends the requests. The zero Wire sends them by http.DefaultTransport.
	Wire Wire
	// Call describes a request. Default: named by method and host; GET, HEAD,
	// OPTIONS and TRACE are reads, PUT and DELETE idempotent, the rest effects.
	Call func(*http.Request) Call
}

// CallOf is the default of Transport.Call.
func CallOf(req *http.Request) Call {
	call := Call{Name: req.Method + " " + req.URL.Hostname(), Kind: KindOf(req.Method)}
	return call
}

// KindOf is the kind that an HTTP method promises.
func KindOf(method string) Kind {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return Read
	case http.MethodPut, http.MethodDelete:
		return Idempotent
	default:
		return Effect
	}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.Policy == nil {
		closeBody(req)
		return nil, errors.New("resilience: Transport.Policy is nil: set it to a Policy from New")
	}
	describe := t.Call
	if describe == nil {
		describe = CallOf
	}
	call := describe(req)
	x := exchange{wire: &t.Wire, req: req}
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		call.Attempts = 1
	}
	defer x.closeBody()
	resp, err := Do(req.Context(), t.Policy, call, x.send)
	if err != nil && x.last != nil && !isRefusal(err) {
		return x.last, nil
	}
	x.drop()
	return resp, err
}

// isRefusal reports that the last thing that happened was not an answer.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return !ok || e.Attempts[len(e.Attempts)-1].Status == 0
}

// exchange is one request with its attempts.
type exchange struct {
	wire *Wire
	req  *http.Request
	sent bool           // the original body was used
	last *http.Response // a failed answer, kept in case it stays the last
}

func (x *exchange) send(attempt context.Context) (*http.Response, error) {
	x.drop()
	ctx, headers := KeepBody(attempt, x.req.Context())
	req := x.req.WithContext(ctx)
	if x.sent && x.req.GetBody != nil {
		body, err := x.req.GetBody()
		if err != nil {
			headers(nil)
			return nil, err
		}
		req.Body = body
	}
	x.sent = true
	resp, err := x.wire.RoundTrip(req)
	headers(resp)
	if err != nil {
		return nil, err
	}
	if f := OfStatus(resp.StatusCode); f.Class.RetrySame() || f.Class.rule().trips && resp.StatusCode >= 400 {
		f.RetryAfter = RetryAfter(resp.Header, time.Now())
		x.last = resp
		return nil, &statusError{f}
	}
	return resp, nil
}

// drop drains and closes an answer that will not be returned, so that its
// connection is used again.
func (x *exchange) drop() {
	if x.last == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, x.last.Body, 64<<10)
	_ = x.last.Body.Close()
	x.last = nil
}

func (x *exchange) closeBody() {
	if !x.sent {
		closeBody(x.req)
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// statusError is an answer that counts as a failure.
type statusError struct{ failure Failure }

func (e *statusError) Error() string    { return fmt.Sprintf("HTTP %d", e.failure.Status) }
func (e *statusError) Failure() Failure { return e.failure }

// KeepBody lets the body of an answer outlive the attempt that got it. It returns
// the context to send the request with, which ends with the attempt until
// headers is called with the answer (nil if there is none), and from then on with
// caller or when the answer's body is closed, whichever comes first.
func KeepBody(attempt, caller context.Context) (ctx context.Context, headers func(*http.Response)) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(attempt))
	release := context.AfterFunc(attempt, func() { cancel(context.Cause(attempt)) })
	return ctx, func(resp *http.Response) {
		release()
		if resp == nil {
			cancel(nil)
			return
		}
		release = context.AfterFunc(caller, func() { cancel(context.Cause(caller)) })
		resp.Body = &endingBody{ReadCloser: resp.Body, end: func() { release(); cancel(nil) }}
	}
}

// endingBody frees the attempt's context when the caller is done with the body.
type endingBody struct {
	io.ReadCloser
	end func()
}

// Close closes the body and ends its context.
func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
