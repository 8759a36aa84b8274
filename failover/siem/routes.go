package siem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jurymast/jurymast/failover/kv"
)

// keep is the spool's cursor of what the primary has.
const keep = "keep"

// span is positions in the spool that went to another sink than the primary.
type span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last,omitempty"` // 0: still going on
}

// routes remembers what the primary has not got (with Config.Backfill), so that the
// spool keeps it. It is on disk before the spool hears that it was delivered: after a
// crash the primary may get something twice, and never nothing.
type routes struct {
	pump *Pump

	mu      sync.Mutex
	rev     uint64 // of the record in the store
	spans   []span // in order; only the last one can be going on
	givenUp uint64 // positions that the primary will not get
	ended   chan struct{}
}

const routesKey = "siem/routes"

type routesRecord struct {
	Spans   []span `json:"spans"`
	GivenUp uint64 `json:"given_up,omitempty"`
}

func openRoutes(ctx context.Context, p *Pump) (*routes, error) {
	r := &routes{pump: p, ended: make(chan struct{}, 1)}
	if !p.config.Backfill {
		return r, nil
	}
	e, err := p.state.Get(ctx, routesKey)
	var rec routesRecord
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return r, nil
	case err == nil:
		err = json.Unmarshal(e.Value, &rec)
	}
	if err != nil {
		return nil, fmt.Errorf("siem: what the primary has not got yet: %w", err)
	}
	r.rev, r.spans, r.givenUp = e.Rev, rec.Spans, rec.GivenUp
	// What was going on ended with the process; what had not been delivered will be.
	if n := len(r.spans); n > 0 && r.spans[n-1].Last == 0 {
		r.spans[n-1].Last = p.spool.Stats().Acked[live]
		if r.spans[n-1].Last < r.spans[n-1].First {
			r.spans = r.spans[:n-1]
		}
	}
	signal(r.ended)
	return r, nil
}

// delivered hears of every load, in order, before it is acknowledged.
func (r *routes) delivered(ctx context.Context, l *load) error {
	if !r.pump.config.Backfill {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.spans)
	going := n > 0 && r.spans[n-1].Last == 0
	switch {
	case l.elsewhere && !going:
		r.spans = append(r.spans, span{First: l.first})
	case !l.elsewhere && going:
		r.spans[n-1].Last = max(l.first-1, r.spans[n-1].First)
		signal(r.ended)
	default:
		return nil
	}
	return r.save(ctx)
}

// save writes what is known to the store. The caller holds r.mu.
func (r *routes) save(ctx context.Context) (err error) {
	if r.rev, err = saveState(ctx, r.pump.state, routesKey, routesRecord{r.spans, r.givenUp}, r.rev); err != nil {
		return fmt.Errorf("siem: what the primary has not got yet: %w", err)
	}
	return nil
}

// floor is up to where the spool need not keep anything for the primary.
func (r *routes) floor(delivered uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) > 0 {
		return min(delivered, r.spans[0].First-1)
	}
	return delivered
}

// acknowledge lets the spool give back what is delivered.
func (p *Pump) acknowledge(position uint64) error {
	if err := p.spool.Ack(live, position); err != nil {
		return fmt.Errorf("siem: %w", err)
	}
	return p.release(position)
}

func (p *Pump) release(delivered uint64) error {
	if !p.config.Backfill {
		return nil
	}
	if err := p.spool.Ack(keep, p.routes.floor(delivered)); err != nil {
		return fmt.Errorf("siem: %w", err)
	}
	return nil
}

// next is the oldest span that is over.
func (r *routes) next() (span, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) == 0 || r.spans[0].Last == 0 {
		return span{}, false
	}
	return r.spans[0], true
}

// got moves the oldest span's beginning behind what the primary has got.
func (r *routes) got(ctx context.Context, last uint64) error {
	r.mu.Lock()
	if len(r.spans) > 0 && r.spans[0].First <= last {
		if s := &r.spans[0]; s.Last != 0 && s.Last <= last {
			r.spans = slices.Delete(r.spans, 0, 1)
		} else {
			s.First = last + 1
		}
		if err := r.save(ctx); err != nil {
			r.mu.Unlock()
			return err
		}
	}
	r.mu.Unlock()
	return r.pump.release(r.pump.spool.Stats().Acked[live])
}

// giveUp lets go of the oldest quarter of what is kept for the primary only, because
// there is no room for new events. Other sinks have it.
func (r *routes) giveUp(ctx context.Context) error {
	delivered := r.pump.spool.Stats().Acked[live]
	r.mu.Lock()
	if len(r.spans) == 0 || r.spans[0].First > delivered {
		r.mu.Unlock()
		return nil
	}
	s := r.spans[0]
	if s.Last == 0 {
		s.Last = delivered
	}
	last := s.First + (s.Last-s.First)/4
	r.givenUp += last - s.First + 1
	r.mu.Unlock()
	r.pump.config.Logger.WarnContext(ctx, "siem: the spool is full: the primary will not get what another sink has", "sink", r.pump.primary(), "first", s.First, "last", last)
	return r.got(ctx, last)
}
