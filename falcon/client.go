package falcon

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-openapi/runtime"
	openapi "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"

	"github.com/jurymast/jurymast/internal/token"
	"github.com/jurymast/jurymast/resilience"
)

// Client talks to one Falcon customer. It is safe for concurrent use.
type Client struct {
	// Hosts finds, reads, contains and tags hosts.
	Hosts *Hosts
	// HostGroups finds groups of hosts and changes who is in them.
	HostGroups *HostGroups
	// Alerts finds, reads and changes alerts.
	Alerts *Alerts
	// Content reads, pauses and pins content updates, and which hosts took them.
	Content *Content
	// SensorUpdate reads the policies of sensor versions.
	SensorUpdate *SensorUpdate
	// Intel reads Falcon Intelligence: indicators, actors, reports, rules.
	Intel *Intel
	// IOCs finds, creates, changes and deletes custom indicators.
	IOCs *IOCs
	// Cases finds, opens and changes cases.
	Cases *Cases
	// Stream reads the event stream.
	Stream *Stream
	// RTR runs commands that read on hosts.
	RTR *RTR
	// NGSIEM searches Next-Gen SIEM.
	NGSIEM *NGSIEM

	cfg    Config
	policy *resilience.Policy
	auth   *token.Source
	wire   *resilience.Wire
	writer *openapi.Runtime // writes requests, never sends them
	pinned bool
	base   atomic.Pointer[url.URL]
	closed atomic.Bool

	announced sync.Map // operations whose end Falcon has announced

	mu      sync.Mutex
	rebased bool
}

// New returns a client. It does no network I/O, reads no environment and starts
// no goroutine; a wrong Config gives an error that names the field.
func New(cfg Config) (*Client, error) {
	base, pinned, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.hideSecret()
	c := &Client{cfg: cfg, pinned: pinned}
	c.base.Store(base)
	c.wire = &resilience.Wire{AllowHost: c.allowHost, RateLimit: rateLimit}
	if cfg.HTTPClient != nil {
		c.wire.Base = cfg.HTTPClient.Transport
	}
	if cfg.Policy.Quota == nil {
		if cfg.Policy.Quota, err = cfg.Quotas.Get("falcon", resilience.Window{Calls: callsPerMinute, Per: time.Minute}); err != nil {
			return nil, fmt.Errorf("falcon: Config.Quotas: %w", err)
		}
	}
	cfg.Policy = cfg.Policy.Inherit(resilience.Config{Logger: cfg.Logger})
	if c.policy, err = resilience.New("falcon", cfg.Policy); err != nil {
		return nil, fmt.Errorf("falcon: Config.Policy: %w", err)
	}
	if cfg.AuthPolicy.Quota == nil {
		if cfg.AuthPolicy.Quota, err = cfg.Quotas.Get("falcon.auth", resilience.Window{Calls: tokensPerMinute, Per: time.Minute}); err != nil {
			return nil, fmt.Errorf("falcon: Config.Quotas: %w", err)
		}
	}
	authPolicy, err := token.Policy("falcon.auth", cfg.AuthPolicy.Inherit(cfg.Policy))
	if err != nil {
		return nil, fmt.Errorf("falcon: Config.AuthPolicy: %w", err)
	}
	c.auth = token.New(authPolicy, c.fetchToken)
	c.auth.Spare = time.Minute / badTokensPerMinute
	json := runtime.JSONProducer()
	c.writer = &openapi.Runtime{
		DefaultMediaType: runtime.JSONMime, Formats: strfmt.Default, Host: base.Host, BasePath: "/",
		Producers: map[string]runtime.Producer{runtime.JSONMime: json, runtime.URLencodedFormMime: json},
	}
	c.Hosts = &Hosts{c}
	c.HostGroups = &HostGroups{c}
	c.Alerts = &Alerts{c}
	c.Content = &Content{c}
	c.SensorUpdate = &SensorUpdate{c}
	c.Intel = &Intel{c}
	c.IOCs = &IOCs{c}
	c.Cases = &Cases{c}
	c.Stream = &Stream{c}
	c.RTR = &RTR{c: c}
	c.NGSIEM = &NGSIEM{c}
	return c, nil
}

// Falcon's limits (facts/falcon.md 2.1). The first is for one customer, shared by
// all its API clients, the others are for one source address.
const (
	callsPerMinute     = 6000
	tokensPerMinute    = 300
	badTokensPerMinute = 15
)

// Run keeps the token warm, refreshing it at a third of its life, until ctx
// ends or the client is closed. It returns the context's error or ErrClosed.
func (c *Client) Run(ctx context.Context) error { return c.auth.Run(ctx) }

// Close refuses further calls with ErrClosed, ends a token request under way and
// waits for it no longer than ctx. Calls under way end by their own contexts.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	return c.auth.Close(ctx)
}

// Name is the product and, if Config.Cloud names it, the region: "falcon/us-1".
func (c *Client) Name() string {
	if c.cfg.Cloud == "" {
		return "falcon"
	}
	return "falcon/" + c.cfg.Cloud
}

// Policy is the policy that guards the API: its state says whether Falcon is
// being called at all.
func (c *Client) Policy() *resilience.Policy { return c.policy }

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
