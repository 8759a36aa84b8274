package edr

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

const keyProvider = attribute.Key("jurymast.provider")

func owedGauge(mp metric.MeterProvider) (metric.Int64Gauge, error) {
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	return mp.Meter("github.com/jurymast/jurymast/failover/edr").Int64Gauge("jurymast.edr.release_debt", metric.WithUnit("{host}"),
		metric.WithDescription("Hosts that were to be released and may still be contained, at the last sweep."))
}

// Debts lists the releases that were wanted and are not known to have happened, the
// hosts that may be cut off although somebody let them go. It reads the ledger and
// asks no vendor.
func (f *Fleet) Debts(ctx context.Context) ([]Entry, error) { return f.ledger.list(ctx, Entry.Debt) }

// Forget takes an entry out of the ledger that can never be settled, such as that of a
// host which its vendor does not know any more. Nothing is sent; who forgets it and why
// is in the audit. It is an error if the ledger has no such entry.
func (f *Fleet) Forget(ctx context.Context, provider, hostID string, intent Intent) error {
	if err := intent.validate(); err != nil {
		return err
	}
	e, rev, err := f.ledger.get(ctx, provider, hostID)
	switch {
	case err != nil:
		return wrapLedger(err)
	case rev == 0:
		return resilience.Misusef("edr: Forget: the ledger has no entry of %s:%s; Fleet.Ledger lists what it has", provider, hostID)
	}
	if err := f.ledger.clear(ctx, provider, hostID); err != nil {
		return err
	}
	r := e.record()
	r.Verb, r.Intent = VerbForget, intent
	f.audit(ctx, r, nil)
	return nil
}

// alarm says what a sweep left owed.
func (f *Fleet) alarm(ctx context.Context, s Sweep) {
	owed := s.Owed()
	byProvider := map[string]int64{}
	for _, d := range owed {
		byProvider[d.Provider]++
	}
	for _, m := range f.group.Members() {
		f.owedNow.Record(ctx, byProvider[m.ID], metric.WithAttributes(keyProvider.String(m.ID)))
	}
	for _, d := range owed {
		text := "the vendor is still busy"
		if d.Err != nil {
			text = d.Err.Error()
		}
		f.log.ErrorContext(ctx, "a host that was released may still be contained", string(keyProvider), d.Provider, "host", d.Name,
			"host_id", d.HostID, "since", d.At.Format(time.RFC3339), "intent", d.Intent.ID, "error", text)
	}
	if len(owed) > 0 && f.cfg.OnDebt != nil {
		f.cfg.OnDebt(ctx, owed)
	}
}

// tell logs what a sweep found out of the ordinary.
func (f *Fleet) tell(ctx context.Context, e Entry, found finding, err error) {
	args := []any{string(keyProvider), e.Provider, "host", e.Name, "host_id", e.HostID, "intent", e.Intent.ID}
	switch {
	case found == notDone && e.Outcome != failover.Unknown:
		f.log.ErrorContext(ctx, "the vendor accepted a containment and the host is not contained", args...)
	case found == notDone:
		f.log.WarnContext(ctx, "a containment whose answer was lost did not happen", args...)
	case found == ended:
		f.log.WarnContext(ctx, "released by somebody else", args...)
	case found == released:
		f.log.InfoContext(ctx, "released", args...)
	case found == unread && err != nil:
		f.log.WarnContext(ctx, "whether the vendor holds the host could not be read", append(args, "error", err.Error())...)
	}
}
