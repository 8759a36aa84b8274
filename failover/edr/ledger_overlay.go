package edr

import (
	"context"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// Who contains a host and then asks for its state must not be told that it is free,
// because the vendor's lists are behind: what was asked of a vendor counts until the
// vendor shows it, or has had settleTime to.

// overlay puts what the ledger knows better into a record.
func (e Entry) overlay(r *Record, now time.Time) {
	if now.Sub(e.At) >= settleTime || !e.Proven.IsZero() {
		return
	}
	accepted := e.Outcome == failover.Accepted || e.Outcome == failover.Applied
	var s State
	switch {
	case e.Verb == VerbContain && accepted && r.State == NotContained:
		s = ContainPending
	case e.Verb == VerbContain && e.Outcome == failover.Unknown && r.State == NotContained:
		s = StateUnknown
	case e.Verb == VerbRelease && accepted && r.State.Holds():
		s = ReleasePending
	default:
		return
	}
	r.State, r.FromLedger = s, true
}

// overlayAll overlays records with the ledger. A ledger that cannot be read is a gap.
func (f *Fleet) overlayAll(ctx context.Context, gaps []failover.Gap, records []Record) []failover.Gap {
	byProvider, err := f.entries(ctx, true)
	if err != nil {
		gaps = append(gaps, failover.Gap{Provider: "ledger", Err: err})
	}
	if len(byProvider) == 0 {
		return gaps
	}
	entries := map[recordID]Entry{}
	for _, some := range byProvider {
		for _, e := range some {
			entries[recordID{e.Provider, e.HostID}] = e
		}
	}
	now := time.Now()
	for i := range records {
		if e, ok := entries[records[i].key()]; ok {
			e.overlay(&records[i], now)
		}
	}
	return gaps
}
