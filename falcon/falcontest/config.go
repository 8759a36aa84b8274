package falcontest

import (
	"errors"
	"fmt"
	"strings"
	"time"

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

	// ContentPolicies and SensorUpdatePolicies come before the default ones, which
	// are always there, in the order in which hosts are tried on them. One named
	// platform_default replaces the default.
	ContentPolicies      []ContentPolicy
	SensorUpdatePolicies []SensorUpdatePolicy

	// Intel is what Falcon Intelligence knows at the start.
	Intel Intel

	// IOCs are the custom indicators known at the start. See [IOC] for the defaults.
	IOCs []IOC
	// IOCBatch is how many indicators one call may create or change; default 2000.
	IOCBatch int

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

	// Real Time Response, see [Server.RTRCommand].
	RTRIdle     time.Duration // how long a session lasts without use; default 10 minutes
	RTRPart     int           // characters of stdout, and of stderr, in one part of an output; default 4096
	RTROwnOrder bool          // parts carry their own number, as the documentation says, and not the next one's

	// Search answers the searches of Next-Gen SIEM, at the moment they are started;
	// nil means that they find nothing.
	Search func(Search) SearchResult
	// SearchIdle is how long a search lives that is not polled; default 30 seconds,
	// as in LogScale's documentation (90 in that of older versions).
	SearchIdle time.Duration
	// IngestLimit is how many bytes, after decompression, a HEC connector takes in
	// one request; default 16 MiB. The real limit is not known.
	IngestLimit int

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
	orDefault(&cfg.RTRIdle, 10*time.Minute)
	orDefault(&cfg.RTRPart, 4096)
	orDefault(&cfg.SearchIdle, 30*time.Second)
	orDefault(&cfg.IngestLimit, 16<<20)
	orDefault(&cfg.IOCBatch, iocBatch)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.CID = bareCID(cfg.CID)
	if _, ok := apiHosts[cfg.Cloud]; !ok {
		return fmt.Errorf("falcontest: unknown Config.Cloud %q", cfg.Cloud)
	}
	if cfg.TokenLife < 0 || cfg.Quota < 0 || cfg.TokenQuota < 0 || cfg.BadTokenQuota < 0 || cfg.RTRIdle < 0 || cfg.RTRPart < 0 {
		return fmt.Errorf("falcontest: a negative TokenLife, quota, RTRIdle or RTRPart")
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

// fill fills the cloud with what is known at the start.
func (c *cloud) fill() error {
	cfg := c.cfg
	for _, h := range cfg.Hosts {
		if id, ok := c.fleet.add(h, false); !ok {
			return fmt.Errorf("falcontest: two hosts with DeviceID %q", id)
		}
	}
	for _, g := range cfg.HostGroups {
		c.groups.add(g, cfg.Now())
	}
	for _, a := range cfg.Alerts {
		if a.ID == "" {
			return errors.New("falcontest: an alert without an ID")
		}
		c.alerts.add(a, cfg.CID, cfg.Now())
	}
	if err := c.addPolicies(); err != nil {
		return err
	}
	for _, i := range cfg.IOCs {
		if i.Type == "" || i.Value == "" {
			return errors.New("falcontest: an IOC without Type or Value")
		}
		c.iocs.add(i, cfg.CID, cfg.Now())
	}
	for _, one := range cfg.Cases {
		if one.ID == "" {
			return errors.New("falcontest: a case without an ID")
		}
		c.cases.add(one, cfg.CID, cfg.Now())
	}
	var err error
	c.intel, err = newIntel(cfg.Intel, cfg.Now())
	return err
}
