package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Config sets up a [Group].
type Config struct {
	// Capability that the providers share, such as "edr". It is part of span names
	// and a metric label. Required.
	Capability string
	// Total bounds a call over all providers when the caller's context has no
	// earlier deadline. Default 30 s.
	Total time.Duration
	// SharedFate admits providers that all share one Member.Plane: whatever takes it
	// down takes all of them, so they are no backup for each other, and NewGroup
	// refuses them otherwise.
	SharedFate bool

	// SwitchAfter is how many failures in a row, by calls, make the next provider the
	// current one; if its breaker refuses calls, one is enough. Default 3. Only
	// failures that speak against the provider's health count. Every call that fails
	// still goes on to the next provider by itself, at once.
	SwitchAfter int
	// Hold is the least time between two changes of the current provider, whatever
	// happens: while providers flap, calls go on to the next one by one. Default 30 s.
	// Without [Group.Run], when it has passed since the change to a less preferred
	// provider, one read at a time begins with a more preferred one, as a trial; after
	// a failed trial the next waits as long again. Effects are never a trial.
	Hold time.Duration
	// FailbackAfter is how many good probes (by Run) or trials in a row make a more
	// preferred provider the current one again. Default 3.
	FailbackAfter int

	TracerProvider trace.TracerProvider // default: the global one
	MeterProvider  metric.MeterProvider // default: the global one
	Logger         *slog.Logger         // default: discards
}

// Member is one provider of a group.
type Member[P any] struct {
	ID    string // product and region, such as "falcon/us-1"
	Value P
	// Plane is what the provider falls together with, such as "entra" or
	// "azure/westeurope"; "" if nothing is known. After a failure those on other
	// planes are asked first.
	Plane string
}

// Group is an ordered set of providers, the preferred one first. It remembers with
// which one calls begin ([Group.Current]). Its members do not change; it is safe for
// concurrent use and holds no goroutine.
type Group[P any] struct {
	cfg     Config
	members []Member[P]
	tel     *telemetry
	pace    *pace
	cordons *cordons

	preference *preference // of this group and all groups made from it
	named      string      // the provider that calls begin with all the same, see From
}

// NewGroup returns a group. A wrong Config or member gives an error that names it.
func NewGroup[P any](cfg Config, members ...Member[P]) (*Group[P], error) {
	if cfg.Capability == "" {
		return nil, errors.New("failover: Config.Capability is empty: name what the providers share, such as edr")
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("failover: group %s has no providers", cfg.Capability)
	}
	seen := map[string]bool{}
	for i, m := range members {
		if m.ID == "" || seen[m.ID] {
			return nil, fmt.Errorf("failover: group %s: provider %d has the id %q: each needs one of its own, such as falcon/us-1", cfg.Capability, i, m.ID)
		}
		seen[m.ID] = true
	}
	if plane := members[0].Plane; len(members) > 1 && plane != "" && !cfg.SharedFate &&
		!slices.ContainsFunc(members, func(m Member[P]) bool { return m.Plane != plane }) {
		return nil, fmt.Errorf("failover: group %s: all providers share the plane %q and are no backup for each other: add one elsewhere, or set Config.SharedFate", cfg.Capability, plane)
	}
	if cfg.SwitchAfter < 0 || cfg.Hold < 0 || cfg.FailbackAfter < 0 {
		return nil, fmt.Errorf("failover: group %s: Config.SwitchAfter %d, Hold %v, FailbackAfter %d: none can be negative; 0 is the default", cfg.Capability, cfg.SwitchAfter, cfg.Hold, cfg.FailbackAfter)
	}
	if cfg.Total == 0 {
		cfg.Total = 30 * time.Second
	}
	if cfg.SwitchAfter == 0 {
		cfg.SwitchAfter = 3
	}
	if cfg.Hold == 0 {
		cfg.Hold = 30 * time.Second
	}
	if cfg.FailbackAfter == 0 {
		cfg.FailbackAfter = 3
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	tel, err := newTelemetry(cfg)
	if err != nil {
		return nil, fmt.Errorf("failover: group %s: MeterProvider: %w", cfg.Capability, err)
	}
	g := &Group[P]{cfg: cfg, members: slices.Clone(members), tel: tel, pace: &pace{}, cordons: &cordons{byID: map[string]Cordon{}}}
	g.preference = newPreference(cfg, g.cordons)
	for _, m := range members {
		g.preference.add(m.ID, m.Plane)
	}
	return g, nil
}

// Members returns the providers in order of preference.
func (g *Group[P]) Members() []Member[P] { return slices.Clone(g.members) }

// Only returns the group reduced to the providers that keep accepts, in the same
// order; it may be empty, and then every call on it fails with ErrNoProvider. Both
// share what they learn of the providers; calls that the current one cannot serve
// begin with the next below it.
func (g *Group[P]) Only(keep func(Member[P]) bool) *Group[P] {
	out := *g
	out.members = slices.DeleteFunc(slices.Clone(g.members), func(m Member[P]) bool { return !keep(m) })
	return &out
}

// ids of the first n providers.
func (g *Group[P]) ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = g.members[i].ID
	}
	return out
}

// deadline of a call that begins now, and whether it is the caller's own.
func (g *Group[P]) deadline(ctx context.Context) (time.Time, bool) {
	end := time.Now().Add(g.cfg.Total)
	if d, ok := ctx.Deadline(); ok && !d.After(end) {
		return d, true
	}
	return end, false
}
