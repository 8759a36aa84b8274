package resilience

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Transport puts a policy around an http.Client: set it as Client.Transport.
// It is safe for concurrent use.
//
// It behaves as [RoundTrip] does. A request is sent again only if its Kind allows
// it and its body, if any, can be rewound by GetBody (bytes, strings and nil
// bodies can).
type Transport struct {
	// Policy is required.
	Policy *Policy
	// Wire sends the requests. The zero Wire sends them by http.DefaultTransport.
	Wire Wire
	// Call describes a request. Default: CallOf. WithCall comes first.
	Call func(*http.Request) Call
	// RetryAfter reads how long an answer asks to wait; see [RetryAfterEpoch] for
	// vendors who say when. Default: RetryAfter, the function.
	RetryAfter func(http.Header, time.Time) time.Duration
}

// CallOf describes a request by its method and host, with the kind of KindOf.
func CallOf(req *http.Request) Call {
	return Call{Name: req.Method + " " + req.URL.Hostname(), Kind: KindOf(req.Method)}
}

// KindOf is the kind that an HTTP method promises: GET, HEAD, OPTIONS and TRACE
// are reads, PUT and DELETE idempotent, the rest effects.
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
	call := CallFrom(req.Context(), describe(req))
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		call.Attempts = 1
	}
	sent := false
	resp, err := RoundTrip(req.Context(), t.Policy, call, t.RetryAfter, func(ctx context.Context, attempt int) (*http.Response, error) {
		sent = true
		e := evidenceOf(ctx)
		ctx, seen := watched(ctx)
		again := req.WithContext(ctx)
		if attempt > 0 && req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			again.Body = body
		}
		return t.Wire.send(again, e, seen)
	})
	if !sent {
		closeBody(req)
	}
	return resp, err
}

// CloseIdleConnections does so at Wire.Base, for http.Client.CloseIdleConnections.
func (t *Transport) CloseIdleConnections() { t.Wire.CloseIdleConnections() }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
