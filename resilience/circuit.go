package resilience

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// breaker adds to gobreaker what it lacks: an open time that is jittered and
// grows, one probe at a time with a deadline, rules over the last calls and over
// those under way, and events delivered in order outside the lock.
//
// gobreaker owns whether calls pass and the generation (a result from before a
// change counts for nothing). What is here owns when the next probe may go: until
// is never before gobreaker's own, shorter, open time is over. Half open is told
// when a probe goes, not when gobreaker would let one. mu is a leaf: it is never
// held while calling gobreaker, so that gobreaker's callbacks may take it.
type breaker struct {
	cfg     Breaker
	silence time.Duration // how long none of InFlight calls may end
	gb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	notify  func(StateChange)
	current atomic.Uint32 // State, for the way without a lock
	pending atomic.Bool   // events wait to be delivered
	last    atomic.Uint64 // a window, see outcomes
	epoch   atomic.Uint64 // counts the changes: gobreaker's generation, which it does not show
	flying  atomic.Int64  // attempts under way that count for InFlight
	landed  atomic.Int64  // when one last ended, or began alone; Unix ns
	runs    atomic.Int32  // Runs that probe in the callers' place

	mu         sync.Mutex
	since      time.Time // of the state; zero: from the beginning
	until      time.Time
	failures   int    // probes failed in a row since it was last closed
	probe      uint64 // number of the probe under way, 0 if none
	probeSeq   uint64
	probeSince time.Time
	probeDone  func(error)
	forced     string // why it must open at the next failure
	reason     string // why it opened
	events     []StateChange
	delivering bool
	opened     chan struct{} // tells a Run that it has work
}

var (
	errNeutral = errors.New("neither success nor failure")
	errFailed  = errors.New("failed")
)

func newBreaker(cfg Breaker, silence time.Duration, notify func(StateChange)) *breaker {
	b := &breaker{cfg: cfg, silence: silence, notify: notify, opened: make(chan struct{}, 1)}
	b.gb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(cfg.Probes),
		Interval:     cfg.Window,
		BucketPeriod: cfg.Window / 10,
		// Over before until, or a probe would be refused; not much before, or a
		// caller overtaken by the opening would pass as a probe.
		Timeout:       max(1, time.Duration(float64(cfg.OpenFor)*shortestOpen*0.99)),
		ReadyToTrip:   b.readyToTrip,
		OnStateChange: b.changed,
		IsExcluded:    func(err error) bool { return err == errNeutral },
	})
	return b
}

func (b *breaker) state() State { return State(b.current.Load()) }

// ticket is the right to one attempt. It must be settled exactly once.
type ticket struct {
	done      func(error) // nil: nobody wants to know
	epoch     uint64      // in which it was admitted
	probe     uint64
	flying    bool // counts for InFlight
	slowProbe bool // tries an operation that had become slow
}

// refused reports that allow would refuse now, and for how long. It opens the
// breaker if too many calls are under way in silence.
func (b *breaker) refused(now time.Time, background bool) (time.Duration, bool) {
	if b.cfg.Disabled {
		return 0, false
	}
	if b.state() == Closed {
		if !b.piledUp(now) {
			return 0, false
		}
		b.trip(fmt.Sprintf("%d calls were under way and none had ended for %v", b.flying.Load(), b.silence))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mustWait(now, background)
}

// allow admits an attempt or says how long the breaker stays shut at least.
// bounded: the attempt has the policy's own timeout.
func (b *breaker) allow(now time.Time, bounded, background bool) (ticket, time.Duration, bool) {
	if b.cfg.Disabled {
		return ticket{}, 0, true
	}
	epoch := b.epoch.Load()
	if b.state() == Closed {
		if done, err := b.gb.Allow(); err == nil {
			return b.takeOff(ticket{done: done, epoch: epoch}, now, bounded), 0, true
		}
	}
	return b.allowProbe(now, background)
}

func (b *breaker) takeOff(t ticket, now time.Time, bounded bool) ticket {
	if b.cfg.InFlight > 0 && bounded && t.epoch == b.epoch.Load() {
		t.flying = true
		if b.flying.Add(1) == 1 {
			b.landed.Store(now.UnixNano())
		}
	}
	return t
}

// piledUp reports that InFlight calls are under way in silence.
func (b *breaker) piledUp(now time.Time) bool {
	return b.cfg.InFlight > 0 && b.flying.Load() >= int64(b.cfg.InFlight) &&
		now.UnixNano()-b.landed.Load() >= int64(b.silence)
}

// trip opens the breaker by a failure that no call has had.
func (b *breaker) trip(reason string) {
	b.mu.Lock()
	b.forced = reason
	b.mu.Unlock()
	if done, err := b.gb.Allow(); err == nil {
		done(errFailed)
	}
	b.mu.Lock()
	b.forced = ""
	b.mu.Unlock()
	b.deliver()
}

// settle reports how the attempt ended: nil, errFailed or errNeutral.
func (b *breaker) settle(t ticket, now time.Time, outcome error) {
	if t.flying && t.epoch == b.epoch.Load() {
		b.flying.Add(-1)
		b.landed.Store(now.UnixNano())
	}
	switch {
	case t.done == nil:
		return
	case t.probe != 0:
		if !b.endProbe(t.probe) {
			return // a probe that hung and was given up
		}
	case outcome != errNeutral && t.epoch == b.epoch.Load():
		b.remember(outcome != nil)
	}
	t.done(outcome)
	if b.pending.Load() {
		b.deliver()
	}
}

// outcomes are the last calls: their number, and a bit for each, the newest
// lowest, 1 = failed.
type outcomes uint64

func (o outcomes) count() int       { return int(o >> 32) }
func (o outcomes) failed() int      { return bits.OnesCount32(uint32(o)) }
func (o outcomes) but(n int) uint32 { return uint32(o) >> n } // without the newest n

func (b *breaker) window() outcomes { return outcomes(b.last.Load()) }

func (b *breaker) remember(failed bool) {
	for {
		old := b.window()
		now := uint32(old) << 1 & (1<<lastCalls - 1)
		if failed {
			now |= 1
		}
		next := uint64(min(old.count()+1, lastCalls))<<32 | uint64(now)
		if b.last.CompareAndSwap(uint64(old), next) {
			return
		}
	}
}

// recentFailures is the share of the last calls that failed, not counting the
// newest: it answers "was it healthy until now".
func (b *breaker) recentFailures() float64 {
	w := b.window()
	if w.count() < 2 {
		return 0
	}
	return float64(bits.OnesCount32(w.but(1))) / float64(w.count()-1)
}

// readyToTrip is called by gobreaker, under its lock, after a failure.
func (b *breaker) readyToTrip(c gobreaker.Counts) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forced != "" {
		b.reason = b.forced
		return true
	}
	w := b.window()
	if b.cfg.LastFailed > 0 && w.failed() >= b.cfg.LastFailed {
		b.reason = fmt.Sprintf("%d of the last %d calls failed", w.failed(), w.count())
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
	now := time.Now()
	switch to {
	case gobreaker.StateOpen:
		reason := b.reason
		if from == gobreaker.StateHalfOpen {
			b.failures++
			reason = "a probe failed"
		}
		b.until = now.Add(b.cfg.openTime(b.failures))
		b.turn(Opened, now, reason)
		select {
		case b.opened <- struct{}{}:
		default:
		}
	case gobreaker.StateClosed:
		b.failures = 0
		b.turn(Closed, now, "the probes succeeded")
		b.last.Store(0)
		b.flying.Store(0) // those who still hang are of another time
	}
}

// turn changes the state and queues the event; mu is held.
func (b *breaker) turn(to State, now time.Time, reason string) {
	change := StateChange{From: b.state(), To: to, At: now, Reason: reason}
	if to == Opened {
		change.Until = b.until
	}
	b.since = now
	b.epoch.Add(1)
	b.current.Store(uint32(to))
	b.events = append(b.events, change)
	b.pending.Store(true)
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
