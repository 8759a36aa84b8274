package azure

import (
	"context"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/resilience"
)

// ClientOptions put any official Azure client under this client's policy:
//
//	azsecrets.NewClient(vaultURL, c.Credential(), &azsecrets.ClientOptions{ClientOptions: c.ClientOptions()})
//
// azcore's own retries are off and stay off; the policy's take their place. A GET
// is a read, a PUT or DELETE idempotent, the rest effects, which a read-only
// client refuses. The official client gets the last answer, whatever its status,
// and makes its own error of it; a call that was never answered is a
// [*resilience.Error]. Calls go wherever the official client sends them.
func (c *Client) ClientOptions() azcore.ClientOptions {
	o := noRetries(azcore.ClientOptions{Cloud: c.place.authority, Transport: transporter{c.wire}})
	o.PerCallPolicies = []policy.Policy{&stage{c}}
	return o
}

// ARMOptions are ClientOptions for the arm* packages. Registering resource
// providers behind the caller's back is off: it writes to the subscription and
// can take minutes.
func (c *Client) ARMOptions() *arm.ClientOptions {
	return &arm.ClientOptions{ClientOptions: c.ClientOptions(), DisableRPRegistration: true}
}

// stage is the policy as a stage of azcore's pipeline, around its retries and
// its authentication.
type stage struct{ c *Client }

// Do implements policy.Policy.
func (s *stage) Do(req *policy.Request) (*http.Response, error) {
	raw := req.Raw()
	call := resilience.CallOf(raw)
	if err := s.c.check(call.Kind); err != nil {
		return nil, err
	}
	var last *http.Response // a failed answer, kept in case it stays the last
	attempts := 0
	drop := func() {
		if last != nil {
			runtime.Drain(last)
			last = nil
		}
	}
	resp, err := resilience.Do(raw.Context(), s.c.policy, call, func(attempt context.Context) (*http.Response, error) {
		drop()
		if attempts++; attempts > 1 {
			if err := req.RewindBody(); err != nil {
				return nil, err
			}
		}
		ctx, headers := resilience.KeepBody(attempt, raw.Context()) // a download goes on after the headers
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
		resp, err := req.Clone(ctx).Next()
		headers(resp)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 400 {
			last = resp
			f := resilience.OfStatus(resp.StatusCode)
			f.RetryAfter, f.RequestID = retryAfter(resp.Header, time.Now()), resp.Header.Get("x-ms-request-id")
			return nil, &statusError{f}
		}
		return resp, nil
	})
	if err != nil && last != nil {
		return last, nil
	}
	return resp, err
}

// statusError is an answer that counts as a failure.
type statusError struct{ failure resilience.Failure }

func (e *statusError) Error() string               { return http.StatusText(e.failure.Status) }
func (e *statusError) Failure() resilience.Failure { return e.failure }
