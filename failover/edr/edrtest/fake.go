package edrtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

// Fake is a vendor in memory, for unit tests of code that uses an edr.Fleet: no
// server, no TLS, no goroutine. It passes Conformance. When it is told to fail, its
// driver fails as those of the real vendors do: the errors say what was sent.
//
// It tells the time by package time, so it also works in a bubble of testing/synctest.
// It is safe for concurrent use.
type Fake struct {
	provider string

	mu     sync.Mutex
	hosts  []*fakeHost // in the order in which they were added
	takes  time.Duration
	faults []*fault
}

type fakeHost struct {
	record  edr.Record
	wanted  bool      // to be contained; or let go
	done    time.Time // when it is so
	effects Effects
}

// Effects are what a vendor carried out on one host, because its API was asked to.
// What was refused does not count, and what somebody did in the console does not.
type Effects struct{ Isolated, Released, Scanned int }

// fault is something that goes wrong until it is healed.
type fault struct{ kind faultKind }

type faultKind uint8

const (
	down faultKind = iota + 1
	losing
	hanging
)

// NewFake returns a vendor that knows these hosts; provider is the Driver's. A record
// without an ID has its Hostname for one, and the one of an ID that is there already
// replaces it; its State is where the host begins. For a Fleet to take the records of two vendors for one machine, give
// them the same Serial.
func NewFake(provider string, hosts ...edr.Record) *Fake {
	f := &Fake{provider: provider}
	for _, r := range hosts {
		if r.ID == "" {
			r.ID = r.Hostname
		}
		r.Provider = provider
		h := &fakeHost{record: r, wanted: r.State.Holds()}
		if i := f.index(r.ID); i >= 0 {
			f.hosts[i] = h
		} else {
			f.hosts = append(f.hosts, h)
		}
	}
	return f
}

// Driver is the vendor for edr.Config.Drivers. It has every ability.
func (f *Fake) Driver() edr.Driver {
	d := fakeDriver{f}
	return edr.Driver{Provider: f.provider, Find: d, Isolate: d, Held: d, Probe: d, Scan: d}
}

// SetActionTime is how long isolations and releases that begin from now on are
// pending: they are Accepted then, and not Applied, and the vendor refuses the opposite
// until they are done. Default 0.
func (f *Fake) SetActionTime(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes = d
}

// Down makes every call fail as if the vendor could not be reached, until heal.
// Nothing is done.
func (f *Fake) Down() (heal func()) { return f.breaks(down) }

// LoseAnswers makes isolations, releases and scans be carried out and their answers
// be lost, until heal. Reads go on.
func (f *Fake) LoseAnswers() (heal func()) { return f.breaks(losing) }

// Hang makes every call wait until its context ends, or until heal. Nothing is done.
func (f *Fake) Hang() (heal func()) { return f.breaks(hanging) }

func (f *Fake) breaks(kind faultKind) (heal func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := &fault{kind}
	f.faults = append(f.faults, one)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.faults = slices.DeleteFunc(f.faults, func(other *fault) bool { return other == one })
	}
}

func (f *Fake) failing(kind faultKind) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.faults, func(one *fault) bool { return one.kind == kind })
}

// Contain isolates a host at once and behind the API's back, as an analyst does in the
// console; an unknown host is left alone.
func (f *Fake) Contain(id string) { f.console(id, true) }

// Release lets a host go; otherwise as Contain.
func (f *Fake) Release(id string) { f.console(id, false) }

func (f *Fake) console(id string, hold bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.host(id); h != nil {
		h.wanted, h.done = hold, time.Now()
	}
}

// Held reports whether a host is cut off at this moment: what is so, and not what the
// API says. One that is about to be is not yet, and one that is about to be let go
// still is.
func (f *Fake) Held(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.host(id)
	if h == nil {
		return false
	}
	s := h.state(time.Now())
	return s == edr.Contained || s == edr.ReleasePending
}

// Effects is what was carried out on a host, whether or not the answer arrived.
func (f *Fake) Effects(id string) Effects {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.host(id); h != nil {
		return h.effects
	}
	return Effects{}
}

func (f *Fake) index(id string) int {
	return slices.IndexFunc(f.hosts, func(h *fakeHost) bool { return h.record.ID == id })
}

// host is the host of this id, nil if there is none. mu is held.
func (f *Fake) host(id string) *fakeHost {
	if i := f.index(id); i >= 0 {
		return f.hosts[i]
	}
	return nil
}

func (h *fakeHost) state(now time.Time) edr.State {
	switch pending := now.Before(h.done); {
	case h.wanted && pending:
		return edr.ContainPending
	case h.wanted:
		return edr.Contained
	case pending:
		return edr.ReleasePending
	}
	return edr.NotContained
}

// carryOut does what its API was asked to do, as a real vendor does: also if it is so
// already, and not while the opposite is under way. It is for the driver to look first.
func (f *Fake) carryOut(verb edr.Verb, id string) (pending bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.host(id)
	if h == nil {
		return false, f.errorOf(resilience.NotFound, resilience.Answered, fmt.Sprintf("no host %q", id))
	}
	now := time.Now()
	hold := verb == edr.VerbContain
	switch {
	case verb == edr.VerbScan:
		h.effects.Scanned++
		return true, nil
	case now.Before(h.done) && h.wanted != hold:
		return false, f.errorOf(resilience.Conflict, resilience.Answered, fmt.Sprintf("host %q is %s", id, h.state(now)))
	case hold:
		h.effects.Isolated++
	default:
		h.effects.Released++
	}
	if h.wanted != hold {
		h.wanted, h.done = hold, now.Add(f.takes)
	}
	return now.Before(h.done), nil
}

func (f *Fake) errorOf(class resilience.Class, sent resilience.Sent, text string) error {
	return &fakeError{fmt.Errorf("edrtest: %s: %w", f.provider, errors.New(text)), resilience.Failure{Class: class, Sent: sent}}
}

// fakeError says what was sent, as the errors of vendors' clients do.
type fakeError struct {
	error
	failure resilience.Failure
}

func (e *fakeError) Unwrap() error               { return errors.Unwrap(e.error) }
func (e *fakeError) Failure() resilience.Failure { return e.failure }
