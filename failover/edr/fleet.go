package edr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/kv"
)

// OnUnknown says what Contain does when a vendor may have acted and cannot be
// asked.
type OnUnknown uint8

const (
	// NextProvider contains the host at the next vendor too: containing twice is
	// safe, and Release undoes both.
	NextProvider OnUnknown = iota
	// Stop returns an error that matches ErrUnknownOutcome.
	Stop
)

// Config sets up a [Fleet]. Drivers and Store (or Volatile) are required.
type Config struct {
	// Drivers in order of preference.
	Drivers []Driver
	// Require names abilities that every driver must have; New fails if one lacks any.
	Require []Ability
	// Store keeps the ledger of what was contained where, and the links of records that
	// are of one machine. Open one with kv.Open.
	Store kv.Store
	// Volatile says that a ledger in memory is good enough: after a restart
	// nothing remembers what this process contained, except the vendors.
	Volatile bool
	// MinIdentity is how sure it must be that several vendors' records are of one
	// machine before it is contained or released; default Strong. A host that one
	// vendor alone knows, or that is named by Native, needs no more than that.
	MinIdentity Grade
	// OnUnknown: NextProvider by default.
	OnUnknown OnUnknown
	// ReconcileFor is how long Contain and Release read a vendor's state after an
	// answer was lost. Default 5 s.
	ReconcileFor time.Duration
	// Guards stand before every containment; the zero value allows all.
	Guards Guards
	// Audit hears of every effect at every vendor when its outcome is known, of every
	// refusal, and of outcomes that were unknown and became known; see AuditTo. The
	// caller waits for it; it is called by several goroutines.
	Audit func(context.Context, AuditRecord)
	// OnDebt hears after every sweep of the releases that are still owed: hosts that
	// may be cut off although somebody let them go. Wake somebody. It must not block.
	OnDebt func(context.Context, []Debt)
	// Total bounds an operation over all vendors when the caller's context has no
	// earlier deadline. Default 30 s.
	Total time.Duration
	// Hold is the least time between two changes of the vendor that calls begin with, see
	// failover.Config. Default 30 s.
	Hold time.Duration
	// LinkTTL is how long a link that was learned is kept without being proven again.
	// Default 90 days.
	LinkTTL time.Duration
	// SilentAfter is how old the last sign of life of a host may be for it to count as
	// alive. Default 7 days, after which Defender calls a device inactive too: less would
	// take holidays for failures, and its records alone may be a day old.
	SilentAfter time.Duration
	// BelieveAfter is how long a list that lost most of its hosts must stay the same to
	// be believed; see ErrImplausible. Default 10 min.
	BelieveAfter time.Duration
	// Heartbeats, if not nil, is a witness beside the vendors for Protection.
	Heartbeats Heartbeats

	TracerProvider trace.TracerProvider // default: the global one
	MeterProvider  metric.MeterProvider // default: the global one
	Logger         *slog.Logger         // default: discards
}

// Fleet is the hosts of all vendors. It is safe for concurrent use and holds no
// goroutine; it needs no closing, its Store does.
type Fleet struct {
	cfg    Config
	group  *failover.Group[Driver]
	ledger *ledger
	links  *linkStore
	flight keyedLock
	radius radius
	log    *slog.Logger

	owedNow metric.Int64Gauge

	scanning keyedLock // apart from flight: a containment does not wait for a scan
}

// New returns a fleet. It does no I/O; a wrong Config gives an error that names
// the field.
func New(cfg Config) (*Fleet, error) {
	if len(cfg.Drivers) == 0 {
		return nil, errors.New("edr: Config.Drivers is empty: pass at least one, such as crowdstrike.EDR(client)")
	}
	if cfg.Store == nil {
		if !cfg.Volatile {
			return nil, errors.New("edr: Config.Store is nil: open one with kv.Open(dir), or set Config.Volatile if the ledger may be lost")
		}
		cfg.Store = kv.NewMemory()
	}
	if err := checkAbilities(cfg.Drivers, cfg.Require); err != nil {
		return nil, err
	}
	if err := cfg.Guards.check(); err != nil {
		return nil, err
	}
	if cfg.MinIdentity == Alone {
		cfg.MinIdentity = Strong
	}
	if cfg.Total == 0 {
		cfg.Total = 30 * time.Second
	}
	if cfg.Hold < 0 {
		return nil, fmt.Errorf("edr: Config.Hold is %v: want a time, or 0 for 30 s", cfg.Hold)
	}
	if cfg.Hold == 0 {
		cfg.Hold = 30 * time.Second
	}
	if cfg.ReconcileFor == 0 {
		cfg.ReconcileFor = 5 * time.Second
	}
	if cfg.LinkTTL == 0 {
		cfg.LinkTTL = 90 * 24 * time.Hour
	}
	if cfg.SilentAfter == 0 {
		cfg.SilentAfter = 7 * 24 * time.Hour
	}
	if cfg.BelieveAfter == 0 {
		cfg.BelieveAfter = 10 * time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var members []failover.Member[Driver]
	for i, d := range cfg.Drivers {
		if d.Find == nil || d.Isolate == nil {
			return nil, fmt.Errorf("edr: Config.Drivers[%d] (%s) cannot find or isolate hosts: a fleet needs both abilities", i, d.Provider)
		}
		if err := checkLimits(d.Limits); err != nil {
			return nil, fmt.Errorf("edr: Config.Drivers[%d] (%s): %w", i, d.Provider, err)
		}
		members = append(members, failover.Member[Driver]{ID: d.Provider, Value: d})
	}
	group, err := failover.NewGroup(failover.Config{
		Capability: "edr", Total: cfg.Total, Hold: cfg.Hold,
		TracerProvider: cfg.TracerProvider, MeterProvider: cfg.MeterProvider, Logger: cfg.Logger,
	}, members...)
	if err != nil {
		return nil, fmt.Errorf("edr: Config.Drivers: %w", err)
	}
	owedNow, err := owedGauge(cfg.MeterProvider)
	if err != nil {
		return nil, fmt.Errorf("edr: Config.MeterProvider: %w", err)
	}
	return &Fleet{cfg: cfg, group: group, ledger: &ledger{cfg.Store}, links: &linkStore{cfg.Store}, log: cfg.Logger, owedNow: owedNow}, nil
}

// Providers returns the vendors in order of preference.
func (f *Fleet) Providers() []string {
	var out []string
	for _, m := range f.group.Members() {
		out = append(out, m.ID)
	}
	return out
}

// Cordon keeps calls away from a vendor until Uncordon, for a reason that somebody
// gives. A release goes there all the same, because it must happen wherever a host
// is held. It lasts as long as the process.
func (f *Fleet) Cordon(provider, reason, who string) error {
	return f.group.Cordon(provider, reason, who)
}

// Uncordon lets calls to a vendor again and reports whether it was cordoned.
func (f *Fleet) Uncordon(provider string) bool { return f.group.Uncordon(provider) }

// Cordons lists the cordons in force.
func (f *Fleet) Cordons() []failover.Cordon { return f.group.Cordons() }

// keyedLock lets one operation a host go on at a time, in this process.
type keyedLock struct {
	mu    sync.Mutex
	locks map[string]chan struct{}
}

// lock waits for its turn at a host, by the short name, or what may have been cut off
// it: whether a vendor that knows more answered must not matter.
func (k *keyedLock) lock(ctx context.Context, h Host) (unlock func(), err error) {
	label, _ := splitName(h.Name)
	key := cut(label)
	for {
		k.mu.Lock()
		busy, ok := k.locks[key]
		if !ok {
			done := make(chan struct{})
			if k.locks == nil {
				k.locks = map[string]chan struct{}{}
			}
			k.locks[key] = done
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.locks, key)
				k.mu.Unlock()
				close(done)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
