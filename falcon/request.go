package falcon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/go-openapi/runtime"

	"github.com/jurymast/jurymast/resilience"
)

const userAgent = "jurymast"

// written is a request as it will go out, apart from host and token.
type written struct {
	operation    string
	method, path string
	query        string
	header       http.Header
	body         []byte
	conditional  bool // a 304 is an answer too
}

// capture is a gofalcon transport that keeps the operation instead of sending
// it. gofalcon then knows the paths and parameters, and nothing of its readers,
// timeouts or retries takes part.
type capture struct{ op *runtime.ClientOperation }

var errCaptured = errors.New("captured")

// Submit implements runtime.ClientTransport.
func (c *capture) Submit(op *runtime.ClientOperation) (any, error) {
	c.op = op
	return nil, errCaptured
}

// write turns an operation of gofalcon into a request.
func (c *Client) write(op *runtime.ClientOperation) (*written, error) {
	req, err := c.writer.CreateHttpRequest(op)
	if err != nil {
		return nil, fmt.Errorf("falcon %s: writing the request: %w", op.ID, err)
	}
	w := &written{
		operation: op.ID, method: req.Method, path: req.URL.EscapedPath(),
		query: req.URL.RawQuery, header: req.Header,
	}
	if req.Body != nil {
		w.body, err = io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("falcon %s: writing the request: %w", op.ID, err)
		}
	}
	return w, nil
}

// send runs one operation under the policy and hands every good answer to read,
// whose error fails the attempt.
func send[T any](ctx context.Context, c *Client, call resilience.Call, w *written, read func(*answer) (T, error)) (T, error) {
	var zero T
	if err := c.check(call.Kind); err != nil {
		return zero, fmt.Errorf("falcon %s: %w", call.Name, err)
	}
	w.operation = call.Name
	return resilience.Do(ctx, c.policy, call, func(ctx context.Context) (T, error) {
		a, err := c.exchange(ctx, w)
		if err != nil {
			return zero, err
		}
		return read(a)
	})
}

// exchange sends the request with a token. A 401 to a token that used to work
// gets one new token, a 308 one new host; neither has done anything. The answer
// is there beside an *APIError too.
func (c *Client) exchange(ctx context.Context, w *written) (*answer, error) {
	renewed, redirected := false, false
	for {
		t, err := c.auth.Get(ctx)
		if err != nil {
			return nil, err
		}
		a, err := c.roundTrip(ctx, w, t.Value)
		if err != nil {
			return nil, err
		}
		if a.status != http.StatusUnauthorized && a.status != http.StatusPermanentRedirect {
			c.auth.Accepted(t.Value) // a 404 or 403 too comes after the token was checked
		}
		switch {
		case a.redirected && !redirected:
			redirected = true
		case a.status == http.StatusUnauthorized && !renewed && c.auth.Rejected(t.Value):
			renewed = true
		case a.status == http.StatusNotModified && w.conditional:
			return a, nil
		case a.status >= 300:
			return a, a.apiError(w.operation)
		default:
			return a, nil
		}
	}
}

// roundTrip sends the request once and reads the whole answer.
func (c *Client) roundTrip(ctx context.Context, w *written, bearer string) (*answer, error) {
	base := c.base.Load()
	u, err := url.Parse(base.String() + w.path)
	if err != nil {
		return nil, err
	}
	u.RawQuery = w.query
	req, err := http.NewRequestWithContext(ctx, w.method, u.String(), bytes.NewReader(w.body))
	if err != nil {
		return nil, err
	}
	if len(w.body) == 0 {
		req.Body, req.GetBody = http.NoBody, nil
	}
	req.Header = w.header.Clone()
	req.Header.Set("User-Agent", userAgent)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.wire.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readBody(resp)
	if err != nil {
		return nil, fmt.Errorf("falcon %s: HTTP %d: reading the answer: %w", w.operation, resp.StatusCode, err)
	}
	if resp.Request == nil {
		resp.Request = req
	}
	c.announce(w.operation, resp.Header)
	return &answer{
		status: resp.StatusCode, header: resp.Header, body: body,
		redirected: c.rebase(resp), at: time.Now(),
	}, nil
}

// readBody reads the answer to its end, in few steps: pages are many megabytes.
func readBody(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 {
		b.Grow(int(min(n, 64<<20)) + bytes.MinRead) // what a header says is not worth more
	}
	_, err := b.ReadFrom(resp.Body)
	return b.Bytes(), err
}
