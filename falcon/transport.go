package falcon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-openapi/runtime"

	"github.com/jurymast/jurymast/resilience"
)

// Transport puts any gofalcon service under this client's policy and token:
//
//	alerts.New(client.Transport(), nil).QueryV2(params)
//
// gofalcon's own types come back: a failed call is a [*resilience.Error] in
// which errors.As finds both an [*APIError] and gofalcon's typed error. A GET is
// a read, a PUT or DELETE idempotent (but not the PUT that creates a case), a POST
// an effect unless its path is one of Falcon's reading POSTs; resilience.WithCall
// says what that does not. Effects are refused by a read-only client, and with
// ErrSunset whatever Falcon has taken out of service. The context of the parameters
// counts, their timeout does not. Errors inside a 200 are left to gofalcon's
// AssertNoError.
func (c *Client) Transport() runtime.ClientTransport { return transport{c} }

type transport struct{ c *Client }

// Submit implements runtime.ClientTransport.
func (t transport) Submit(op *runtime.ClientOperation) (any, error) {
	ctx := op.Context
	if ctx == nil {
		ctx = context.Background()
	}
	w, err := t.c.write(op)
	if err != nil {
		return nil, err
	}
	if err := sunset(op.ID, w.path); err != nil {
		return nil, err
	}
	call := resilience.CallFrom(ctx, resilience.Call{Name: op.ID, Kind: kindOf(op.Method, op.PathPattern)})
	if err := t.c.check(call.Kind); err != nil {
		return nil, err
	}
	return resilience.Do(ctx, t.c.policy, call, func(ctx context.Context) (any, error) {
		a, err := t.c.exchange(ctx, w)
		if err != nil {
			if api, ok := errors.AsType[*APIError](err); ok && a != nil && isJSON(a.header) {
				_, api.err = op.Reader.ReadResponse(a.typed(), runtime.JSONConsumer())
			}
			return nil, err
		}
		out, err := op.Reader.ReadResponse(a.typed(), runtime.JSONConsumer())
		if err != nil {
			return nil, a.malformed(op.ID, err)
		}
		return out, nil
	})
}

// kindOf knows Falcon's reading POSTs by their paths: ids in a body instead of
// a query, and searches. A PUT that creates makes another one each time.
func kindOf(method, path string) resilience.Kind {
	if method == http.MethodPut && creatingPuts[path] {
		return resilience.Effect
	}
	if method != http.MethodPost {
		return resilience.KindOf(method)
	}
	if strings.Contains(path, "/GET/") || readingPosts[path] {
		return resilience.Read
	}
	return resilience.Effect
}

var creatingPuts = map[string]bool{"/cases/entities/cases/v2": true}

var readingPosts = map[string]bool{
	"/devices/entities/devices/v2":               true,
	"/devices/combined/devices/login-history/v2": true,
	"/alerts/entities/alerts/v2":                 true,
	"/alerts/combined/alerts/v1":                 true,
	"/alerts/aggregates/alerts/v2":               true,
	"/cases/entities/cases/v2":                   true,

	"/humio/api/v1/repositories/{repository}/queryjobs": true,
}

func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// typed shows the answer to gofalcon's readers.
func (a *answer) typed() runtime.ClientResponse { return clientResponse{a} }

type clientResponse struct{ a *answer }

func (r clientResponse) Code() int                       { return r.a.status }
func (r clientResponse) Message() string                 { return http.StatusText(r.a.status) }
func (r clientResponse) GetHeader(name string) string    { return r.a.header.Get(name) }
func (r clientResponse) GetHeaders(name string) []string { return r.a.header.Values(name) }
func (r clientResponse) Body() io.ReadCloser             { return io.NopCloser(bytes.NewReader(r.a.body)) }
