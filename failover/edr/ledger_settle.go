package edr

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// settleTime is how long a vendor may take to show what it accepted. A state that
// contradicts the ledger sooner may be older than the effect.
const settleTime = 2 * time.Minute

// finding is what a vendor's state says of an entry.
type finding uint8

const (
	unread   finding = iota // the vendor could not say
	pending                 // it does not show the effect yet
	proven                  // it shows that the host is held, as the ledger says
	notDone                 // it never showed what was wanted
	ended                   // the host was held, and is not any more
	released                // it shows that the host is free, as was wanted
	debt                    // it holds the host that was to be released
)

// judge compares an entry with its vendor's state.
func judge(e Entry, s State, now time.Time) finding {
	early := now.Sub(e.At) < settleTime
	switch {
	case s == StateUnknown:
		return unread
	case e.Verb == VerbRelease && s == NotContained:
		return released
	case e.Verb == VerbRelease && s == ReleasePending:
		return pending
	case e.Verb == VerbRelease && e.Outcome.OK() && early:
		return pending
	case e.Verb == VerbRelease:
		return debt
	case s.Holds():
		return proven
	case s == ReleasePending:
		return pending // somebody lets it go
	case !e.Proven.IsZero():
		return ended
	case early:
		return pending
	}
	return notDone
}

// settle brings one entry up to date with its vendor, and releases again what was
// to be released and is still held. state is what the vendor just said, if it did.
// It returns the entry as it was judged.
func (f *Fleet) settle(ctx context.Context, d Driver, e Entry, state State) (Entry, finding, error) {
	unlock, err := f.flight.lock(ctx, Host{Name: e.Name})
	if err != nil {
		return e, unread, err
	}
	defer unlock()
	// Under the lock: an operation may have ended since the entry was read.
	now, rev, err := f.ledger.get(ctx, e.Provider, e.HostID)
	if err != nil || rev == 0 {
		return e, pending, wrapLedger(err)
	}
	if now.Verb != e.Verb || now.Outcome != e.Outcome || !now.At.Equal(e.At) {
		state = StateUnknown // of what was
	}
	e = now
	if state == StateUnknown {
		if state, err = d.Isolate.State(ctx, e.HostID); err != nil {
			return e, unread, err
		}
	}
	found := judge(e, state, time.Now())
	if found == notDone || found == ended || found == released {
		// A vendor that does not know the host may call it free: it is of another tenant
		// now, or was deleted. That is no proof.
		if records, err := collect(ctx, d, Native(e.Provider, e.HostID)); err != nil {
			return e, unread, err
		} else if len(records) == 0 {
			return e, unread, &NotFoundError{Query: Native(e.Provider, e.HostID)}
		}
	}
	switch found {
	case proven:
		if time.Since(e.Proven) > time.Hour { // not a write for every host in every sweep
			e.Proven = time.Now()
			unknown := e.Outcome == failover.Unknown
			if unknown || state == Contained {
				e.Outcome = failover.Applied
			}
			_, err = f.ledger.set(ctx, e)
			f.told(ctx, unknown, e)
		}
	case notDone, ended, released:
		err = f.ledger.clear(ctx, e.Provider, e.HostID)
		late := e
		if late.Outcome = failover.Applied; found == notDone {
			late.Outcome = failover.Failed
		}
		f.told(ctx, found == notDone || e.Outcome == failover.Unknown, late)
	case debt:
		e, found, err = f.pay(ctx, d, e)
	case unread, pending:
	}
	return e, found, err
}

// told audits what a read has told of an effect.
func (f *Fleet) told(ctx context.Context, news bool, e Entry) {
	if news {
		r := e.record()
		r.Settled = true
		f.audit(ctx, r, nil)
	}
}

// followUp goes on with the releases that a crash left half written: the vendors that
// one of them names get an intent too, unless they were told something since.
func (f *Fleet) followUp(ctx context.Context, entries map[string][]Entry) error {
	var errs []error
	for _, some := range entries {
		for _, e := range some {
			if len(e.With) > 0 {
				errs = append(errs, f.follow(ctx, e, entries))
			}
		}
	}
	return errors.Join(errs...)
}

func (f *Fleet) follow(ctx context.Context, e Entry, entries map[string][]Entry) error {
	unlock, err := f.flight.lock(ctx, Host{Name: e.Name})
	if err != nil {
		return err
	}
	defer unlock()
	now, _, err := f.ledger.get(ctx, e.Provider, e.HostID)
	if err != nil || len(now.With) == 0 || !now.At.Equal(e.At) {
		return wrapLedger(err) // nobody crashed: the release was under way
	}
	for _, h := range e.With {
		there, _, err := f.ledger.get(ctx, h.Provider, h.ID)
		if err != nil {
			return wrapLedger(err)
		}
		if there.At.After(e.At) {
			continue
		}
		next := e
		next.Provider, next.HostID, next.With = h.Provider, h.ID, nil
		if _, err := f.ledger.set(ctx, next); err != nil {
			return err
		}
		list := slices.DeleteFunc(entries[h.Provider], func(old Entry) bool { return old.HostID == h.ID })
		entries[h.Provider] = append(list, next)
	}
	e.With = nil
	_, err = f.ledger.set(ctx, e)
	return err
}

// pay releases a host again.
func (f *Fleet) pay(ctx context.Context, d Driver, e Entry) (Entry, finding, error) {
	e.Outcome = failover.Unknown
	w := intended{entry: e, before: e}
	if _, w.err = f.ledger.set(ctx, e); w.err != nil {
		return e, debt, w.err
	}
	a, err := f.act(ctx, ctx, d, w)
	e.Outcome = a.Outcome
	if err != nil {
		if resilience.Of(err).Class == resilience.Conflict {
			err = nil // a containment is under way: after it
		}
		return e, debt, err
	}
	return e, pending, nil
}
