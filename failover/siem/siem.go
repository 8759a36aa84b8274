// Package siem brings events from where they happen to where they are looked at, and
// loses none: sources, a spool on disk, sinks.
//
// # When a sink fails
//
// The next sink of Config.Sinks takes over at once; when the primary is well again,
// deliveries go back to it, and with Config.Backfill it gets what went elsewhere in
// the meantime. If all fail, the events wait in the spool, and what a sink may have
// taken without saying so is sent again. Every row has an id (column JurymastId) that
// is the same whenever the event is read again:
//
//	Events_CL | summarize arg_max(TimeGenerated, *) by JurymastId
//
// A row that a sink refuses is found by halving its batch, put into the dead letters
// with the sink's reason, and the others are delivered.
//
// # When a source fails
//
// It is started again, from the last event that is on disk: the position is derived
// from the spool and cannot be ahead of it. A source that is silent longer than it
// ever is, is told by [Pump.Status]. What the spool has lost, or the source says that it
// cannot read any more, is a [Gap]; that a source has forgotten events while nobody
// read it is not noticed.
//
// # When the disk fails, or the process
//
// With a full disk the sources wait, nothing is dropped, and it goes on by itself once
// there is room. After a crash the batches that were under way are sent again, in
// strict order with Config.Senders 1. A damaged spool says which events it has lost,
// and they are read again where the source still has them.
package siem

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/siem/spool"
	"github.com/jurymast/jurymast/resilience"
)

// Config sets up a Pump. Dir, Sources and Sinks are required, the rest has defaults.
type Config struct {
	// Dir is where the pump keeps its spool, its state and its dead letters, in files
	// that only the process's user can read. One pump at a time uses it.
	Dir string
	// Sources are read at the same time.
	Sources []Source
	// Sinks in order of preference: the first one, the primary, gets all events as
	// long as it takes them.
	Sinks []failover.Member[Sink]
	// Mapping makes rows of events. Default [Envelope].
	Mapping Mapping

	// MaxBytes limits the spool on disk. When it is full the sources wait. Default 8 GiB,
	// some 40 million events.
	MaxBytes int64
	// MaxAge is how long an event waits for a sink before it is given up, as a Gap.
	// Default 0: for ever.
	MaxAge time.Duration
	// Senders is how many batches are on their way at the same time. Default 1: rows
	// arrive in the order of their feed. More are faster over long distances, and keep
	// the order within a batch only.
	Senders int
	// Timeout bounds one delivery over all sinks. Default 60 s.
	Timeout time.Duration
	// Backfill gives the primary, when it is well again, what went to other sinks.
	// The spool keeps it until then; when it is full that is given up first.
	Backfill bool
	// Hold is the least time between two changes of the sink that deliveries begin
	// with, as failover.Config.Hold. Default 30 s.
	Hold time.Duration
	// AEAD encrypts the events in the spool, with the caller's key; dead letters are
	// not encrypted. Default: none.
	AEAD cipher.AEAD
	// Lease lets one of several processes read at a time. Default: none.
	Lease *Lease

	TracerProvider trace.TracerProvider // default: the global one
	MeterProvider  metric.MeterProvider // default: the global one
	Logger         *slog.Logger         // default: discards
}

// live is the spool's cursor of what is delivered.
const live = "live"

// Pump moves events. It is safe for concurrent use.
type Pump struct {
	config Config
	group  *failover.Group[Sink]
	spool  *spool.Spool
	lease  *keeper
	state  *kv.Bolt
	dead   *lines
	routes *routes
	gaps   *gaps
	watch  *watch
	fresh  *freshness
	health health
	counts counts
	busy   atomic.Bool // Run
	redo   atomic.Bool // Replay
}

type counts struct{ spooled, delivered, backfilled, dead atomic.Int64 }

var sourceNames = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

func (c *Config) check() error {
	switch {
	case c.Dir == "":
		return resilience.Misusef("siem: Config.Dir is empty: name a directory for what must outlive a crash")
	case len(c.Sources) == 0:
		return resilience.Misusef("siem: Config.Sources is empty")
	case len(c.Sinks) == 0:
		return resilience.Misusef("siem: Config.Sinks is empty")
	case c.MaxBytes < 0 || c.MaxAge < 0 || c.Senders < 0 || c.Timeout < 0 || c.Hold < 0:
		return resilience.Misusef("siem: Config.MaxBytes, MaxAge, Senders, Timeout and Hold must not be negative")
	case c.MaxBytes > 0 && c.MaxBytes < minBytes:
		return resilience.Misusef("siem: Config.MaxBytes is %d: want %d or more", c.MaxBytes, int64(minBytes))
	}
	seen := map[string]bool{}
	for i, s := range c.Sources {
		if s == nil {
			return resilience.Misusef("siem: Config.Sources[%d] is nil", i)
		}
		if name := s.Name(); !sourceNames.MatchString(name) || seen[name] {
			return resilience.Misusef("siem: Config.Sources[%d] has the name %q: want 1 to 64 of a-z, 0-9, '.', '-' and '_', each name once", i, name)
		}
		seen[s.Name()] = true
		if p, ok := s.(*Poll); ok {
			if err := p.check(); err != nil {
				return err
			}
		}
	}
	for i, m := range c.Sinks {
		if m.Value == nil {
			return resilience.Misusef("siem: Config.Sinks[%d] has no Value", i)
		}
	}
	if c.Lease != nil {
		if err := c.Lease.check(); err != nil {
			return err
		}
	}
	if c.Mapping == nil {
		c.Mapping = Envelope
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 8 << 30
	}
	if c.Senders == 0 {
		c.Senders = 1
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// minBytes of a spool: a few segments must fit, or none can be given back.
const minBytes = 4 << 20

// Open opens the pump's directory; nothing is read or sent before [Pump.Run]. A
// directory in use gives an error that matches spool.ErrInUse.
func Open(cfg Config) (*Pump, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Pump{config: cfg, watch: newWatch(), fresh: newFreshness(), lease: newKeeper(cfg.Lease, cfg.Logger), health: health{log: cfg.Logger}}
	p.watch.pump = p
	var err error
	p.group, err = failover.NewGroup(failover.Config{
		Capability: "siem", Total: cfg.Timeout, Hold: cfg.Hold,
		TracerProvider: cfg.TracerProvider, MeterProvider: cfg.MeterProvider, Logger: cfg.Logger,
	}, cfg.Sinks...)
	if err != nil {
		return nil, fmt.Errorf("siem: Config.Sinks: %w", err)
	}
	if err := p.open(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Pump) open() (err error) {
	cursors := []string{live}
	if p.config.Backfill {
		cursors = append(cursors, keep)
	}
	p.spool, err = spool.Open(filepath.Join(p.config.Dir, "spool"), spool.Config{
		Sinks: cursors, MaxBytes: p.config.MaxBytes, SegmentBytes: min(64<<20, p.config.MaxBytes/4),
	})
	if err != nil {
		return fmt.Errorf("siem: %w", err)
	}
	if p.state, err = kv.Open(p.config.Dir); err != nil {
		return fmt.Errorf("siem: %w", err)
	}
	p.watch.load(context.Background(), p.state)
	if err := p.fresh.prepare(p.meter()); err != nil {
		return fmt.Errorf("siem: Config.MeterProvider: %w", err)
	}
	if p.dead, err = openDead(p.config.Dir); err != nil {
		return fmt.Errorf("siem: %w", err)
	}
	if p.gaps, err = openGaps(context.Background(), p); err != nil {
		return fmt.Errorf("siem: %w", err)
	}
	p.routes, err = openRoutes(context.Background(), p)
	return err
}

// Close releases the directory. Run must have ended.
func (p *Pump) Close() error {
	if p.busy.Load() {
		return resilience.Misusef("siem: Close while Run runs: end its context first")
	}
	var errs []error
	if p.dead != nil {
		errs = append(errs, p.dead.close())
	}
	if p.spool != nil {
		errs = append(errs, p.spool.Close())
	}
	if p.state != nil {
		errs = append(errs, p.state.Close())
	}
	return errors.Join(errs...)
}

func (p *Pump) primary() string { return p.config.Sinks[0].ID }

// cursor is up to where a feed will not be lost any more: what is in our spool will be
// delivered, and what came before it, or before the lease's offset, is.
func (p *Pump) cursor(feed string) (uint64, bool) {
	offset, ok := p.spool.Cursor(feed)
	if theirs, known := p.lease.offset(feed); known && (!ok || theirs > offset) {
		return theirs, true
	}
	return offset, ok
}
