package failover

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// vendors are what providers do at the moment, by id; who is not in it is well.
type vendors struct {
	mu    sync.Mutex
	fails map[string]error
	asked []string
}

func (v *vendors) set(id string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fails == nil {
		v.fails = map[string]error{}
	}
	v.fails[id] = err
}

func (v *vendors) ask(_ context.Context, id string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, id)
	return id, v.fails[id]
}

// who were asked since the last time.
func (v *vendors) who() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer func() { v.asked = nil }()
	out := ""
	for _, id := range v.asked {
		out += id
	}
	return out
}

var effect = Call{Name: "act", Kind: resilience.Effect}

// do makes a call that is answered, and returns who was asked for it.
func do(t *testing.T, g *Group[string], v *vendors, call Call) string {
	t.Helper()
	v.who()
	if _, err := Do(t.Context(), g, call, v.ask); err != nil {
		t.Errorf("the call failed: %v", err)
	}
	return v.who()
}

// switched makes a group whose a has failed and whose b is current.
func switched(t *testing.T, ids ...string) (*Group[string], *vendors) {
	t.Helper()
	g, v := group(t, ids...), &vendors{}
	v.set("a", fail(resilience.Open, resilience.NotSent))
	if got := do(t, g, v, reading); got != "ab" || g.Current() != "b" {
		t.Fatalf("asked %s, current %s", got, g.Current())
	}
	return g, v
}

func TestAFailingProviderIsLeftAfterSomeFailuresOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		calls int // until it is left; 0: never
	}{
		"refused by its breaker": {fail(resilience.Open, resilience.NotSent), 1},
		"refused":                {fail(resilience.Refused, resilience.NotSent), 3},
		"no token":               {fail(resilience.Credential, resilience.NotSent), 3},
		"throttled":              {fail(resilience.Throttled, resilience.Answered), 3},
		"a stranger's error":     {errors.New("no"), 3},
		"not found":              {fail(resilience.NotFound, resilience.Answered), 0},
		"not enrolled":           {elsewhere{fail(resilience.NotFound, resilience.NotSent)}, 0},
		"denied":                 {fail(resilience.Denied, resilience.Answered), 0},
		"rejected":               {fail(resilience.Rejected, resilience.Answered), 0},
		"misuse":                 {resilience.Misusef("no"), 0},
		"overtaken":              {fail(resilience.Canceled, resilience.MaybeSent), 0},
	} {
		t.Run(name, func(t *testing.T) {
			g, v := group(t, "a", "b"), &vendors{}
			v.set("a", tc.err)
			for n := 1; n <= 6; n++ {
				_, _ = Do(t.Context(), g, reading, v.ask)
				want := "a"
				if tc.calls > 0 && n >= tc.calls {
					want = "b"
				}
				if g.Current() != want {
					t.Fatalf("after %d calls %s is current, want %s", n, g.Current(), want)
				}
			}
			if tc.calls > 0 {
				v.who()
				res, err := Do(t.Context(), g, effect, v.ask)
				if got := v.who(); got != "b" || err != nil || !res.Served[0].FellOver || len(res.Gaps) != 0 {
					t.Errorf("asked %s: %+v, %v", got, res, err)
				}
			}
		})
	}
}

// elsewhere is a failure after which another provider may be asked, because it is
// none of this provider's.
type elsewhere struct{ error }

func (elsewhere) TryNext() bool   { return true }
func (e elsewhere) Unwrap() error { return e.error }

// An answer in between, even an unwelcome one, is a sign of life.
func TestOnlyFailuresInARowCount(t *testing.T) {
	for name, between := range map[string]error{"success": nil, "not found": fail(resilience.NotFound, resilience.Answered), "denied": fail(resilience.Denied, resilience.Answered)} {
		g, v := group(t, "a", "b"), &vendors{}
		for range 10 {
			for _, err := range []error{down, down, between} {
				v.set("a", err)
				_, _ = Do(t.Context(), g, reading, v.ask)
			}
		}
		if g.Current() != "a" {
			t.Errorf("%s: left after two failures", name)
		}
	}
	// What the caller knew without asking is none.
	g, v := group(t, "a", "b"), &vendors{}
	for _, err := range []error{down, down, elsewhere{fail(resilience.NotFound, resilience.NotSent)}, down} {
		v.set("a", err)
		do(t, g, v, reading)
	}
	if g.Current() != "b" {
		t.Error("a host that is not enrolled made its provider well")
	}
}

// Effects that may have been sent do not go on to the next provider. The next
// effect must not go to the silent one for ever.
func TestLostAnswersOfEffectsMoveThePreferenceToo(t *testing.T) {
	g, v := group(t, "a", "b"), &vendors{}
	v.set("a", fail(resilience.Timeout, resilience.MaybeSent))
	for range 3 {
		if _, err := Do(t.Context(), g, effect, v.ask); err == nil {
			t.Fatal("an effect failed over after a lost answer")
		}
	}
	if got := do(t, g, v, effect); got != "b" {
		t.Errorf("asked %s", got)
	}
}

func TestACallersLeavingSaysNothingOfTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := group(t, "a", "b")
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, _ = Do(ctx, g, reading, func(ctx context.Context, _ string) (int, error) {
				<-ctx.Done()
				return 0, fail(resilience.Timeout, resilience.MaybeSent) // whatever a driver makes of it
			})
			cancel()
		}
		if e := g.Explain(); e.Current != "a" || e.Providers[0].Failures != 0 {
			t.Errorf("%v", e)
		}
	})
}

// Flapping: calls go on one by one, none fails, and the preference moves once in
// Hold at most.
func TestFlappingMovesThePreferenceOnceInHoldAtMost(t *testing.T) {
	for name, flap := range map[string]func(v *vendors, even bool){
		"the preferred one flaps": func(v *vendors, even bool) {
			v.set("a", map[bool]error{true: down}[even])
		},
		"both flap in turn": func(v *vendors, even bool) {
			v.set("a", map[bool]error{true: down}[even])
			v.set("b", map[bool]error{false: down}[even])
		},
		"breakers in turn": func(v *vendors, even bool) {
			open := fail(resilience.Open, resilience.NotSent)
			v.set("a", map[bool]error{true: open}[even])
			v.set("b", map[bool]error{false: open}[even])
		},
	} {
		for _, probed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g, v := group(t, "a", "b"), &vendors{}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if probed {
						go func() {
							_ = g.Run(ctx, func(ctx context.Context, id string) error { _, err := v.ask(ctx, id); return err }, time.Second)
						}()
					}
					var at []time.Time
					last := g.Current()
					for tick := range 10 * 60 * 10 { // ten minutes, ten calls a second
						if tick%50 == 0 {
							flap(v, tick/50%2 == 0)
						}
						call := reading
						if tick%2 == 0 {
							call = effect
						}
						do(t, g, v, call)
						if c := g.Current(); c != last {
							last = c
							at = append(at, time.Now())
						}
						time.Sleep(100 * ms)
					}
					for i := range at {
						if i > 0 && at[i].Sub(at[i-1]) < 30*time.Second {
							t.Errorf("switched %v after the switch before", at[i].Sub(at[i-1]))
						}
					}
					if len(at) == 0 || len(at) > 20 {
						t.Errorf("%d switches in ten minutes", len(at))
					}
				})
			})
		}
	}
}

// A permanent outage of the first must not keep the second from being tried.
// A cordon that ends puts the provider back where it was, and failures while it was
// cordoned move the preference from the one that stood in.
// Groups made by Only share what their parent knows, both ways.
// What the current one cannot do goes on in the order of preference.
func TestBehindTheCurrentProviderTheOrderHolds(t *testing.T) {
	g, v := switched(t, "a", "b", "c")
	v.set("a", nil)
	v.set("b", down)
	res, err := Do(t.Context(), g, effect, v.ask)
	if err != nil || v.who() != "ba" || !res.Served[0].FellOver {
		t.Errorf("%+v, %v", res, err)
	}
}

// A backup gets at most two tries of the provider before it: one failure may be
// chance, and more would eat the backup's time.
func TestAProviderWithABackupIsTriedTwiceAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, class := range []resilience.Class{resilience.Unavailable, resilience.Broken, resilience.Timeout, resilience.Refused, resilience.Throttled} {
			policies := map[string]*resilience.Policy{}
			for _, id := range []string{"a", "b"} {
				p, err := resilience.New(id, resilience.Config{})
				if err != nil {
					t.Fatal(err)
				}
				policies[id] = p
			}
			tries := map[string]int{}
			begin := time.Now()
			res, err := Do(t.Context(), group(t, "a", "b"), reading, func(ctx context.Context, id string) (string, error) {
				return resilience.Do(ctx, policies[id], resilience.Call{Name: "x", Kind: resilience.Read}, func(context.Context) (string, error) {
					if tries[id]++; id == "a" {
						return "", fail(class, resilience.MaybeSent)
					}
					return id, nil
				})
			})
			want := 2
			if class == resilience.Timeout || class == resilience.Refused || class == resilience.Throttled {
				want = 1 // it is definite
			}
			if err != nil || res.By() != "b" || tries["a"] != want || tries["b"] != 1 || time.Since(begin) != 0 {
				t.Errorf("%s: tried %v after %v, %v", class, tries, time.Since(begin), err)
			}
		}
	})
}

func TestTwoHundredCallersWhileThePreferenceMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, v := group(t, "a", "b", "c"), &vendors{}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				for ctx.Err() == nil {
					call := []Call{reading, effect, interchangeable}[n%3]
					res, err := Do(t.Context(), g, call, func(ctx context.Context, id string) (string, error) {
						time.Sleep(time.Duration(rand.IntN(50)) * ms)
						return v.ask(ctx, id)
					})
					if err != nil || res.Value != res.By() {
						t.Errorf("%+v, %v", res, err)
						return
					}
					time.Sleep(time.Duration(rand.IntN(2000)) * ms)
				}
			})
		}
		wg.Go(func() { // c is always well
			for n := 0; ctx.Err() == nil; n++ {
				v.set("a", []error{nil, down, fail(resilience.Open, resilience.NotSent)}[n%3])
				v.set("b", []error{down, nil}[n%2])
				time.Sleep(7 * time.Second)
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = g.Cordon("b", "drill", "soc")
				time.Sleep(11 * time.Second)
				g.Uncordon("b")
				_, _ = g.Explain().String(), g.Current()
				time.Sleep(11 * time.Second)
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil { // Runs come and go
				rctx, stop := context.WithTimeout(ctx, 40*time.Second)
				_ = g.Run(rctx, func(ctx context.Context, id string) error { _, err := v.ask(ctx, id); return err }, 3*time.Second)
				stop()
				time.Sleep(40 * time.Second)
			}
		})
		wg.Wait()
		e := g.Explain()
		if n := len(e.Switches); n < 4 {
			t.Errorf("only %d switches: %v", n, e)
		}
		if !slices.IsSortedFunc(e.Switches, func(a, b Switch) int { return int(a.At.Add(30 * time.Second).Compare(b.At)) }) {
			t.Errorf("%v", e)
		}
		if g.preference.trial != none || g.preference.probing != 0 {
			t.Error("a trial or a Run was never ended")
		}
	})
}
