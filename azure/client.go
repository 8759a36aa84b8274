package azure

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/jurymast/jurymast/internal/token"
	"github.com/jurymast/jurymast/resilience"
)

// Client talks to one tenant. It is safe for concurrent use.
type Client struct {
	// Defender is Microsoft Defender for Endpoint.
	Defender *Defender
	// Posture is Microsoft Defender for Cloud.
	Posture *Posture
	// ServiceHealth is what Azure says of its own health: evidence, not truth.
	ServiceHealth *ServiceHealth
	// Sentinel is Microsoft Sentinel.
	Sentinel *Sentinel
	// Logs is Azure Monitor's logs: ingestion and queries.
	Logs *Logs
	// Graph is the security part of Microsoft Graph.
	Graph *Graph

	cfg        Config
	place      place
	tokens     *tokens
	wire       *resilience.Wire // bounded, pinned to no host; services pin their own
	management *service         // see arm.go
	official   official
	closed     atomic.Bool
}

// New returns a client. It does no network I/O, reads no environment and starts
// no goroutine; a wrong Config gives an error that names the field.
func New(cfg Config) (*Client, error) {
	place, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{place: place, wire: &resilience.Wire{}}
	if cfg.HTTPClient != nil {
		c.wire.Base = cfg.HTTPClient.Transport
	}
	cfg.Policy = cfg.Policy.Inherit(resilience.Config{Logger: cfg.Logger})
	c.cfg = cfg
	authPolicy, err := token.Policy("azure.auth", cfg.AuthPolicy.Inherit(cfg.Policy))
	if err != nil {
		return nil, fmt.Errorf("azure: Config.AuthPolicy: %w", err)
	}
	c.tokens = &tokens{
		policy: authPolicy, factory: cfg.Credential, first: place.defender.scope,
		sources: map[audience]*token.Source{}, runs: map[int]func(*token.Source){},
		options: noRetries(azcore.ClientOptions{Cloud: place.authority, Transport: transporter{c.wire}}),
	}
	if c.Defender, err = newDefender(c); err != nil {
		return nil, err
	}
	if c.Graph, err = newGraph(c); err != nil {
		return nil, err
	}
	if c.management, err = newManagement(c); err != nil {
		return nil, err
	}
	c.Posture, c.ServiceHealth = newPosture(c), newServiceHealth(c)
	if c.Sentinel, err = newSentinel(c); err != nil {
		return nil, err
	}
	if c.Logs, err = newLogs(c); err != nil {
		return nil, err
	}
	return c, nil
}

// Run keeps tokens warm, refreshing them at a third of their life: that of Defender
// from the beginning, those of the other APIs from their first use. It ends with
// ctx or when the client is closed, and returns the context's error or ErrClosed.
func (c *Client) Run(ctx context.Context) error { return c.tokens.run(ctx) }

// Close refuses further calls with ErrClosed, ends token requests under way and
// waits for them no longer than ctx. Calls under way end by their own contexts.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	return c.tokens.close(ctx)
}

// Credential gives out this client's tokens to any official Azure client, and new
// ones if that was challenged. A token for another tenant comes from the
// same credential, if that may ask there (AdditionallyAllowedTenants).
func (c *Client) Credential() azcore.TokenCredential { return credential{c.tokens, c.cfg.TenantID} }

type credential struct {
	tokens *tokens
	tenant string
}

// GetToken implements azcore.TokenCredential.
func (c credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) != 1 {
		return azcore.AccessToken{}, resilience.Misusef("azure: a token is for one scope, not %d", len(o.Scopes))
	}
	a := audience{o.Scopes[0], o.TenantID}
	if strings.EqualFold(a.tenant, c.tenant) {
		a.tenant = ""
	}
	s, err := c.tokens.source(a)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	get := s.Get
	if o.Claims != "" {
		get = func(ctx context.Context) (token.Token, error) { return s.GetFor(ctx, o.Claims) }
	}
	t, err := get(ctx)
	if err != nil {
		noToken(ctx, err)
		return azcore.AccessToken{}, err
	}
	// RefreshOn makes azcore's own cache come back here, where renewing is free.
	return azcore.AccessToken{Token: t.Value, ExpiresOn: t.Expires, RefreshOn: time.Now().Add(time.Minute)}, nil
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
