package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/internal/token"
	"github.com/jurymast/jurymast/resilience"
)

// bearer puts the token on a request. A 401 to a token that used to work gets
// one new token and one more try: a 401 has done nothing.
type bearer struct{ source *token.Source }

// Do implements policy.Policy.
func (b *bearer) Do(req *policy.Request) (*http.Response, error) {
	for renewed := false; ; renewed = true {
		t, err := b.source.Get(req.Raw().Context())
		if err != nil {
			return nil, err
		}
		req.Raw().Header.Set("Authorization", "Bearer "+t.Value)
		resp, err := req.Next()
		if err != nil {
			return resp, err
		}
		if resp.StatusCode != http.StatusUnauthorized {
			b.source.Accepted(t.Value)
			return resp, nil
		}
		if renewed || !b.source.Rejected(t.Value) {
			return resp, nil
		}
		runtime.Drain(resp)
		if err := req.RewindBody(); err != nil {
			return nil, err
		}
	}
}

// request is one operation of a service of ours.
type request struct {
	call   resilience.Call
	method string
	url    string
	body   any // marshalled as JSON; nil for none
}

// send runs one operation under the policy and decodes a good answer as T.
func send[T any](ctx context.Context, c *Client, pl runtime.Pipeline, r request) (T, error) {
	var zero T
	if err := c.check(r.call.Kind); err != nil {
		return zero, fmt.Errorf("azure %s: %w", r.call.Name, err)
	}
	return resilience.Do(ctx, c.policy, r.call, func(ctx context.Context) (T, error) {
		// A caller's retry options in the context would bring azcore's retries back
		// under ours.
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
		req, err := runtime.NewRequest(ctx, r.method, r.url)
		if err != nil {
			return zero, resilience.Misusef("azure %s: %v", r.call.Name, err)
		}
		req.Raw().Header.Set("Accept", "application/json")
		if r.body != nil {
			if err := runtime.MarshalAsJSON(req, r.body); err != nil {
				return zero, resilience.Misusef("azure %s: %v", r.call.Name, err)
			}
		}
		resp, err := pl.Do(req)
		if err != nil {
			return zero, err
		}
		body, err := runtime.Payload(resp)
		if err != nil {
			return zero, err
		}
		if resp.StatusCode >= 300 {
			return zero, newAPIError(r.call.Name, resp, body)
		}
		var out T
		if err := json.Unmarshal(body, &out); err != nil {
			if len(body) == 0 {
				err = errors.New("it is empty")
			}
			// A 2xx: what was asked may well have been done.
			return zero, &APIError{
				Operation: r.call.Name, Status: resp.StatusCode, RequestID: resp.Header.Get("x-ms-request-id"),
				class: resilience.Malformed, err: fmt.Errorf("the answer cannot be read: %w", err),
			}
		}
		return out, nil
	})
}
