package azure

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/internal/token"
	"github.com/jurymast/jurymast/resilience"
)

// Client talks to one tenant. It is safe for concurrent use.
type Client struct {
	// Defender is Microsoft Defender for Endpoint.
	Defender *Defender

	cfg    Config
	place  place
	policy *resilience.Policy
	tokens *tokens
	wire   *resilience.Wire // bounded, pinned to no host; see pipeline for the pinned one
	closed atomic.Bool
}

// New returns a client. It does no network I/O, reads no environment and starts
// no goroutine; a wrong Config gives an error that names the field.
func New(cfg Config) (*Client, error) {
	place, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, place: place, wire: &resilience.Wire{}}
	if cfg.HTTPClient != nil {
		c.wire.Base = cfg.HTTPClient.Transport
	}
	cfg.Policy = cfg.Policy.Inherit(resilience.Config{Logger: cfg.Logger})
	if c.policy, err = resilience.New("azure", cfg.Policy); err != nil {
		return nil, fmt.Errorf("azure: Config.Policy: %w", err)
	}
	authPolicy, err := token.Policy("azure.auth", cfg.AuthPolicy.Inherit(cfg.Policy))
	if err != nil {
		return nil, fmt.Errorf("azure: Config.AuthPolicy: %w", err)
	}
	c.tokens = &tokens{
		policy: authPolicy, factory: cfg.Credential, sources: map[string]*token.Source{},
		options: noRetries(azcore.ClientOptions{Cloud: place.authority, Transport: transporter{c.wire}}),
	}
	if c.Defender, err = newDefender(c); err != nil {
		return nil, err
	}
	return c, nil
}

// Run keeps the token of the Defender API warm, refreshing it at a third of its
// life, until ctx ends or the client is closed. It returns the context's error or
// ErrClosed.
func (c *Client) Run(ctx context.Context) error {
	s, err := c.tokens.source(c.place.audience)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Close refuses further calls with ErrClosed, ends token requests under way and
// waits for them no longer than ctx. Calls under way end by their own contexts.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	return c.tokens.close(ctx)
}

// Policy is the policy that guards the APIs: its state says whether Microsoft is
// being called at all.
func (c *Client) Policy() *resilience.Policy { return c.policy }

// Credential gives out this client's tokens to any official Azure client.
func (c *Client) Credential() azcore.TokenCredential { return credential{c.tokens} }

type credential struct{ tokens *tokens }

// GetToken implements azcore.TokenCredential.
func (c credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) != 1 {
		return azcore.AccessToken{}, resilience.Misusef("azure: a token is for one scope, not %d", len(o.Scopes))
	}
	s, err := c.tokens.source(o.Scopes[0])
	if err != nil {
		return azcore.AccessToken{}, err
	}
	t, err := s.Get(ctx)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	// RefreshOn makes azcore's own cache come back here, where renewing is free.
	return azcore.AccessToken{Token: t.Value, ExpiresOn: t.Expires, RefreshOn: time.Now().Add(time.Minute)}, nil
}

// pipeline returns azcore's pipeline for one of our own services: no retries of
// its own, a token for scope, and no host but those of the place.
func (c *Client) pipeline(scope string) (runtime.Pipeline, error) {
	s, err := c.tokens.source(scope)
	if err != nil {
		return runtime.Pipeline{}, err
	}
	pinned := *c.wire
	pinned.AllowHost = c.place.allow
	options := noRetries(policy.ClientOptions{Transport: transporter{&pinned}})
	options.Telemetry.ApplicationID = "jurymast"
	return runtime.NewPipeline("jurymast", "v0", runtime.PipelineOptions{
		PerRetry: []policy.Policy{&bearer{source: s}},
	}, &options), nil
}

// check refuses what this client will not do.
func (c *Client) check(kind resilience.Kind) error {
	switch {
	case c.closed.Load():
		return ErrClosed
	case c.cfg.ReadOnly && kind != resilience.Read:
		return ErrReadOnly
	}
	return nil
}
