package resilience

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// endpoints are policies, and how long each endpoint takes and with what it ends.
type endpoints struct {
	policies []*Policy
	took     []time.Duration
	errs     []error
	asked    []int
}

func newEndpoints(t *testing.T, cfg Config, n int) *endpoints {
	e := &endpoints{took: make([]time.Duration, n), errs: make([]error, n), asked: make([]int, n)}
	for i := range n {
		e.policies = append(e.policies, policy(t, cfg))
		e.took[i] = 10 * time.Millisecond
	}
	return e
}

func (e *endpoints) ask(ctx context.Context, i int) (int, error) {
	e.asked[i]++
	if err := sleep(ctx, e.took[i]); err != nil {
		return 0, err
	}
	return i, e.errs[i]
}

func (e *endpoints) hedge(ctx context.Context) (int, error) {
	return Hedge(ctx, e.policies, read, e.ask)
}

// learn makes the endpoints' usual time known.
func (e *endpoints) learn(t *testing.T) {
	t.Helper()
	for i := range e.policies {
		for range 30 {
			if _, err := Do(t.Context(), e.policies[i], read, func(ctx context.Context) (int, error) { return e.ask(ctx, i) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	clear(e.asked)
}

func TestHedgeAsksTheNextWhenOneIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoints(t, Config{}, 2)
		e.learn(t)
		if v, err := e.hedge(t.Context()); v != 0 || err != nil || e.asked[1] != 0 {
			t.Errorf("healthy: %d, %v, asked %v", v, err, e.asked)
		}
		e.took[0] = time.Second
		begin := time.Now()
		v, err := e.hedge(t.Context())
		if v != 1 || err != nil {
			t.Errorf("slow: %d, %v", v, err)
		}
		if took := time.Since(begin); took != 40*time.Millisecond { // three times the usual, then the other's own time
			t.Errorf("took %v", took)
		}
	})
}

// The hedge's budget: when all endpoints are slow, few calls are made twice, and
// a call that is not hedged goes on as it is (failsafe-go #141).
func TestHedgeDoesNotDoubleTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoints(t, Config{}, 2)
		e.learn(t)
		e.took[0], e.took[1] = time.Second, time.Second
		for range 100 {
			if _, err := e.hedge(t.Context()); err != nil {
				t.Fatal(err) // slow everywhere is no reason to answer nobody
			}
		}
		if e.asked[0]+e.asked[1] > 140 {
			t.Errorf("100 calls asked %v times", e.asked)
		}
	})
}

// Where every second call is slow, no endpoint is left for good, and only the
// budget keeps half of the calls from being made twice.
func TestHedgeHasABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoints(t, Config{}, 2)
		e.learn(t)
		for i := range 1000 {
			e.took[0] = time.Duration(10+90*(i%2)) * time.Millisecond
			if _, err := e.hedge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := e.asked[1]; n < 200 || n > 210 {
			t.Errorf("%d of 1000 calls were made twice, the budget is a fifth and ten", n)
		}
	})
}

func TestHedgeFailsOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoints(t, Config{}, 2)
		e.errs[0] = fail(Refused, NotSent)
		begin := time.Now()
		if v, err := e.hedge(t.Context()); v != 1 || err != nil || time.Since(begin) != 20*time.Millisecond {
			t.Errorf("%d, %v after %v", v, err, time.Since(begin))
		}
		e.errs[0], e.errs[1] = fail(NotFound, Answered), nil
		e.asked[1] = 0
		if _, err := e.hedge(t.Context()); Of(err).Class != NotFound || e.asked[1] != 0 {
			t.Errorf("an answer that no other endpoint can better: %v, asked %v", err, e.asked)
		}
	})
}

func TestHedgeJoinsTheErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoints(t, Config{Retry: Retry{Attempts: 1}}, 2)
		e.errs[0], e.errs[1] = fail(Unavailable, MaybeSent), fail(Malformed, MaybeSent)
		_, err := e.hedge(t.Context())
		for _, want := range e.errs {
			if !errors.Is(err, want) {
				t.Errorf("%v is lost in %v", want, err)
			}
		}
	})
}

func TestHedgeEndsWithTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoints(t, Config{}, 2)
		e.took[0] = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := e.hedge(ctx); !errors.Is(err, context.DeadlineExceeded) || e.asked[1] != 0 {
			t.Errorf("%v, asked %v", err, e.asked)
		}
	})
}

func TestHedgeOfAPanicIsAnError(t *testing.T) {
	e := newEndpoints(t, Config{}, 1)
	_, err := Hedge(t.Context(), e.policies, read, func(context.Context, int) (int, error) { panic("boom") })
	if e := asError(t, err); e.Class != Unknown {
		t.Error(err)
	}
}

func TestHedgeRefusesWhatItMustNotDo(t *testing.T) {
	p := policy(t, Config{})
	for name, f := range map[string]func() error{
		"no endpoints": func() error { _, err := Hedge(t.Context(), nil, read, (&endpoints{}).ask); return err },
		"an effect": func() error {
			_, err := Hedge(t.Context(), []*Policy{p}, Call{Name: "contain"}, (&endpoints{}).ask)
			return err
		},
		"endpoint 1 is nil": func() error {
			_, err := Hedge(t.Context(), []*Policy{p, nil}, read, (&endpoints{}).ask)
			return err
		},
	} {
		if err := f(); Of(err).Class != Misuse {
			t.Errorf("%s: %v", name, err)
		}
	}
}
