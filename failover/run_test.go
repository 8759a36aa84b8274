package failover

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// running probes the group until the test ends.
func running(t *testing.T, g *Group[string], probe func(context.Context, string) error, every time.Duration) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.Run(ctx, probe, every) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
}

func TestRunProbesNothingWhileAllIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, probes := group(t, "a", "b"), 0
		defer running(t, g, func(context.Context, string) error { probes++; return nil }, time.Second)()
		if err := g.Cordon("a", "drill", "soc"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		g.Uncordon("a")
		time.Sleep(time.Hour)
		if probes != 0 {
			t.Errorf("%d probes", probes)
		}
	})
}

func TestRunBringsARecoveredProviderBackNotBeforeHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b", "c")
		begin := time.Now()
		var probed []string
		defer running(t, g, func(ctx context.Context, id string) error {
			probed = append(probed, id)
			_, err := v.ask(ctx, id)
			return err
		}, 4*time.Second)()
		time.Sleep(50 * time.Second)
		if got := do(t, g, v, reading); got != "b" || g.Current() != "b" {
			t.Errorf("asked %s: a read was a trial while Run probes, or a sick provider came back", got)
		}
		v.set("a", nil) // at 50 s; probes at 52, 56, 60
		time.Sleep(10*time.Second - 1)
		if g.Current() != "b" {
			t.Error("failed back after two good probes")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if g.Current() != "a" || time.Since(begin) != time.Minute {
			t.Errorf("%s is current after %v", g.Current(), time.Since(begin))
		}
		if len(probed) != 15 || strings.Join(probed, "") != strings.Repeat("a", 15) {
			t.Errorf("probed %v", probed)
		}
		// The next one: well at once, and still not before Hold.
		v.set("a", fail(resilience.Open, resilience.NotSent))
		time.Sleep(30 * time.Second)
		do(t, g, v, effect)
		v.set("a", nil)
		time.Sleep(30*time.Second - 1)
		if g.Current() != "b" {
			t.Error("failed back before Hold")
		}
		time.Sleep(5 * time.Second)
		if g.Current() != "a" {
			t.Error("did not fail back after Hold")
		}
	})
}

func TestAFailureBetweenGoodProbesBeginsTheCountAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b")
		var well atomic.Bool
		n := 0
		defer running(t, g, func(context.Context, string) error {
			if n++; n%3 == 0 && !well.Load() {
				return fail(resilience.Denied, resilience.Answered) // it would refuse the calls too
			}
			return nil
		}, time.Second)()
		time.Sleep(time.Hour)
		if g.Current() != "b" {
			t.Error("failed back after two good probes and a bad one")
		}
		// And so does the failure of a call.
		well.Store(true)
		v.set("a", down)
		for range 100 {
			_, _ = Do(WithOnly(t.Context(), "a"), g, effect, v.ask)
			time.Sleep(1900 * ms)
		}
		if g.Current() != "b" {
			t.Error("failed back while calls fail")
		}
	})
}

func TestAProbeThatHangsOrPanicsHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			probe func(context.Context, string) error
			class resilience.Class
			text  string
		}{
			"hangs":  {func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }, resilience.Timeout, "probe: the time given"},
			"panics": {func(context.Context, string) error { panic("boom") }, resilience.Unknown, "probe: provider a panicked: boom"},
		} {
			g, _ := switched(t, "a", "b")
			begin := time.Now()
			stop := running(t, g, tc.probe, 10*time.Second)
			time.Sleep(time.Minute)
			synctest.Wait()
			stop()
			got := g.Explain().Providers[0]
			if got.Failures < 3 || got.Last.Class != tc.class || !strings.HasPrefix(got.Last.Text, tc.text) || got.Last.At.Before(begin.Add(50*time.Second)) {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// The end of Run is no failure of the provider that it was probing, and reads try
// again afterwards.
func TestTheEndOfRunSaysNothingOfAProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b", "c")
		before := g.Explain().Providers[0].Failures
		stop := running(t, g, func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }, time.Hour)
		time.Sleep(time.Hour + time.Minute)
		if got := do(t, g, v, reading); got != "b" {
			t.Errorf("asked %s", got)
		}
		stop()
		if got := g.Explain().Providers[0].Failures; got != before {
			t.Errorf("%d failures, before %d", got, before)
		}
		v.set("a", nil)
		if got := do(t, g, v, reading); got != "a" {
			t.Errorf("asked %s", got)
		}
	})
}

// A part of a group is probed as far as it goes.
func TestRunOfAPartProbesTheParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b", "c")
		time.Sleep(30 * time.Second)
		v.set("b", fail(resilience.Open, resilience.NotSent))
		if got := do(t, g, v, effect); got != "bac" {
			t.Fatal(got)
		}
		part := g.Only(func(m Member[string]) bool { return m.ID != "a" })
		defer running(t, part, func(_ context.Context, id string) error {
			if id != "b" {
				t.Errorf("probed %s", id)
			}
			return nil
		}, 11*time.Second)()
		time.Sleep(34 * time.Second)
		if g.Current() != "b" {
			t.Errorf("%s is current", g.Current())
		}
	})
}

func TestRunNamesItsMistake(t *testing.T) {
	g := group(t, "a")
	ok := func(context.Context, string) error { return nil }
	for want, err := range map[string]error{
		"needs a probe": g.Run(t.Context(), nil, time.Second),
		"say how often": g.Run(t.Context(), ok, 0),
	} {
		if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, cfg := range []Config{{SwitchAfter: -1}, {Hold: -1}, {FailbackAfter: -1}} {
		cfg.Capability = "x"
		if _, err := NewGroup(cfg, Member[int]{ID: "a"}); err == nil || !strings.Contains(err.Error(), "Config.SwitchAfter") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
