package edrtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

// bench is a vendor on the test bench. It is made for testing.TB, so that the suite's
// own tests can watch it fail.
type bench struct {
	testing.TB
	Vendor
	again func() Vendor
}

var intent = edr.Intent{ID: "edrtest-1", Actor: "edrtest", Reason: "conformance of a driver"}

// patience is how long what a vendor has accepted may take, and how long it may take
// to be itself again after a failure: breakers close late. Virtual in a bubble.
const patience = 30 * time.Second

func (b *bench) a() edr.Record { return b.Hosts[0] }
func (b *bench) b() edr.Record { return b.Hosts[1] }

// needs skips a check for what the Vendor does not offer.
func (b *bench) needs(name string, there bool) {
	b.Helper()
	if !there {
		b.Skipf("Vendor.%s is nil", name)
	}
}

func (b *bench) needsAbility(name string, there bool) {
	b.Helper()
	if !there {
		b.Skipf("the driver has no ability %s", name)
	}
}

// breaks breaks something for as long as f runs.
func (b *bench) breaks(f func() (heal func()), while func()) {
	heal := f()
	defer heal()
	while()
}

// eventually waits until something is so.
func (b *bench) eventually(what string, so func() (bool, error)) {
	b.Helper()
	var err error
	end := time.Now().Add(patience)
	for delay := 5 * time.Millisecond; time.Now().Before(end); delay = min(2*delay, time.Second) {
		var ok bool
		if ok, err = so(); ok {
			return
		}
		time.Sleep(delay)
	}
	if err != nil {
		b.Fatalf("%s: not within %v: %v", what, patience, err)
	}
	b.Fatalf("%s: not within %v", what, patience)
}

// becomes waits until the driver says so of a host's state.
func (b *bench) becomes(id, what string, wanted func(edr.State) bool) {
	b.Helper()
	var last edr.State
	b.eventually("the state of "+id+" is "+what, func() (bool, error) {
		s, err := b.Driver.Isolate.State(b.Context(), id)
		if err == nil && s != last {
			b.Logf("the state of %s is %s", id, s)
			last = s
		}
		return err == nil && wanted(s), err
	})
}

func (b *bench) becomesHeld(id string) {
	b.Helper()
	b.becomes(id, "contained", func(s edr.State) bool { return s == edr.Contained })
	if b.Vendor.Held != nil {
		b.eventually(id+" is cut off", func() (bool, error) { return b.Held(id), nil })
	}
}

func (b *bench) becomesFree(id string) {
	b.Helper()
	b.becomes(id, "not contained", func(s edr.State) bool { return s == edr.NotContained })
	if b.Vendor.Held != nil {
		b.eventually(id+" is let go", func() (bool, error) { return !b.Held(id), nil })
	}
}

// works waits until the vendor answers again.
func (b *bench) works(id string) {
	b.Helper()
	b.becomes(id, "told", func(edr.State) bool { return true })
}

// carriedOut compares what the vendor carried out on a host, if it tells.
func (b *bench) carriedOut(id string, want Effects) {
	b.Helper()
	if b.Effects == nil {
		return
	}
	if got := b.Vendor.Effects(id); got != want {
		b.Errorf("of %s the vendor carried out %+v, want %+v", id, got, want)
	}
}

// effect is Isolate, Release, or Scan with its other arguments.
type effect func(ctx context.Context, id string) (failover.Outcome, error)

func (b *bench) isolate(ctx context.Context, id string) (failover.Outcome, error) {
	return b.Driver.Isolate.Isolate(ctx, id, intent)
}

func (b *bench) release(ctx context.Context, id string) (failover.Outcome, error) {
	return b.Driver.Isolate.Release(ctx, id, intent)
}

func (b *bench) scan(ctx context.Context, id string) (failover.Outcome, error) {
	return b.Driver.Scan.Scan(ctx, id, edr.QuickScan, intent)
}

// does wants an effect to be done.
func (b *bench) does(what string, do effect, id string) {
	b.Helper()
	if o, err := do(b.Context(), id); err != nil || o != failover.Accepted && o != failover.Applied {
		b.Fatalf("%s: %v, %v, want accepted or applied", what, o, err)
	}
}

// isAlready wants an effect to have been so before.
func (b *bench) isAlready(what string, do effect, id string) {
	b.Helper()
	if o, err := do(b.Context(), id); err != nil || o != failover.Already {
		b.Errorf("%s: %v, %v, want already", what, o, err)
	}
}

// isNotSent wants an error that says that nothing was sent.
func (b *bench) isNotSent(what string, o failover.Outcome, err error) {
	b.Helper()
	if err == nil {
		b.Errorf("%s: %v without an error", what, o)
	} else if sent := resilience.Of(err).Sent; sent != resilience.NotSent {
		b.Errorf("%s: the error says %s, want not_sent: %v", what, sent, err)
	}
}

// maySent wants an error that says that it may have been sent, or a success that the
// driver proved by itself: by reading back, or by repeating what may be repeated.
func (b *bench) maySent(what string, o failover.Outcome, err error) {
	b.Helper()
	switch sent := resilience.Of(err).Sent; {
	case err == nil && !o.OK():
		b.Errorf("%s: %v without an error", what, o)
	case err != nil && sent != resilience.MaybeSent:
		b.Errorf("%s: the error says %s, want maybe_sent: %v", what, sent, err)
	}
}

// find lists what the driver finds, as a Fleet does.
func (b *bench) find(q edr.Query) []edr.Record {
	b.Helper()
	var out []edr.Record
	for r, err := range b.Driver.Find.Find(b.Context(), q) {
		if err != nil {
			b.Fatalf("Find(%+v): %v", q, err)
		}
		r.Provider = b.Driver.Provider
		if q.Matches(r) {
			out = append(out, r)
		}
	}
	return out
}

// isOne wants one record, of this host.
func (b *bench) isOne(q edr.Query, host edr.Record) {
	b.Helper()
	if got := b.find(q); len(got) != 1 || got[0].ID != host.ID {
		b.Errorf("Find(%s) found %s, want %s alone", q, ids(got), host.ID)
	}
}

func ids(records []edr.Record) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, r.ID)
	}
	return out
}

// stranger is an id of which the vendor knows no host, made like one that it knows.
func (b *bench) stranger() string {
	for _, last := range "0123" {
		id := []rune(b.a().ID)
		id[len(id)-1] = last
		if len(b.find(edr.Native(b.Driver.Provider, string(id)))) == 0 {
			return string(id)
		}
	}
	b.Fatalf("every id like %q is one of a host", b.a().ID)
	return ""
}

// oneError wants a list to end with an error, and to have only that one.
func (b *bench) oneError(what string, list iter.Seq2[edr.Record, error]) {
	b.Helper()
	failed := 0
	for _, err := range list {
		switch {
		case err != nil:
			failed++
		case failed > 0:
			b.Errorf("%s: an item after the error", what)
		}
		if failed > 10 {
			break
		}
	}
	if failed != 1 {
		b.Errorf("%s: %d errors, want one: a list that failed must not look as if there were no hosts, and ends there", what, failed)
	}
}

// call is one call of the driver, to be made with any context.
type call struct {
	name   string
	effect bool
	make   func(ctx context.Context) error
}

// calls are one of each that the driver can make.
func (b *bench) calls() []call {
	d, id := b.Driver, b.a().ID
	drain := func(list iter.Seq2[edr.Record, error]) error {
		var errs []error
		for _, err := range list {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	do := func(effect effect) func(context.Context) error {
		return func(ctx context.Context) error {
			o, err := effect(ctx, id)
			if err == nil && !o.OK() {
				return fmt.Errorf("outcome %v without an error", o)
			}
			return err
		}
	}
	out := []call{
		{"Find", false, func(ctx context.Context) error { return drain(d.Find.Find(ctx, edr.Hostname(b.a().Hostname))) }},
		{"Find by id", false, func(ctx context.Context) error { return drain(d.Find.Find(ctx, edr.Native(d.Provider, id))) }},
		{"State", false, func(ctx context.Context) error { _, err := d.Isolate.State(ctx, id); return err }},
		{"Isolate", true, do(b.isolate)},
		{"Release", true, do(b.release)},
	}
	if d.Held != nil {
		out = append(out, call{"Held", false, func(ctx context.Context) error { return drain(d.Held.Held(ctx)) }})
	}
	if d.Probe != nil {
		out = append(out, call{"Probe", false, d.Probe.Probe})
	}
	if d.Scan != nil {
		out = append(out, call{"Scan", true, do(b.scan)})
	}
	return out
}
