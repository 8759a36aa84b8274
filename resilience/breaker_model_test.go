package resilience

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// reference is the breaker as the documentation tells it, one call at a time.
type reference struct {
	state  State
	last   []bool // failed, newest last
	goods  int    // good probes in a row
	failed int    // probes failed since it was last closed
	opened time.Time
}

const (
	modelFailures = 3
	modelProbes   = 2
	modelOpenFor  = 10 * time.Second
	modelMaxOpen  = 25 * time.Second
)

// openTime is the middle of the jitter.
func (m *reference) openTime() time.Duration {
	d := modelOpenFor
	for range m.failed - patientProbes {
		d = min(2*d, modelMaxOpen)
	}
	return d
}

func (m *reference) open() { m.state, m.opened, m.goods = Opened, time.Now(), 0 }

// admits reports whether a call passes; sure is false inside the jitter.
func (m *reference) admits() (admitted, sure bool) {
	if m.state != Opened {
		return true, true
	}
	since, d := time.Since(m.opened), m.openTime()
	return since > d, since < d*8/10 || since > d*12/10
}

func (m *reference) settle(outcome error) {
	if m.state == Opened {
		m.state = HalfOpen // it was admitted, so it is a probe
	}
	neutral := Of(outcome).Class == Throttled
	switch {
	case outcome != nil && neutral:
	case m.state == HalfOpen && outcome != nil:
		m.failed++
		m.open()
	case m.state == HalfOpen:
		if m.goods++; m.goods == modelProbes {
			*m = reference{}
		}
	default:
		m.last = append(m.last, outcome != nil)
		if len(m.last) > lastCalls {
			m.last = m.last[1:]
		}
		n := 0
		for _, failed := range m.last {
			if failed {
				n++
			}
		}
		if outcome != nil && n >= modelFailures {
			m.open()
		}
	}
}

// step is a wait or a call.
type step struct {
	wait    time.Duration
	outcome error
}

// The breaker does what the reference does, whatever happens in whatever order.
func TestBreakerAgainstAModel(t *testing.T) {
	waits := rapid.SampledFrom([]time.Duration{time.Second, 6 * time.Second, 13 * time.Second, 31 * time.Second})
	outcomes := rapid.SampledFrom([]error{nil, nil, fail(Unavailable, MaybeSent), fail(Timeout, MaybeSent), fail(Throttled, Answered)})
	steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		if rapid.Bool().Draw(rt, "wait") {
			return step{wait: waits.Draw(rt, "time")}
		}
		return step{outcome: outcomes.Draw(rt, "outcome")}
	}), 1, 150)
	rapid.Check(t, func(rt *rapid.T) {
		history := steps.Draw(rt, "history")
		var wrong string
		// rapid wants to look at the clock of the world: only the history is played
		// in a bubble.
		synctest.Test(t, func(t *testing.T) { wrong = replay(t, history) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func replay(t *testing.T, history []step) string {
	p := policy(t, Config{Breaker: Breaker{
		LastFailed: modelFailures, MinCalls: 1 << 20, Probes: modelProbes,
		OpenFor: modelOpenFor, MaxOpenFor: modelMaxOpen,
	}})
	model := &reference{}
	for i, s := range history {
		if s.wait > 0 {
			time.Sleep(s.wait)
			continue
		}
		want, sure := model.admits()
		n, err := try(t.Context(), p, Call{Name: "x", Kind: Read, Attempts: 1}, s.outcome)
		admitted := n == 1
		switch {
		case sure && admitted != want:
			return fmt.Sprintf("step %d: admitted %v, the model %v; %s", i, admitted, want, p.Explain())
		case !admitted && !errors.Is(err, ErrOpen):
			return fmt.Sprintf("step %d: refused with %v", i, err)
		case !admitted:
			continue
		}
		model.settle(s.outcome)
		if p.State() != model.state {
			return fmt.Sprintf("step %d: %v, the model %v", i, p.State(), model.state)
		}
	}
	return ""
}
