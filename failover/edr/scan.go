package edr

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// VerbScan is a scan: it holds nothing, so the ledger never has it.
const VerbScan Verb = "scan"

// Scanner has hosts scanned by the vendor's own id. Implementations are safe for
// concurrent use.
type Scanner interface {
	// Scan asks for a scan and does not wait for its end. It is never sent twice. One
	// that is under way, of this kind or a fuller one, is Already where the vendor tells
	// of it. Otherwise as Isolator.Isolate: an error tells by its resilience.Failure
	// whether anything may have been sent.
	Scan(ctx context.Context, id string, kind ScanKind, intent Intent) (failover.Outcome, error)
}

// ScanKind is how much a scan looks at.
type ScanKind uint8

// The kinds. The zero value is quick.
const (
	QuickScan ScanKind = iota
	FullScan
)

var scanNames = [...]string{"quick", "full"}

// String returns the kind's name.
func (k ScanKind) String() string {
	if int(k) < len(scanNames) {
		return scanNames[k]
	}
	return fmt.Sprintf("edr.ScanKind(%d)", uint8(k))
}

func (k ScanKind) validate() error {
	if int(k) >= len(scanNames) {
		return resilience.Misusef("edr: scan of kind %d: want edr.QuickScan or edr.FullScan", uint8(k))
	}
	return nil
}

// Scan has a host scanned, at one vendor that can and that knows it; the host is found
// as by Contain, and nothing is waited for. Vendors without [Driver.Scan] are gaps that
// match ErrUnsupported.
//
// The next vendor is taken only if the failed one provably did nothing. If its answer
// was lost, the outcome is Unknown, the error matches ErrUnknownOutcome, and the scan
// is sent neither elsewhere nor again, because a second scan is a second load on the
// host. One Scan of a host goes on at a time; it keeps no containment waiting. It is
// audited; the guards are not asked, and the ledger is not told, because nothing has
// to be undone.
//
// If nobody who knows the host can scan it, the outcome is Unsupported and the error
// matches ErrUnsupported.
func (f *Fleet) Scan(ctx context.Context, q Query, kind ScanKind, intent Intent) (failover.Result[Effect], error) {
	if err := errors.Join(q.validate(), kind.validate(), intent.validate()); err != nil {
		return failover.Result[Effect]{}, err
	}
	ctx, decision := f.group.Decide(ctx, string(VerbScan))
	res, err := f.scan(ctx, q, kind, intent)
	decision.End(res.By(), len(res.Served) > 0 && res.Served[0].FellOver, res.Value.Outcome.String(), err)
	return res, describe(q, err)
}

func (f *Fleet) scan(ctx context.Context, q Query, kind ScanKind, intent Intent) (failover.Result[Effect], error) {
	able, unable := f.scanners()
	if len(able.Members()) == 0 {
		res := failover.Result[Effect]{Value: Effect{Outcome: failover.Unsupported}, Gaps: unable}
		return res, &failover.Error{Capability: "edr", Call: string(VerbScan), Gaps: unable}
	}
	found, err := f.resolve(ctx, string(VerbScan), q)
	res := failover.Result[Effect]{Value: Effect{Host: found.Value}, Gaps: found.Gaps}
	if err == nil {
		err = f.certain(found.Value)
	}
	if err != nil {
		return res, err
	}
	unlock, err := f.scanning.lock(ctx, found.Value)
	if err != nil {
		return res, err
	}
	defer unlock()
	enrolled := false // at one that can scan, or that cannot say
	done, err := failover.Do(ctx, able.From(q.Provider), failover.Call{Name: string(VerbScan), Kind: resilience.Effect},
		func(ctx context.Context, d Driver) (Action, error) {
			r, err := recordAt(found, d.Provider)
			enrolled = enrolled || !errors.Is(err, errNotEnrolled)
			if err != nil {
				return Action{}, err
			}
			a, err := f.scanAt(ctx, d, r, kind, intent)
			res.Value.Actions = append(res.Value.Actions, a)
			res.Value.Outcome = a.Outcome
			return a, err
		})
	res.Served, res.Gaps = done.Served, append(done.Gaps, unable...)
	if err != nil && !enrolled && !cordonedAmong(done.Gaps) {
		res.Value.Outcome = failover.Unsupported
		err = fmt.Errorf("%w; %w", err, errors.Join(gapErrors(unable)...))
	}
	return res, err
}

// scanners are the vendors that can scan, and a gap for each that cannot.
func (f *Fleet) scanners() (*failover.Group[Driver], []failover.Gap) {
	var unable []failover.Gap
	for _, m := range f.group.Members() {
		if m.Value.Scan == nil {
			unable = append(unable, failover.Gap{Provider: m.ID, Err: &unsupportedError{m.ID, AbilityScan}})
		}
	}
	return f.group.Only(func(m failover.Member[Driver]) bool { return m.Value.Scan != nil }), unable
}

func cordonedAmong(gaps []failover.Gap) bool {
	for _, g := range gaps {
		if errors.Is(g.Err, failover.ErrCordoned) {
			return true
		}
	}
	return false
}

// scanAt has one vendor scan the host. There is no state that would tell afterwards
// whether a scan whose answer was lost goes on.
func (f *Fleet) scanAt(ctx context.Context, d Driver, r Record, kind ScanKind, intent Intent) (Action, error) {
	a := Action{Provider: d.Provider, HostID: r.ID, Verb: VerbScan, At: time.Now()}
	a.Outcome, a.Err = d.Scan.Scan(ctx, r.ID, kind, intent)
	if a.Err != nil {
		a.Outcome = outcomeOf(a.Err)
	}
	if a.Outcome == failover.Unknown {
		a.Err = &lostScanError{d.Provider, a.Err}
	}
	f.audit(ctx, AuditRecord{
		Verb: VerbScan, Intent: intent, Host: name([]Record{r}), Provider: d.Provider, HostID: r.ID, Outcome: a.Outcome,
	}, a.Err)
	return a, a.Err
}

// lostScanError is a scan whose answer was lost.
type lostScanError struct {
	provider string
	err      error
}

func (e *lostScanError) Error() string {
	return fmt.Sprintf("%v: %s may be scanning it, and is not asked again, nor is another: %v", ErrUnknownOutcome, e.provider, e.err)
}
func (e *lostScanError) Unwrap() []error { return []error{ErrUnknownOutcome, e.err} }
func (e *lostScanError) TryNext() bool   { return false }
