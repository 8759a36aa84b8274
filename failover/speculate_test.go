package failover

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

var interchangeable = Call{Name: "x", Kind: resilience.Read, Interchangeable: true}

// after answers when a provider's time has passed, or ends with the context.
func after(times map[string]time.Duration) func(context.Context, string) (string, error) {
	return func(ctx context.Context, p string) (string, error) {
		select {
		case <-time.After(times[p]):
			return p, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

const ms = time.Millisecond

func warmed(t *testing.T) *Group[string] {
	t.Helper()
	g := group(t, "a", "b")
	for range 40 {
		res, err := Do(t.Context(), g, interchangeable, after(map[string]time.Duration{"a": 10 * ms, "b": 15 * ms}))
		if err != nil || res.By() != "a" {
			t.Fatalf("%v, %v", res.By(), err)
		}
	}
	return g
}

func TestASlowProviderIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := warmed(t)
		begin := time.Now()
		res, err := Do(t.Context(), g, interchangeable, after(map[string]time.Duration{"a": time.Hour, "b": 15 * ms}))
		if err != nil || res.By() != "b" || !res.Served[0].FellOver || len(res.Gaps) != 1 || !errors.Is(res.Gaps[0].Err, resilience.ErrOvertaken) {
			t.Errorf("%+v, %v", res, err)
		}
		if d := time.Since(begin); d < 40*ms || d > 50*ms {
			t.Errorf("took %v, want three times the usual 10 ms and the backup's 15 ms", d)
		}
	})
}

func TestTheSlowProviderMayStillWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res, err := Do(t.Context(), warmed(t), interchangeable, after(map[string]time.Duration{"a": 40 * ms, "b": time.Hour}))
		if err != nil || res.By() != "a" || res.Gaps[0].Provider != "b" {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestUsuallyOneProviderIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := warmed(t)
		asked := 0
		for range 100 {
			_, _ = Do(t.Context(), g, interchangeable, func(ctx context.Context, p string) (string, error) {
				asked++
				return after(map[string]time.Duration{"a": 12 * ms})(ctx, p)
			})
		}
		if asked != 100 {
			t.Errorf("asked %d times for 100 calls", asked)
		}
	})
}

func TestEffectsAreNeverSpeculative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := warmed(t)
		effect := interchangeable
		effect.Kind = resilience.Effect
		asked := 0
		_, _ = Do(t.Context(), g, effect, func(ctx context.Context, p string) (string, error) {
			asked++
			return after(map[string]time.Duration{"a": time.Second})(ctx, p)
		})
		if asked != 1 {
			t.Errorf("asked %d providers", asked)
		}
	})
}

func TestSpeculationFailsOverAndKeepsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := warmed(t)
		down := fail(resilience.Refused, resilience.NotSent)
		res, err := Do(t.Context(), g, interchangeable, func(ctx context.Context, p string) (string, error) {
			if p == "a" {
				return "", down
			}
			return p, nil
		})
		if err != nil || res.By() != "b" || !errors.Is(res.Gaps[0].Err, down) {
			t.Errorf("%+v, %v", res, err)
		}
		res, err = Do(t.Context(), g, interchangeable, func(context.Context, string) (string, error) { panic("boom") })
		if err == nil || len(res.Gaps) != 2 {
			t.Errorf("%+v, %v", res, err)
		}
		denied := fail(resilience.Denied, resilience.Answered)
		if res, err = Do(t.Context(), g, interchangeable, func(context.Context, string) (string, error) { return "", denied }); !errors.Is(err, denied) || len(res.Gaps) != 1 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}
