package resilience

import (
	"math/rand/v2"
	"time"
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
	// InFlight opens when so many calls are under way and none has ended for half
	// of Config.Attempt: a dependency that never answers is left before the first
	// timeout tells. Calls with a Timeout of their own do not count. Default: never,
	// because for a caller who has nobody else a slow answer is better than none;
	// callers who have a backup leave sooner by themselves.
	InFlight int
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
func (s State) String() string {
	if s > Opened {
		s = Opened
	}
	return [...]string{"closed", "half_open", "open"}[s]
}

// MarshalText gives String, for logs and status pages.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// StateChange tells of one change of a breaker.
type StateChange struct {
	Policy   string
	From, To State
	At       time.Time
	Until    time.Time // when opened: the earliest next probe
	Reason   string
}

// patientProbes are made at the same pace: one call every OpenFor harms nobody,
// and who heals within the first minute is noticed at once.
const patientProbes = 8

// openTime is how long to stay open after so many failed probes in a row.
func (b *Breaker) openTime(failedProbes int) time.Duration {
	d := b.OpenFor
	for range failedProbes - patientProbes {
		if d *= 2; d >= b.MaxOpenFor {
			d = b.MaxOpenFor
			break
		}
	}
	// Breakers that opened together must not probe together.
	return time.Duration(float64(d) * (shortestOpen + 0.4*rand.Float64()))
}

// shortestOpen is the least that the jitter makes of an open time.
const shortestOpen = 0.8
