package failover

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/resilience"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func group(t *testing.T, ids ...string) *Group[string] {
	t.Helper()
	var members []Member[string]
	for _, id := range ids {
		members = append(members, Member[string]{ID: id, Value: id})
	}
	g, err := NewGroup(Config{Capability: "test"}, members...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

type failing struct{ f resilience.Failure }

func (e *failing) Error() string               { return "failing: " + e.f.Class.String() }
func (e *failing) Failure() resilience.Failure { return e.f }

func fail(c resilience.Class, s resilience.Sent) error {
	return &failing{resilience.Failure{Class: c, Sent: s}}
}

// An effect goes on to the next provider only if the failed one provably did
// nothing; a read after every failure that another may do better.
func TestWhenTheNextProviderIsAsked(t *testing.T) {
	for _, tc := range []struct {
		err    error
		effect bool // asked for an effect
		read   bool // asked for a read
	}{
		{fail(resilience.Refused, resilience.NotSent), true, true},
		{fail(resilience.Open, resilience.NotSent), true, true},
		{fail(resilience.Credential, resilience.NotSent), true, true},
		{fail(resilience.Throttled, resilience.Answered), true, true},
		{fail(resilience.Sunset, resilience.Answered), true, true},
		{fail(resilience.Timeout, resilience.MaybeSent), false, true},
		{fail(resilience.Unavailable, resilience.MaybeSent), false, true},
		{errors.New("a stranger's error"), false, true},
		{fail(resilience.Denied, resilience.Answered), false, false},
		{fail(resilience.Rejected, resilience.Answered), false, false},
		{fail(resilience.Misuse, resilience.NotSent), false, false},
	} {
		for kind, want := range map[resilience.Kind]bool{resilience.Effect: tc.effect, resilience.Idempotent: tc.effect, resilience.Read: tc.read} {
			var asked []string
			res, err := Do(t.Context(), group(t, "a", "b"), Call{Name: "x", Kind: kind}, func(_ context.Context, p string) (string, error) {
				asked = append(asked, p)
				if p == "a" {
					return "", tc.err
				}
				return "value of " + p, nil
			})
			if got := len(asked) == 2; got != want {
				t.Errorf("%v, %v: asked %v", tc.err, kind, asked)
			}
			if len(res.Gaps) != 1 || res.Gaps[0].Provider != "a" || !errors.Is(res.Gaps[0].Err, tc.err) {
				t.Errorf("gaps %v", res.Gaps)
			}
			switch {
			case want && (err != nil || res.By() != "b" || !res.Served[0].FellOver || res.Value != "value of b"):
				t.Errorf("%+v, %v", res, err)
			case !want && !errors.Is(err, tc.err):
				t.Errorf("the provider's error is lost: %v", err)
			}
		}
	}
}

// A provider that never answers cannot eat the others' time, and what one does
// not use the others have.
func TestDeadlineIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		begin := time.Now()
		var at []string
		_, err := Do(ctx, group(t, "a", "b", "c"), Call{Name: "x", Kind: resilience.Read}, func(ctx context.Context, p string) (int, error) {
			at = append(at, fmt.Sprint(p, time.Since(begin)))
			if p == "b" {
				return 0, fail(resilience.Refused, resilience.NotSent)
			}
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if got, want := fmt.Sprint(at), "[a0s b3s c3s]"; got != want {
			t.Errorf("began at %s, want %s", got, want)
		}
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 9*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// errors.Is(err, context.DeadlineExceeded) means the caller's own context ended.
func TestDeadlinesAreTheCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _ string) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		if _, err := Do(t.Context(), group(t, "a", "b"), Call{Name: "x"}, hang); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do: %v", err)
		}
		_, err := Each(t.Context(), group(t, "a", "b"), Call{Name: "x"}, func(ctx context.Context, m Member[string]) (int, error) { return hang(ctx, m.ID) })
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Each: %v", err)
		}
	})
}

func TestACancelledCallerIsNotFailedOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := Do(ctx, group(t, "a", "b"), Call{Name: "x", Kind: resilience.Read}, func(context.Context, string) (int, error) {
		n++
		cancel()
		return 0, fail(resilience.Refused, resilience.NotSent)
	})
	if n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("asked %d, %v", n, err)
	}
}

func TestEachMergesWhatArrived(t *testing.T) {
	res, err := Each(t.Context(), group(t, "a", "b", "c"), Call{Name: "x", Kind: resilience.Read}, func(_ context.Context, m Member[string]) (string, error) {
		switch m.ID {
		case "b":
			return "", fail(resilience.Timeout, resilience.MaybeSent)
		case "c":
			panic("boom")
		}
		return "value", nil
	})
	if err != nil || res.Complete() || len(res.Value) != 1 || len(res.Gaps) != 2 || res.Gaps[0].Provider != "b" || res.Gaps[1].Provider != "c" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestEmptyGroup(t *testing.T) {
	none := group(t, "a").Only(func(Member[string]) bool { return false })
	if _, err := Do(t.Context(), none, Call{Name: "x"}, func(context.Context, string) (int, error) { return 0, nil }); !errors.Is(err, ErrNoProvider) {
		t.Errorf("got %v", err)
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	if _, err := NewGroup[int](Config{}); err == nil {
		t.Error("a group without a capability")
	}
	for _, members := range [][]Member[int]{nil, {{ID: ""}}, {{ID: "a"}, {ID: "a"}}} {
		if _, err := NewGroup(Config{Capability: "x"}, members...); err == nil {
			t.Errorf("accepted %v", members)
		}
	}
}

func TestOutcomeTextRoundTrips(t *testing.T) {
	for o := Unset; o <= Unsupported; o++ {
		text, _ := o.MarshalText()
		var back Outcome
		if err := back.UnmarshalText(text); err != nil || back != o {
			t.Errorf("%v: %v, %v", o, back, err)
		}
	}
	if err := new(Outcome).UnmarshalText([]byte("perhaps")); err == nil {
		t.Error("an unknown outcome was read")
	}
}
