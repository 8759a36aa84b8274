package azure

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/jurymast/jurymast/resilience"
)

// alternates sends a service's requests to one of several addresses, the same until
// it cannot be reached, then the next. It never sends a request again: whether there
// is another attempt is for the policy to say, by what is known of this one.
type alternates struct {
	wire  http.RoundTripper
	api   string
	hosts []string // host:port
	used  atomic.Int32
	log   *slog.Logger
}

type movableKey struct{}

// movable marks a request that may go to any address of its service.
func movable(ctx context.Context, kind resilience.Kind) context.Context {
	return context.WithValue(ctx, movableKey{}, kind)
}

// RoundTrip implements http.RoundTripper.
func (a *alternates) RoundTrip(req *http.Request) (*http.Response, error) {
	kind, ok := req.Context().Value(movableKey{}).(resilience.Kind)
	if !ok {
		return a.wire.RoundTrip(req)
	}
	used := a.used.Load()
	var wrote atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	moved := req.Clone(ctx)
	moved.URL.Host, moved.Host = a.hosts[used], a.hosts[used]
	resp, err := a.wire.RoundTrip(moved)
	if a.unreachable(ctx, kind, wrote.Load(), resp, err) {
		next := (used + 1) % int32(len(a.hosts))
		// Of many requests that fail together the first moves all of them, once.
		if a.used.CompareAndSwap(used, next) {
			a.log.Warn("azure: an address cannot be reached, another is used from now on", "api", a.api, "from", a.hosts[used], "to", a.hosts[next])
		}
	}
	return resp, err
}

// unreachable reports that the address is to be left: nothing got out to it, or it
// owes a read its answer. What an effect made of it is asked where it was sent.
func (a *alternates) unreachable(ctx context.Context, kind resilience.Kind, wrote bool, resp *http.Response, err error) bool {
	if err == nil {
		gateway := resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusGatewayTimeout
		return gateway && kind == resilience.Read
	}
	// A caller who left says nothing of the address; one whose time ran out does.
	if ctx.Err() == context.Canceled && !errors.Is(context.Cause(ctx), resilience.ErrShare) {
		return false
	}
	return !wrote || kind == resilience.Read
}
