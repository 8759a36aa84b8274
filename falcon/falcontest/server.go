// Package falcontest is a CrowdStrike Falcon cloud to test against, in process:
// real HTTP over TLS, with tokens, scopes, quotas, region redirects, the paging
// families, the containment state machine and the event streams of the real one.
//
//	srv, err := falcontest.NewServer(falcontest.Config{Hosts: []falcontest.Host{{Hostname: "ws-042"}}})
//	...
//	defer srv.Close()
//	client := srv.Client() // trusts the server, reaches it as api.crowdstrike.com
//
// A client comes in by [Server.URL], by the real host names through
// [Server.Client], or unmodified through the CONNECT proxy of [Server.Proxy].
// When the cloud is told to fail ([Server.Faults]) it fails on the wire; an
// effect whose answer was lost is still listed by [Server.Effects].
//
// Answers follow recordings of the real API where there are any. Where there
// are none the comment at the operation says what was assumed.
package falcontest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/sim"
	"github.com/jurymast/jurymast/resilience/fault"
)

// What a [Config] that says nothing else accepts and serves.
const (
	ClientID     = "5eed0000000000000000000000000001"
	ClientSecret = "falcontest-client-secret"
	CID          = "5eed0000000000000000000000000c1d"
)

// Config describes the simulated cloud. The zero value is a us-1 cloud without
// hosts that accepts [ClientID] and [ClientSecret] for everything.
type Config struct {
	// Cloud is the region this server is: us-1 (the default), us-2, us-3, eu-1,
	// us-gov-1 or us-gov-2. Requests to the API host of another region are
	// redirected here, as the real gateways do.
	Cloud string

	ClientID     string // default: the constant ClientID
	ClientSecret string // default: the constant ClientSecret
	CID          string // customer id, 32 hex digits; default: the constant CID

	// Scopes are what the API client may do, such as "devices:read" and
	// "devices:write" (called "Hosts" in the console); nil means everything,
	// an empty slice nothing.
	Scopes []string

	// Hosts are the devices known at the start. See [Host] for the defaults.
	Hosts []Host

	// HostGroups are the groups known at the start.
	HostGroups []HostGroup

	// Alerts are those raised before the start. See [Alert] for the defaults.
	Alerts []Alert

	// Cases are those opened before the start. See [Case] for the defaults.
	Cases []Case

	// ActionTime is how long a host stays containment_pending or
	// lift_containment_pending; default one second. A negative value means for
	// ever, as on a machine that is switched off.
	ActionTime time.Duration

	// TokenLife is how long a token is valid; default 1799 seconds.
	TokenLife time.Duration

	// The quotas count requests in a sliding minute.
	Quota         int // with a valid token, per CID; default 6000
	TokenQuota    int // to /oauth2/, per source address; default 300
	BadTokenQuota int // without a valid token or to the wrong region, per source address; default 15

	// The event streams: one per partition, see [Server.Publish].
	Partitions int // default 1
	// Heartbeat is how long a feed sends nothing before it sends a blank line;
	// default 30 seconds.
	Heartbeat time.Duration
	// SessionInterval is how long a session lasts from its beginning and from each
	// refresh; default 1800 seconds. Clients are told whole seconds, rounded down.
	SessionInterval time.Duration
	// SessionTokenLife is how long a session token opens feeds; default 4 hours.
	SessionTokenLife time.Duration
	// EventRetention is how long events are kept; default 7 days.
	EventRetention time.Duration
	// StreamAudit writes an AuthActivityAuditEvent into the partition whenever a
	// feed starts or stops, as the real service does.
	StreamAudit bool

	// Faults is the script of what goes wrong; nil means nothing yet, see [Server.Faults].
	Faults *fault.Plan

	// Now is the cloud's clock; nil means time.Now.
	Now func() time.Time

	// InMemory serves over in-process pipes, for testing/synctest: no socket is
	// opened, only Client reaches the server and there is no Proxy.
	InMemory bool
}

func (cfg *Config) setDefaults() error {
	orDefault(&cfg.Cloud, "us-1")
	orDefault(&cfg.ClientID, ClientID)
	orDefault(&cfg.ClientSecret, ClientSecret)
	orDefault(&cfg.CID, CID)
	orDefault(&cfg.ActionTime, time.Second)
	orDefault(&cfg.TokenLife, 1799*time.Second)
	orDefault(&cfg.Quota, 6000)
	orDefault(&cfg.TokenQuota, 300)
	orDefault(&cfg.BadTokenQuota, 15)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.CID = bareCID(cfg.CID)
	if _, ok := apiHosts[cfg.Cloud]; !ok {
		return fmt.Errorf("falcontest: unknown Config.Cloud %q", cfg.Cloud)
	}
	if cfg.TokenLife < 0 || cfg.Quota < 0 || cfg.TokenQuota < 0 || cfg.BadTokenQuota < 0 {
		return fmt.Errorf("falcontest: a negative TokenLife or quota")
	}
	// A misspelt scope would look like a missing permission.
	for _, s := range cfg.Scopes {
		if name, right, ok := strings.Cut(s, ":"); !ok || name == "" || (right != "read" && right != "write") {
			return fmt.Errorf("falcontest: scope %q is not of the form devices:read", s)
		}
	}
	return cfg.setStreamDefaults()
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Server is a running simulated cloud. It is safe for concurrent use. The
// embedded server gives the ways in (URL, Client, CAPEM, Proxy), the faults
// (Faults), the record (Requests, ResetRequests) and Close.
type Server struct {
	*sim.Server
	cloud *cloud
}

// Request is one request as the server saw it.
type Request = sim.Request

// NewServer starts a cloud. The caller must Close it.
func NewServer(cfg Config) (*Server, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	c := newCloud(cfg)
	for _, h := range cfg.Hosts {
		if id, ok := c.fleet.add(h, false); !ok {
			return nil, fmt.Errorf("falcontest: two hosts with DeviceID %q", id)
		}
	}
	for _, g := range cfg.HostGroups {
		c.groups.add(g, cfg.Now())
	}
	for _, a := range cfg.Alerts {
		if a.ID == "" {
			return nil, errors.New("falcontest: an alert without an ID")
		}
		c.alerts.add(a, cfg.CID, cfg.Now())
	}
	for _, one := range cfg.Cases {
		if one.ID == "" {
			return nil, errors.New("falcontest: a case without an ID")
		}
		c.cases.add(one, cfg.CID, cfg.Now())
	}
	s, err := sim.Start(sim.Config{
		Hosts: hostNames(cfg.Cloud), Handler: http.HandlerFunc(c.serve),
		Faults: cfg.Faults, Now: cfg.Now, InMemory: cfg.InMemory,
	})
	if err != nil {
		return nil, err
	}
	return &Server{Server: s, cloud: c}, nil
}

// Host returns the current state of a host; its Status follows the clock.
func (s *Server) Host(id string) (Host, bool) { return s.cloud.fleet.host(id) }

// Hosts returns the current state of every host, hidden ones too, by DeviceID.
func (s *Server) Hosts() []Host { return s.cloud.fleet.all() }

// AddHost adds a host, or replaces the one with the same DeviceID.
func (s *Server) AddHost(h Host) { s.cloud.fleet.add(h, true) }

// RemoveHost makes the cloud forget a host; an unknown id changes nothing.
func (s *Server) RemoveHost(id string) { s.cloud.fleet.remove(id) }

// SetStatus sets a host's containment status behind the API's back, as an
// analyst does in the console. A pending status runs its course from now; a
// status unknown to Falcon is served as it is. It is not an [Effect], and an
// unknown id changes nothing.
func (s *Server) SetStatus(id, status string) { s.cloud.fleet.setStatus(id, status) }

// Effects returns every action that came through the API and really changed a
// host, oldest first, whether or not its answer reached the client.
func (s *Server) Effects() []Effect { return s.cloud.fleet.done() }

// Alerts returns the current state of every alert, by ID.
func (s *Server) Alerts() []Alert { return s.cloud.alerts.all() }

// AddAlert raises an alert, or replaces the one with the same ID, which must not
// be empty.
func (s *Server) AddAlert(a Alert) { s.cloud.alerts.add(a, s.cloud.cfg.CID, s.cloud.cfg.Now()) }

// Cases returns the current state of every case, by ID.
func (s *Server) Cases() []Case { return s.cloud.cases.all() }

// AddCase opens a case, or replaces the one with the same ID, as an analyst does in
// the console. Without an ID it is given one.
func (s *Server) AddCase(c Case) { s.cloud.cases.add(c, s.cloud.cfg.CID, s.cloud.cfg.Now()) }

// CheckFilter tells what is wrong with a filter in Falcon's query language, as far
// as the simulator knows the language; fields of any name will do.
func CheckFilter(filter string) error {
	_, err := parseFilter(filter, nil)
	return err
}

// RevokeTokens makes every token issued so far answer 401.
func (s *Server) RevokeTokens() { s.cloud.tokens.revokeAll() }

// Tokens returns how many tokens were issued so far.
func (s *Server) Tokens() int { return s.cloud.tokens.count() }
