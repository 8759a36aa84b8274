package siem

import (
	"context"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/siem/spool"
)

type gaps struct{ store kv.Store }

func openGaps(_ context.Context, store kv.Store) (*gaps, error) { return &gaps{store}, nil }

func (g *gaps) run(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

// lost notes what the spool cannot read any more.
func (p *Pump) lost(ctx context.Context, gap *spool.GapError) {}

// expired reports that a chunk has waited too long, and notes it.
func (p *Pump) expired(ctx context.Context, c *spool.Chunk, spooled time.Time) bool { return false }

// recovered notes what the spool found damaged when it was opened.
func (p *Pump) recovered(ctx context.Context) {}
