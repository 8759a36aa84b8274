package azure

import (
	"context"
	"net/http"

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
// client refuses; resilience.WithCall declares what the method does not say. The official client gets the last answer, whatever its status,
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
	call := resilience.CallFrom(raw.Context(), resilience.CallOf(raw))
	if err := s.c.check(call.Kind); err != nil {
		return nil, err
	}
	return resilience.RoundTrip(raw.Context(), s.c.policy, call, retryAfter, func(ctx context.Context, attempt int) (*http.Response, error) {
		if attempt > 0 {
			if err := req.RewindBody(); err != nil {
				return nil, err
			}
		}
		// A caller's retry options in the context would bring azcore's retries back
		// under ours.
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
		resp, err := req.Clone(ctx).Next()
		if err != nil || !s.c.tokens.heard(resp) || req.RewindBody() != nil {
			return resp, err
		}
		// A 401 to a token that used to work has done nothing. azcore has dropped
		// the token and asks for the new one.
		runtime.Drain(resp)
		return req.Clone(ctx).Next()
	})
}
