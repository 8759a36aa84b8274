package resilience

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Breaker says when to stop calling a sick dependency and when to try again.
type Breaker struct {
	// Disabled lets every call through.
	Disabled bool
	// Window, MinCalls and FailureRate: open when at least MinCalls of the last
	// Window ended and this share of them failed. Defaults 10 s, 20 and 0.5.
	Window      time.Duration
	MinCalls    int
	FailureRate float64
	// LastFailed opens when so many of the last 20 calls failed, however long
	// they took to come in: a slow trickle of timeouts never fills a time window,
	// and at a high rate the window must first drown its own healthy history.
	// Default 10; negative means this rule is off.
	LastFailed int
	// SlowCall makes an attempt that took longer count as failed, unless its
	// call has a Timeout of its own. Default: never, because for a caller who has
	// nobody else a slow answer is better than none. Callers who have a backup
	// ([WithBackup]) leave a dependency that has become slow for them by itself:
	// when ten calls of an operation took, or are taking, three times as long as
	// usual without one that did not.
	SlowCall time.Duration
	// OpenFor is how long the breaker stays open, jittered by a fifth. After eight
	// failed probes it doubles with each further one, up to MaxOpenFor. Defaults
	// 5 s and 60 s.
	OpenFor, MaxOpenFor time.Duration
	// Probes that must succeed, one at a time, before it closes. Default 2.
	Probes int
}

// lastCalls is how many calls LastFailed looks back.
const lastCalls = 20

// State of a breaker.
type State uint8

// The states.
const (
	Closed   State = iota // calls pass
	HalfOpen              // one caller at a time tries
	Opened                // calls are refused
)

// String returns "closed", "half_open" or "open".
func (s State) String() string { return [...]string{"closed", "half_open", "open"}[s] }

// StateChange tells of one change of a breaker.
type StateChange struct {
	Policy   string
	From, To State
	At       time.Time
	Until    time.Time // when opened: the earliest next probe
	Reason   string
}

// breaker adds to gobreaker what it lacks: an open time that is jittered and
// grows, one probe at a time with a deadline, a second rule over the last calls,
// and events delivered in order outside the lock.
//
// gobreaker owns the state and the generation (a result from before a change
// counts for nothing). What is here owns only the time at which the next probe
// may go: gobreaker's own open time is set to nothing and is never reached
// before until. mu is a leaf: it is never held while calling gobreaker, so that
// gobreaker's callbacks may take it.
type breaker struct {
	cfg     Breaker
	gb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	notify  func(StateChange)
	current atomic.Uint32 // mirror of gobreaker's state, for the way without a lock
	pending atomic.Bool   // events wait to be delivered

	mu         sync.Mutex
	until      time.Time
	failures   int    // probes failed in a row since it was last closed
	probe      uint64 // number of the probe under way, 0 if none
	probeSeq   uint64
	probeSince time.Time
	probeDone  func(error)
	last       uint32 // outcomes of the last calls, newest in the lowest bit, 1 = failed
	lastN      int
	reason     string
	events     []StateChange
	delivering bool
}

// probeDeadline is when a probe that never ended counts as failed.
const probeDeadline = 30 * time.Second

var (
	errNeutral = errors.New("neither success nor failure")
	errFailed  = errors.New("failed")
)

func newBreaker(cfg Breaker, notify func(StateChange)) *breaker {
	b := &breaker{cfg: cfg, notify: notify}
	b.gb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   uint32(cfg.Probes),
		Interval:      cfg.Window,
		BucketPeriod:  cfg.Window / 10,
		Timeout:       1, // until is the gate
		ReadyToTrip:   b.readyToTrip,
		OnStateChange: b.changed,
		IsExcluded:    func(err error) bool { return errors.Is(err, errNeutral) },
	})
	return b
}

func (b *breaker) state() State { return State(b.current.Load()) }

// ticket is the right to one attempt. It must be settled exactly once.
type ticket struct {
	done      func(error)
	probe     uint64
	slowProbe bool // tries an operation that had become slow
}

// refused reports, without a side effect, that allow would refuse now, and for
// how long.
func (b *breaker) refused(now time.Time) (time.Duration, bool) {
	if b.state() == Closed {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.until) {
		return b.until.Sub(now), true
	}
	return 0, b.probe != 0 && now.Sub(b.probeSince) < probeDeadline
}

// allow admits an attempt or says how long the breaker stays shut at least.
func (b *breaker) allow(now time.Time) (ticket, time.Duration, bool) {
	if b.cfg.Disabled {
		return ticket{done: func(error) {}}, 0, true
	}
	if b.state() == Closed {
		if done, err := b.gb.Allow(); err == nil {
			return ticket{done: done}, 0, true
		}
	}
	seq, wait := b.claimProbe(now)
	if seq == 0 {
		return ticket{}, wait, false
	}
	done, err := b.gb.Allow()
	b.mu.Lock()
	if err != nil {
		if b.probe == seq {
			b.probe = 0
		}
		wait = max(0, b.until.Sub(now))
	} else {
		b.probeDone = done
	}
	b.mu.Unlock()
	b.deliver()
	if err != nil {
		return ticket{}, wait, false
	}
	return ticket{done: done, probe: seq}, 0, true
}

// claimProbe makes the caller the one that tries, or returns 0 and the wait.
func (b *breaker) claimProbe(now time.Time) (uint64, time.Duration) {
	b.mu.Lock()
	if now.Before(b.until) {
		defer b.mu.Unlock()
		return 0, b.until.Sub(now)
	}
	if b.probe != 0 {
		if now.Sub(b.probeSince) < probeDeadline {
			defer b.mu.Unlock()
			return 0, 0
		}
		// The probe hangs for ever: it has failed, whatever it says later.
		hung := b.probeDone
		b.probe, b.probeDone = 0, nil
		b.mu.Unlock()
		if hung != nil {
			hung(errFailed)
		}
		b.deliver()
		return b.claimProbe(now)
	}
	defer b.mu.Unlock()
	b.probeSeq++
	b.probe, b.probeSince = b.probeSeq, now
	return b.probe, 0
}

// settle reports how the attempt ended: nil, errFailed or errNeutral.
func (b *breaker) settle(t ticket, outcome error) {
	b.mu.Lock()
	if t.probe != 0 {
		if b.probe != t.probe {
			b.mu.Unlock()
			return // a probe that hung and was given up
		}
		b.probe, b.probeDone = 0, nil
	}
	if outcome != errNeutral && t.probe == 0 {
		b.last <<= 1
		if outcome != nil {
			b.last |= 1
		}
		b.last &= 1<<lastCalls - 1
		b.lastN = min(b.lastN+1, lastCalls)
	}
	b.mu.Unlock()
	t.done(outcome)
	if b.pending.Load() {
		b.deliver()
	}
}

// recentFailures is the share of the last calls that failed, not counting the
// newest: it answers "was it healthy until now".
func (b *breaker) recentFailures() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lastN < 2 {
		return 0
	}
	return float64(bits.OnesCount32(b.last>>1)) / float64(b.lastN-1)
}

// explain says in what state it is, why, and until when.
func (b *breaker) explain(now time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := fmt.Sprintf("%d of the last %d calls failed", bits.OnesCount32(b.last), b.lastN)
	switch b.state() {
	case Opened:
		return fmt.Sprintf("open because %s; the next probe may go in %v; %d probes failed since", b.reason, max(0, b.until.Sub(now)).Round(time.Millisecond), b.failures)
	case HalfOpen:
		return fmt.Sprintf("half open after %s; probing: %v", b.reason, b.probe != 0)
	}
	return "closed; " + last
}

// readyToTrip is called by gobreaker, under its lock, after a failure.
func (b *breaker) readyToTrip(c gobreaker.Counts) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	failed := bits.OnesCount32(b.last)
	if b.cfg.LastFailed > 0 && failed >= b.cfg.LastFailed {
		b.reason = fmt.Sprintf("%d of the last %d calls failed", failed, b.lastN)
		return true
	}
	ended := c.TotalSuccesses + c.TotalFailures
	if ended >= uint32(b.cfg.MinCalls) && float64(c.TotalFailures) >= b.cfg.FailureRate*float64(ended) {
		b.reason = fmt.Sprintf("%d of %d calls failed within %v", c.TotalFailures, ended, b.cfg.Window)
		return true
	}
	return false
}

// changed is called by gobreaker, under its lock, on every change of state.
func (b *breaker) changed(_ string, from, to gobreaker.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change := StateChange{From: stateOf(from), To: stateOf(to), At: time.Now(), Reason: b.reason}
	switch change.To {
	case Opened:
		if change.From == HalfOpen {
			b.failures++
			change.Reason = "a probe failed"
		}
		b.until = change.At.Add(b.cfg.openTime(b.failures))
		change.Until = b.until
	case HalfOpen:
		change.Reason = "the open time is over"
	case Closed:
		b.failures, b.last, b.lastN = 0, 0, 0
		change.Reason = "the probes succeeded"
	}
	b.current.Store(uint32(change.To))
	b.events = append(b.events, change)
	b.pending.Store(true)
}

// patientProbes are made at the same pace: one call every OpenFor harms nobody,
// and who heals within the first minute is noticed at once.
const patientProbes = 8

// openTime is how long to stay open after so many failed probes in a row.
func (c *Breaker) openTime(failedProbes int) time.Duration {
	d := c.OpenFor
	for range failedProbes - patientProbes {
		if d *= 2; d >= c.MaxOpenFor {
			d = c.MaxOpenFor
			break
		}
	}
	// Breakers that opened together must not probe together.
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func stateOf(s gobreaker.State) State {
	switch s {
	case gobreaker.StateClosed:
		return Closed
	case gobreaker.StateHalfOpen:
		return HalfOpen
	default:
		return Opened
	}
}

// deliver hands out the waiting events in order. Whoever is already at it
// delivers the new ones too, so a listener may use the policy it hears of.
func (b *breaker) deliver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.delivering {
		return
	}
	b.delivering = true
	defer func() { b.delivering = false }()
	for len(b.events) > 0 {
		e := b.events[0]
		b.events = b.events[1:]
		b.pending.Store(len(b.events) > 0)
		func() {
			b.mu.Unlock()
			defer b.mu.Lock()
			b.notify(e)
		}()
	}
}
