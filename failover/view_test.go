package failover

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

func TestACordonIsObeyedAtOnceAndIsNoSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b", "c")
		if err := g.Cordon("b", "drill", "soc"); err != nil {
			t.Fatal(err)
		}
		// Not a: it was left for its health.
		if got := do(t, g, v, effect); got != "c" || g.Current() != "c" || len(g.Explain().Switches) != 1 {
			t.Errorf("asked %s: %v", got, g.Explain())
		}
		g.Uncordon("b")
		if got := do(t, g, v, effect); got != "b" || g.Current() != "b" {
			t.Errorf("asked %s", got)
		}
		// A cordoned provider is not tried, and does not come back.
		v.set("a", nil)
		if err := g.Cordon("a", "drill", "soc"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		even := reading
		even.EvenCordoned = true
		for _, call := range []Call{reading, even} {
			if got := do(t, g, v, call); got != "b" {
				t.Errorf("asked %s", got)
			}
		}
		g.Uncordon("a")
		if got := do(t, g, v, reading); got != "a" {
			t.Errorf("asked %s, want a trial", got)
		}
		for _, id := range []string{"a", "b", "c"} {
			if err := g.Cordon(id, "drill", "soc"); err != nil {
				t.Fatal(err)
			}
		}
		if g.Current() != "" {
			t.Errorf("%s is current", g.Current())
		}
	})
}

func TestACordonOfTheCurrentProviderIsNotItsFailure(t *testing.T) {
	g, v := group(t, "a", "b", "c"), &vendors{}
	if err := g.Cordon("a", "drill", "soc"); err != nil {
		t.Fatal(err)
	}
	if g.Current() != "b" || len(g.Explain().Switches) != 0 {
		t.Errorf("%v", g.Explain())
	}
	g.Uncordon("a")
	if g.Current() != "a" {
		t.Errorf("%v", g.Explain())
	}
	if err := g.Cordon("a", "drill", "soc"); err != nil {
		t.Fatal(err)
	}
	v.set("b", fail(resilience.Open, resilience.NotSent))
	if got := do(t, g, v, reading); got != "bc" || g.Current() != "c" || g.Explain().Switches[0].From != "b" {
		t.Errorf("asked %s: %v", got, g.Explain())
	}
}

func TestInterchangeableReadsNeitherMoveNorFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := group(t, "a", "b"), &vendors{}
		v.set("a", fail(resilience.Open, resilience.NotSent))
		for range 10 {
			do(t, g, v, interchangeable)
			_, _ = Do(WithOnly(t.Context(), "a"), g, interchangeable, v.ask)
		}
		if e := g.Explain(); e.Current != "a" || e.Providers[0].Last != nil {
			t.Errorf("moved: %v", e)
		}
		g, v = switched(t, "a", "b")
		if got := do(t, g, v, interchangeable); got != "ab" {
			t.Errorf("followed: asked %s", got)
		}
	})
}

func TestOnlyAndWithoutFailoverKnowTheCurrentProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := switched(t, "a", "b", "c")
		time.Sleep(time.Hour) // a trial is due
		for name, tc := range map[string]struct {
			ctx  context.Context
			call Call
			want string
		}{
			"that provider":    {WithOnly(t.Context(), "c"), reading, "c"},
			"the current one":  {WithoutFailover(t.Context()), reading, "b"},
			"and of any kind":  {WithoutFailover(t.Context()), interchangeable, "b"},
			"the current of c": {WithoutFailover(WithOnly(t.Context(), "c")), reading, "c"},
		} {
			v.who()
			if _, err := Do(tc.ctx, g, tc.call, v.ask); err != nil || v.who() != tc.want {
				t.Errorf("%s: %v", name, err)
			}
		}
		v.set("a", nil)
		for range 5 {
			_, _ = Do(WithOnly(t.Context(), "a"), g, reading, v.ask)
		}
		if g.Current() != "b" {
			t.Error("calls that named their provider were trials")
		}
	})
}

func TestAPartOfAGroupSharesItsState(t *testing.T) {
	g, v := group(t, "a", "b", "c"), &vendors{}
	part := g.Only(func(m Member[string]) bool { return m.ID != "b" })
	v.set("a", fail(resilience.Open, resilience.NotSent))
	if got := do(t, part, v, effect); got != "ac" {
		t.Fatalf("asked %s", got)
	}
	// The whole group has a better one than the part's c.
	if got := do(t, g, v, effect); got != "b" || g.Current() != "b" {
		t.Errorf("asked %s, %s is current", got, g.Current())
	}
	// The part does not have b: it begins below it, not with the one that was left.
	if got := do(t, part, v, effect); got != "c" || part.Current() != "c" {
		t.Errorf("asked %s, %s is current in the part", got, part.Current())
	}
}
