package resilience

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// reference is the breaker as the documentation tells it.
type reference struct {
	state  State
	epoch  int // counts the changes: what began before one counts for nothing
	last   []bool
	goods  int // good probes in a row
	failed int // probes failed since it was last closed
	opened time.Time
	probe  *modelCall // under way
}

// modelCall is a call that has been admitted.
type modelCall struct {
	epoch   int
	probe   bool
	began   time.Time
	outcome chan error
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

func (m *reference) turn(to State) {
	m.state, m.goods, m.last = to, 0, nil
	m.epoch++
	switch to {
	case Opened:
		m.opened = time.Now()
	case Closed:
		m.failed = 0
	}
}

func (m *reference) probeFailed() {
	m.probe = nil
	m.failed++
	m.turn(Opened)
}

// admits reports whether a call passes; sure is false inside the jitter.
func (m *reference) admits() (admitted, sure bool) {
	switch {
	case m.state == Closed:
		return true, true
	case m.state == Opened:
		since, d := time.Since(m.opened), m.openTime()
		return since > d, since < d*8/10 || since > d*12/10
	case m.probe == nil:
		return true, true
	case time.Since(m.probe.began) >= probeDeadline:
		m.probeFailed() // it hangs
	}
	return false, true
}

func (m *reference) begin(c *modelCall) {
	c.began = time.Now()
	if c.probe = m.state != Closed; c.probe {
		m.state, m.probe = HalfOpen, c
	}
	c.epoch = m.epoch
}

func (m *reference) end(c *modelCall, outcome error) {
	neutral := outcome != nil && Of(outcome).Class == Throttled
	switch {
	case c.probe && m.probe != c: // given up
	case c.probe && neutral:
		m.probe = nil
	case c.probe && outcome != nil:
		m.probeFailed()
	case c.probe:
		m.probe = nil
		if m.goods++; m.goods == modelProbes {
			m.turn(Closed)
		}
	case c.epoch != m.epoch || neutral:
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
			m.turn(Opened)
		}
	}
}

// step is a wait, the beginning of a call, or the end of one that is under way.
type step struct {
	wait    time.Duration
	begin   bool
	which   int
	outcome error
}

// The breaker does what the reference does, whatever happens in whatever order,
// with any number of calls under way.
func TestBreakerAgainstAModel(t *testing.T) {
	waits := rapid.SampledFrom([]time.Duration{time.Second, 6 * time.Second, 13 * time.Second, 31 * time.Second})
	outcomes := rapid.SampledFrom([]error{nil, nil, fail(Unavailable, MaybeSent), fail(Timeout, MaybeSent), fail(Throttled, Answered)})
	steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		switch rapid.IntRange(0, 4).Draw(rt, "kind") {
		case 0:
			return step{wait: waits.Draw(rt, "time")}
		case 1, 2:
			return step{begin: true}
		default:
			return step{which: rapid.IntRange(0, 5).Draw(rt, "which"), outcome: outcomes.Draw(rt, "outcome")}
		}
	}), 80, 200) // shorter ones hardly ever open it twice
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
	p := policy(t, Config{Attempt: -1, Total: -1, Breaker: Breaker{
		LastFailed: modelFailures, MinCalls: 1 << 20, Probes: modelProbes,
		OpenFor: modelOpenFor, MaxOpenFor: modelMaxOpen,
	}})
	model := &reference{}
	var flying []*modelCall
	defer func() {
		for _, c := range flying {
			c.outcome <- nil
		}
		synctest.Wait()
	}()
	for i, s := range history {
		switch {
		case s.wait > 0:
			time.Sleep(s.wait)
		case s.begin:
			want, sure := model.admits()
			c := &modelCall{outcome: make(chan error)}
			admitted, err := start(t.Context(), p, c)
			switch {
			case sure && admitted != want:
				return fmt.Sprintf("step %d: admitted %v, the model %v; %s", i, admitted, want, p.Explain())
			case !admitted && !errors.Is(err, ErrOpen):
				return fmt.Sprintf("step %d: refused with %v", i, err)
			case admitted:
				model.begin(c)
				flying = append(flying, c)
			}
		case s.which < len(flying):
			c := flying[s.which]
			flying = append(flying[:s.which:s.which], flying[s.which+1:]...)
			c.outcome <- s.outcome
			synctest.Wait()
			model.end(c, s.outcome)
		}
		if p.State() != model.state {
			return fmt.Sprintf("step %d: %v, the model %v", i, p.State(), model.state)
		}
	}
	return ""
}

// start begins a call that ends when it is told its outcome, and reports whether
// it was admitted.
func start(ctx context.Context, p *Policy, c *modelCall) (admitted bool, refusal error) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := Do(ctx, p, Call{Name: "x", Kind: Read, Attempts: 1}, func(context.Context) (int, error) {
			close(begun)
			return 0, <-c.outcome
		})
		ended <- err
	}()
	select {
	case <-begun:
		return true, nil
	case err := <-ended:
		return false, err
	}
}
