package siem

import (
	"context"
	"sync"
)

// health is how the delivery stands.
type health struct {
	mu   sync.Mutex
	why  error // nil while batches are taken
	full error // of the spool
}

func (h *health) delivering() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why = nil
}

func (h *health) stuck(_ context.Context, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why = err
}

func (p *Pump) noteFull(err error) {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	p.health.full = err
}
