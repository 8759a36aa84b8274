package resilience

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Explanation is what [Policy.Explain] tells: a value for status pages, and by
// String a text for people. It holds no error text, which could quote the other
// side.
type Explanation struct {
	Policy       string    `json:"policy"`
	State        State     `json:"state"`
	Since        time.Time `json:"since,omitzero"`      // of the state; zero: always
	Reason       string    `json:"reason,omitempty"`    // why it opened, if it is not closed
	NextProbe    time.Time `json:"next_probe,omitzero"` // if it is not closed: not before then
	FailedProbes int       `json:"failed_probes"`       // in a row since it was last closed
	Last         int       `json:"last"`                // calls it looks back on, 20 at most
	Failed       int       `json:"failed"`              // of these
	Failures     []Failed  `json:"failures"`            // the latest five, the newest last
	Places       int       `json:"places"`              // of the concurrency limit; 0: no limit
	Free         int       `json:"free"`                // of these; -1: no limit
	Avoided      []Avoided `json:"avoided"`             // operations that callers with a backup are kept from
}

// Failed is one failed attempt.
type Failed struct {
	At        time.Time `json:"at"`
	Operation string    `json:"operation"`
	Class     Class     `json:"class"`
	Status    int       `json:"status,omitempty"`     // HTTP status, 0 if none
	RequestID string    `json:"request_id,omitempty"` // the vendor's, for its support
}

// Avoided is an operation that has become slow or silent.
type Avoided struct {
	Operation string        `json:"operation"`
	UnderWay  int           `json:"under_way"`
	Slow      time.Duration `json:"slow_ns"` // longer than this is slow
	NextProbe time.Time     `json:"next_probe"`
}

// Explain tells what the policy is doing and why.
func (p *Policy) Explain() Explanation {
	e := Explanation{Policy: p.name, Places: cap(p.limit), Free: p.limit.free()}
	p.breaker.explain(&e)
	e.Failures = p.failures.latest()
	e.Avoided = p.seen.avoided()
	return e
}

func (b *breaker) explain(e *Explanation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.State, e.Since = b.state(), b.since
	w := b.window()
	e.Last, e.Failed = w.count(), w.failed()
	if e.State != Closed {
		e.Reason, e.NextProbe, e.FailedProbes = b.reason, b.until, b.failures
	}
}

// String tells it one thing a line.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Policy, strings.ReplaceAll(e.State.String(), "_", " "))
	if e.State == Closed {
		fmt.Fprintf(&b, "; %d of the last %d calls failed", e.Failed, e.Last)
	} else {
		fmt.Fprintf(&b, " because %s, since %s; the next probe may go in %v; %d probes failed since",
			e.Reason, clock(e.Since), in(e.NextProbe), e.FailedProbes)
	}
	if e.Places > 0 {
		fmt.Fprintf(&b, "\n  %d of %d places free", e.Free, e.Places)
	}
	for _, a := range e.Avoided {
		fmt.Fprintf(&b, "\n  %s is slow or silent (%d under way, slow is over %v): callers with a backup go there; the next probe may go in %v",
			a.Operation, a.UnderWay, a.Slow.Round(time.Millisecond), in(a.NextProbe))
	}
	for _, f := range e.Failures {
		fmt.Fprintf(&b, "\n  %s %s failed: %s", clock(f.At), f.Operation, f.Class)
		if f.Status != 0 {
			fmt.Fprintf(&b, ", HTTP %d", f.Status)
		}
		if f.RequestID != "" {
			fmt.Fprintf(&b, ", request %s", f.RequestID)
		}
	}
	return b.String()
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000Z") }

func in(t time.Time) time.Duration { return max(0, time.Until(t)).Round(time.Millisecond) }

// failures remembers the latest failed attempts.
type failures struct {
	mu   sync.Mutex
	ring [5]Failed
	n    int // ever noted
}

func (f *failures) note(failed Failed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring[f.n%len(f.ring)] = failed
	f.n++
}

func (f *failures) latest() []Failed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n <= len(f.ring) {
		return slices.Clone(f.ring[:f.n])
	}
	oldest := f.n % len(f.ring)
	return append(slices.Clone(f.ring[oldest:]), f.ring[:oldest]...)
}
