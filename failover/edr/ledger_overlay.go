package edr

import (
	"context"
	"errors"
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

// overlayEach overlays the records of one host. A ledger that cannot be read is a gap.
func (f *Fleet) overlayEach(ctx context.Context, gaps []failover.Gap, records []Record) []failover.Gap {
	var errs []error
	now := time.Now()
	for i := range records {
		e, _, err := f.ledger.get(ctx, records[i].Provider, records[i].ID)
		if err != nil {
			errs = append(errs, wrapLedger(err))
		}
		e.overlay(&records[i], now) // the zero entry does nothing
	}
	return ledgerGap(gaps, errors.Join(errs...))
}

// overlayAll overlays the records of all hosts, of which few have an entry.
func (f *Fleet) overlayAll(ctx context.Context, gaps []failover.Gap, records []Record) []failover.Gap {
	list, err := f.ledger.list(ctx, func(Entry) bool { return true })
	gaps = ledgerGap(gaps, err)
	if len(list) == 0 {
		return gaps
	}
	entries := map[recordID]Entry{}
	for _, e := range list {
		entries[recordID{e.Provider, e.HostID}] = e
	}
	now := time.Now()
	for i := range records {
		if e, ok := entries[records[i].key()]; ok {
			e.overlay(&records[i], now)
		}
	}
	return gaps
}

func ledgerGap(gaps []failover.Gap, err error) []failover.Gap {
	if err != nil {
		gaps = append(gaps, failover.Gap{Provider: "ledger", Err: err})
	}
	return gaps
}
