package resilience

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jurymast/jurymast/internal/usual"
)

// operation is what a policy knows of one operation: how long it usually takes,
// and whether it has become so slow, or so silent, that a caller who has a
// backup should not wait for it.
//
// The breaker does not see that: it learns from calls that have ended, so a
// black hole holds every caller for a whole timeout first, and a dependency that
// answers ten times as slowly as usual never fails at all. Slowness refuses only
// callers with a backup; for all others a slow answer is better than none.
type operation struct {
	name     string
	outcomes [len(rules) + 1]atomic.Pointer[series] // by class; the last is ok
	quota    atomic.Pointer[Quota]                  // its own, as the last call had it

	mu    sync.Mutex
	usual usual.Time // of the good calls

	underWay  int
	lastBegin time.Time
	lastEnd   time.Time // of any call, or when the process itself had paused
	begun     int       // calls begun since the last good one ended
	tenth     time.Time // when the stallCalls'th of these began

	shut   time.Time // refusing callers with a backup until then; zero: not
	probe  time.Time // when the caller who may try began; zero: nobody
	goods  int       // good probes in a row
	failed int       // failed probes in a row
}

// stallCalls is how many calls it takes to say anything about all of them.
const stallCalls = 10

// stalled reports that calls are slow or silent as a whole: so many under way and
// nothing has ended for long, or so many begun and none has ended well in time.
func (o *operation) stalled(now time.Time) bool {
	silence := o.usual.Silence()
	if o.underWay == 0 || now.Sub(o.lastBegin) > silence/4 {
		o.lastEnd = now // nobody called either: the pause is our own
	}
	if silence > 0 && o.underWay >= stallCalls && now.Sub(o.lastEnd) > silence {
		return true
	}
	return o.begun >= stallCalls && o.usual.Slow(now.Sub(o.tenth))
}

// admit notes that a call wants to begin. A caller with a backup is refused, for
// at least the returned time, while the operation is shut, except one at a time
// who tries.
func (o *operation) admit(now time.Time, backup bool, b *Breaker) (probe bool, wait time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut.IsZero() && o.stalled(now) {
		o.shutFor(now, b)
	}
	o.lastBegin = now
	if !o.shut.IsZero() && backup {
		if now.Before(o.shut) {
			return false, o.shut.Sub(now), false
		}
		if !o.probe.IsZero() && now.Sub(o.probe) < probeDeadline {
			return false, 0, false
		}
		o.probe, probe = now, true
	}
	o.underWay++
	if o.begun++; o.begun == stallCalls {
		o.tenth = now
	}
	return probe, 0, true
}

// settle notes how a call that was admitted ended, and reports whether it was
// slow. A call that neither went well nor badly (the caller left early) is told
// by good and bad both false.
func (o *operation) settle(now time.Time, took time.Duration, probe, good, bad bool, b *Breaker) (slow bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.underWay--
	o.lastEnd = now
	slow = o.usual.Slow(took)
	switch {
	case good && slow && probe:
		o.usual.Accept(took) // what stays slow becomes the usual
	case good:
		o.usual.Learn(took)
	}
	switch {
	case good && !slow:
		o.begun = 0
	case !good && !bad && !slow && o.begun > 0:
		o.begun-- // the caller left before there was anything to say
	}
	if probe {
		o.probe = time.Time{}
	}
	switch {
	case o.shut.IsZero():
	case good && !slow:
		if o.goods++; o.goods >= b.Probes {
			o.shut, o.goods, o.failed = time.Time{}, 0, 0
		}
	case probe && slow: // also one that was overtaken; a quick failure says nothing of slowness
		o.goods = 0
		o.failed++
		o.shutFor(now, b)
	}
	return slow
}

// shutFor stays away for an eighth of the breaker's open time first: a hiccup is
// soon forgotten, and a probe costs one caller one slow answer.
func (o *operation) shutFor(now time.Time, b *Breaker) {
	d := b.openTime(max(0, o.failed-3))
	o.shut = now.Add(d >> max(0, 3-o.failed))
}

// operations are all that a policy has seen.
type operations struct {
	known atomic.Pointer[map[string]*operation] // replaced whole when one is added
	mu    sync.Mutex
}

// Names are meant to be constants of the code. A caller who puts ids into them
// must neither fill the memory nor make a metric's series without bound: what
// comes after the first maxOperations is one operation, called otherOperations.
const (
	maxOperations   = 200
	otherOperations = "_OTHER"
)

func (m *operations) get(name string) *operation {
	if o := m.all()[name]; o != nil {
		return o
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.all()
	if o := known[name]; o != nil {
		return o
	}
	if len(known) >= maxOperations {
		name = otherOperations
		if o := known[name]; o != nil {
			return o
		}
	}
	more := maps.Clone(known)
	if more == nil {
		more = map[string]*operation{}
	}
	o := &operation{name: name}
	more[name] = o
	m.known.Store(&more)
	return o
}

// all returns what is known. Not to be changed.
func (m *operations) all() map[string]*operation {
	if known := m.known.Load(); known != nil {
		return *known
	}
	return nil
}

// avoided lists the operations that callers with a backup are kept from.
func (m *operations) avoided() (list []Avoided) {
	known := m.all()
	for _, name := range slices.Sorted(maps.Keys(known)) {
		o := known[name]
		o.mu.Lock()
		if !o.shut.IsZero() {
			list = append(list, Avoided{name, o.underWay, o.usual.Patience(), o.shut})
		}
		o.mu.Unlock()
	}
	return list
}

// patience is how long to wait before the operation is slow; 0: not known yet.
func (o *operation) patience() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.usual.Patience()
}
