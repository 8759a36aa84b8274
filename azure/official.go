package azure

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/internal/token"
	"github.com/jurymast/jurymast/resilience"
)

// ClientOptions put any official Azure client under Jurymast's policies, one for
// each host that it calls:
//
//	azsecrets.NewClient(vaultURL, c.Credential(), &azsecrets.ClientOptions{ClientOptions: c.ClientOptions()})
//
// azcore's own retries are off and stay off; the policy's take their place. A GET
// is a read, a PUT or DELETE idempotent, the rest effects, which a read-only
// client refuses; resilience.WithCall declares what the method does not say. The
// official client gets the last answer, whatever its status, and makes its own
// error of it; a call that was never answered is a [*resilience.Error]. Calls go
// wherever the official client sends them.
//
// azcore lets one of an official client's calls fetch a token, and the others wait
// for it longer than their contexts may: up to Config.AuthPolicy.Total.
func (c *Client) ClientOptions() azcore.ClientOptions {
	o := noRetries(azcore.ClientOptions{Cloud: c.place.authority, Transport: hearing{c}})
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
	p, err := s.c.official.policy(raw.URL.Hostname(), s.c.cfg.Policy)
	if err != nil {
		return nil, err
	}
	return resilience.RoundTrip(raw.Context(), p, call, retryAfter, func(ctx context.Context, attempt int) (*http.Response, error) {
		if attempt > 0 {
			if err := req.RewindBody(); err != nil {
				return nil, err
			}
		}
		// A caller's retry options in the context would bring azcore's retries back
		// under ours.
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
		noted := &notes{}
		ctx = context.WithValue(ctx, notesKey{}, noted)
		resp, err := req.Clone(ctx).Next()
		err = noted.or(unlessArrived(resp, err))
		if err != nil || !noted.again || req.RewindBody() != nil {
			return resp, err
		}
		// A 401 to a token that used to work has done nothing. azcore has dropped
		// the token and asks for the new one.
		runtime.Drain(resp)
		resp, err = req.Clone(ctx).Next()
		return resp, noted.or(unlessArrived(resp, err))
	})
}

// hearing is the transport of official clients, which notes what an API says of
// the token. It must know before azcore does: whoever asks for a token after azcore
// has dropped a refused one would get that one again.
type hearing struct{ c *Client }

// Do implements policy.Transporter; it follows no redirect.
func (h hearing) Do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	noted, ok := ctx.Value(notesKey{}).(*notes)
	if !ok { // not from a pipeline of ours
		noted = &notes{}
	}
	*noted = notes{} // azcore may go on with a token that it could not renew
	if ctx.Err() != nil {
		// azcore lets one caller fetch a token, and the others wait for that one
		// without a look at their contexts.
		noted.noToken = &token.Error{Err: fmt.Errorf("waiting for it: %w", context.Cause(ctx))}
		return nil, noted.noToken
	}
	resp, err := h.c.wire.RoundTrip(req)
	if err == nil {
		noted.again = h.c.tokens.heard(req, resp)
	}
	return resp, err
}

// official is the policies of the hosts that official clients call.
type official struct {
	mu     sync.Mutex
	byHost map[string]*resilience.Policy
}

// maxHosts bounds them: hosts of further storage accounts, say, share one policy.
const maxHosts = 100

func (o *official) policy(host string, cfg resilience.Config) (*resilience.Policy, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byHost[host] == nil && len(o.byHost) >= maxHosts {
		host = "other"
	}
	p := o.byHost[host]
	if p == nil {
		var err error
		if p, err = resilience.New("azure."+host, cfg); err != nil {
			return nil, err
		}
		if o.byHost == nil {
			o.byHost = map[string]*resilience.Policy{}
		}
		o.byHost[host] = p
	}
	return p, nil
}

// Policies are those of the APIs, and of the hosts that official clients have
// called so far, by name: a status page shows their states.
func (c *Client) Policies() map[string]*resilience.Policy {
	out := map[string]*resilience.Policy{}
	for _, s := range append(c.Logs.services(), c.Defender.service, c.Graph.service, c.management, c.Sentinel.intel) {
		out[s.policy.Name()] = s.policy
	}
	c.official.mu.Lock()
	defer c.official.mu.Unlock()
	for _, p := range c.official.byHost {
		out[p.Name()] = p
	}
	return out
}
