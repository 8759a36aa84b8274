package siem

import (
	"context"
)

// keep is the spool's cursor of what the primary has.
const keep = "keep"

// routes remembers what went to another sink than the primary, and gives it to the
// primary later.
type routes struct{ pump *Pump }

func openRoutes(_ context.Context, p *Pump) (*routes, error) { return &routes{p}, nil }

func (r *routes) delivered(context.Context, *load) error { return nil }

func (r *routes) run(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

// acknowledge lets the spool give back what is delivered.
func (p *Pump) acknowledge(_ context.Context, position uint64) error {
	return p.spool.Ack(live, position)
}
