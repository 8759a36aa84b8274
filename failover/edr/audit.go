package edr

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// AuditRecord is one effect at one vendor, or one that was refused before any vendor
// was asked: who, why, where, and what came of it.
type AuditRecord struct {
	Time     time.Time        `json:"time"`
	Verb     Verb             `json:"verb"`
	Intent   Intent           `json:"intent"`
	Host     string           `json:"host"`               // its name
	Provider string           `json:"provider,omitempty"` // "" if none was asked
	HostID   string           `json:"host_id,omitempty"`  // the vendor's
	Outcome  failover.Outcome `json:"outcome"`
	// Settled: the outcome was unknown when the effect was made, and a later read of
	// the vendor's state told it.
	Settled bool   `json:"settled,omitempty"`
	Error   string `json:"error,omitempty"`
}

// AuditTo writes records as JSON lines, for Config.Audit. What cannot be written is
// given to failed, which may be nil. The function is safe for concurrent use.
func AuditTo(w io.Writer, failed func(AuditRecord, error)) func(context.Context, AuditRecord) {
	var mu sync.Mutex
	return func(_ context.Context, r AuditRecord) {
		line, err := json.Marshal(r)
		if err == nil {
			mu.Lock()
			_, err = w.Write(append(line, '\n'))
			mu.Unlock()
		}
		if err != nil && failed != nil {
			failed(r, err)
		}
	}
}

func (f *Fleet) audit(ctx context.Context, r AuditRecord, err error) {
	if f.cfg.Audit == nil {
		return
	}
	r.Time = time.Now()
	if err != nil {
		r.Error = err.Error()
	}
	f.cfg.Audit(ctx, r)
}

func (e Entry) record() AuditRecord {
	return AuditRecord{Verb: e.Verb, Intent: e.Intent, Host: e.Name, Provider: e.Provider, HostID: e.HostID, Outcome: e.Outcome}
}
