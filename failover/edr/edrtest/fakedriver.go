package edrtest

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

// fakeDriver is a Fake as its driver sees it: it knows what its API says.
type fakeDriver struct{ f *Fake }

// reach is what every call begins with: a vendor that is down, or hangs.
func (d fakeDriver) reach(ctx context.Context) error {
	for d.f.failing(hanging) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond): // it may have been healed
		}
	}
	if err := ctx.Err(); err != nil {
		class := resilience.Timeout
		if resilience.CallerLeft(ctx) {
			class = resilience.Canceled
		}
		return &fakeError{fmt.Errorf("edrtest: %s: no answer: %w", d.f.provider, err), resilience.Failure{Class: class}}
	}
	if d.f.failing(down) {
		return d.f.errorOf(resilience.Refused, resilience.NotSent, "connection refused")
	}
	return nil
}

// Find implements edr.Finder.
func (d fakeDriver) Find(ctx context.Context, q edr.Query) iter.Seq2[edr.Record, error] {
	return d.list(ctx, q.Matches)
}

// Held implements edr.Holder.
func (d fakeDriver) Held(ctx context.Context) iter.Seq2[edr.Record, error] {
	return d.list(ctx, func(r edr.Record) bool { return r.State.Holds() })
}

func (d fakeDriver) list(ctx context.Context, keep func(edr.Record) bool) iter.Seq2[edr.Record, error] {
	return func(yield func(edr.Record, error) bool) {
		if err := d.reach(ctx); err != nil {
			yield(edr.Record{}, err)
			return
		}
		for _, r := range d.f.records() {
			if keep(r) && !yield(r, nil) {
				return
			}
		}
	}
}

func (f *Fake) records() []edr.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	out := make([]edr.Record, 0, len(f.hosts))
	for _, h := range f.hosts {
		r := h.record
		r.State, r.AsOf = h.state(now), now
		if r.LastSeen.IsZero() {
			r.LastSeen = now
		}
		out = append(out, r)
	}
	return out
}

// State implements edr.Isolator.
func (d fakeDriver) State(ctx context.Context, id string) (edr.State, error) {
	if err := d.reach(ctx); err != nil {
		return edr.StateUnknown, err
	}
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	h := d.f.host(id)
	if h == nil {
		return edr.StateUnknown, d.f.errorOf(resilience.NotFound, resilience.Answered, fmt.Sprintf("no host %q", id))
	}
	return h.state(time.Now()), nil
}

// Isolate implements edr.Isolator.
func (d fakeDriver) Isolate(ctx context.Context, id string, _ edr.Intent) (failover.Outcome, error) {
	return d.change(ctx, edr.VerbContain, id, edr.State.Holds)
}

// Release implements edr.Isolator.
func (d fakeDriver) Release(ctx context.Context, id string, _ edr.Intent) (failover.Outcome, error) {
	return d.change(ctx, edr.VerbRelease, id, func(s edr.State) bool { return s == edr.NotContained || s == edr.ReleasePending })
}

func (d fakeDriver) change(ctx context.Context, verb edr.Verb, id string, wanted func(edr.State) bool) (failover.Outcome, error) {
	s, err := d.State(ctx, id)
	if err != nil {
		return failover.Unset, resilience.BeforeSending(err)
	}
	if wanted(s) {
		return failover.Already, nil
	}
	return d.send(verb, id)
}

// Scan implements edr.Scanner.
func (d fakeDriver) Scan(ctx context.Context, id string, _ edr.ScanKind, _ edr.Intent) (failover.Outcome, error) {
	if err := d.reach(ctx); err != nil {
		return failover.Unset, resilience.BeforeSending(err)
	}
	return d.send(edr.VerbScan, id)
}

func (d fakeDriver) send(verb edr.Verb, id string) (failover.Outcome, error) {
	pending, err := d.f.carryOut(verb, id)
	switch {
	case err != nil:
		return failover.Unset, err
	case d.f.failing(losing):
		return failover.Unset, d.f.errorOf(resilience.Broken, resilience.MaybeSent, "the connection broke before the answer")
	case pending:
		return failover.Accepted, nil
	}
	return failover.Applied, nil
}

// Probe implements edr.Prober.
func (d fakeDriver) Probe(ctx context.Context) error { return d.reach(ctx) }
