package resilience

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func once(ctx context.Context, p *Policy, err error) error {
	_, got := try(ctx, p, Call{Name: "x", Kind: Read, Attempts: 1}, err)
	return got
}

func TestBreakerOpensOnTheLastCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		for range 1000 {
			_ = once(t.Context(), p, nil) // a healthy history must not have to be drowned
		}
		failures := 0
		for p.State() == Closed && failures < 100 {
			_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
			failures++
		}
		if failures != 10 {
			t.Errorf("opened after %d failures, want 10", failures)
		}
		err := once(t.Context(), p, nil)
		e := asError(t, err)
		if !errors.Is(err, ErrOpen) || e.Sent != NotSent || e.Class != Open || e.Failure().RetryAfter <= 0 || !e.TryNext() {
			t.Errorf("got %v, %+v", err, e.Failure())
		}
	})
}

// gobreaker's rolling buckets decay: failures as far apart as timeouts never
// reach a count within the window (solace-broker-mcp #205).
func TestSlowTrickleOfTimeoutsOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		for range 10 {
			_ = once(t.Context(), p, fail(Timeout, MaybeSent))
			time.Sleep(30 * time.Second)
		}
		if p.State() != Opened {
			t.Errorf("state %v after ten timeouts in a row", p.State())
		}
	})
}

func TestBreakerOpensOnTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{LastFailed: -1}})
		for i := range 19 {
			var err error
			if i%2 == 0 {
				err = fail(Unavailable, MaybeSent)
			}
			_ = once(t.Context(), p, err)
		}
		if p.State() != Closed {
			t.Fatal("opened before MinCalls")
		}
		_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
		if p.State() != Opened {
			t.Error("half of 20 calls failed and it stayed closed")
		}
	})
}

// cockroach #35433, resilience4j #682 and others: callers who leave must not
// open the breaker, and neither must throttling, refused credentials or 404s.
func TestNotTheDependencysFault(t *testing.T) {
	for _, err := range []error{
		fail(Throttled, Answered), fail(Credential, Answered), fail(Denied, Answered),
		fail(NotFound, Answered), fail(Rejected, Answered), fail(Misuse, NotSent),
	} {
		p := policy(t, Config{})
		for range 100 {
			_ = once(t.Context(), p, err)
		}
		if p.State() != Closed {
			t.Errorf("opened by %v", err)
		}
	}
	p := policy(t, Config{})
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Do(ctx, p, Call{Name: "x", Kind: Read}, func(ctx context.Context) (int, error) {
			cancel()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if p.State() != Closed {
		t.Error("opened by departed callers")
	}
}

func TestSlowCallsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{SlowCall: time.Second}})
		for range 10 {
			_, _ = Do(t.Context(), p, Call{Name: "x", Kind: Read}, func(context.Context) (int, error) {
				time.Sleep(2 * time.Second)
				return 0, nil
			})
		}
		if p.State() != Opened {
			t.Error("nobody trips on latency")
		}
	})
}

// opened returns a policy whose breaker just opened.
func opened(t *testing.T, b Breaker) *Policy {
	t.Helper()
	b.LastFailed = 1
	p := policy(t, Config{Breaker: b})
	_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
	if p.State() != Opened {
		t.Fatal("not open")
	}
	return p
}

// Without a cap on probes a half-open breaker lets everyone at a sick server (Polly #216).
func TestOneCallerProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, Breaker{OpenFor: time.Second, Probes: 2})
		time.Sleep(2 * time.Second)
		release := make(chan struct{})
		go func() {
			_, _ = Do(t.Context(), p, Call{Name: "x", Kind: Read}, func(context.Context) (int, error) { <-release; return 0, nil })
		}()
		synctest.Wait()
		for range 10 {
			if n, err := try(t.Context(), p, Call{Name: "x", Kind: Read}); n != 0 || !errors.Is(err, ErrOpen) {
				t.Errorf("a second caller got through beside the probe: %v", err)
			}
		}
		close(release)
		synctest.Wait()
		if p.State() != HalfOpen {
			t.Errorf("after one of two probes: %v", p.State())
		}
		_ = once(t.Context(), p, nil)
		if p.State() != Closed {
			t.Errorf("after two good probes: %v", p.State())
		}
	})
}

// gobreaker: a hung probe keeps it half-open for ever.
func TestHungProbeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, Breaker{OpenFor: time.Second, Probes: 1})
		time.Sleep(2 * time.Second)
		release := make(chan struct{})
		go func() {
			_, _ = Do(t.Context(), p, Call{Name: "x", Timeout: -1}, func(context.Context) (int, error) { <-release; return 0, nil })
		}()
		time.Sleep(probeDeadline + time.Second)
		_ = once(t.Context(), p, nil) // notices the hung probe
		if p.State() != Opened {
			t.Errorf("a hung probe left it %v", p.State())
		}
		close(release) // its late success counts for nothing
		synctest.Wait()
		if p.State() != Opened {
			t.Errorf("a given-up probe closed it: %v", p.State())
		}
		time.Sleep(5 * time.Second)
		if err := once(t.Context(), p, nil); err != nil || p.State() != Closed {
			t.Errorf("%v, %v", err, p.State())
		}
	})
}

// failsafe-go: a success that began before the outage closes the breaker.
func TestLateResultsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{LastFailed: 1, OpenFor: time.Second, Probes: 1}})
		release := make(chan struct{})
		go func() {
			_, _ = Do(t.Context(), p, Call{Name: "x", Timeout: -1}, func(context.Context) (int, error) { <-release; return 0, nil })
		}()
		synctest.Wait()
		_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
		close(release)
		synctest.Wait()
		if p.State() != Opened {
			t.Errorf("a late success moved it to %v", p.State())
		}
	})
}

func TestOpenTimeGrowsOnlyWhileProbesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, Breaker{OpenFor: time.Second, MaxOpenFor: 4 * time.Second, Probes: 1})
		waits := func() time.Duration {
			begin := time.Now()
			for {
				n, _ := try(t.Context(), p, Call{Name: "x", Kind: Read, Attempts: 1}, fail(Unavailable, MaybeSent))
				if n == 1 {
					return time.Since(begin)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		pace := slices.Repeat([]time.Duration{time.Second}, patientProbes+1)
		for i, want := range append(pace, 2*time.Second, 4*time.Second, 4*time.Second) {
			if got := waits(); got < want*8/10 || got > want*12/10+20*time.Millisecond {
				t.Errorf("open time %d: %v, want %v +- 20 %%", i, got, want)
			}
		}
		time.Sleep(5 * time.Second)
		if err := once(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
		_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
		if got := waits(); got > 1220*time.Millisecond {
			t.Errorf("after closing, the open time starts at %v", got)
		}
	})
}

// gobreaker #37: a listener that uses the breaker deadlocks. Events must also
// keep their order (gascity #4839).
func TestListenerMayUseThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		var p *Policy
		p = policy(t, Config{
			Breaker: Breaker{LastFailed: 1, OpenFor: time.Second, Probes: 1},
			OnStateChange: func(c StateChange) {
				seen = append(seen, fmt.Sprintf("%v>%v", c.From, c.To))
				_ = p.State()
				_ = once(context.Background(), p, nil)
			},
		})
		_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
		time.Sleep(2 * time.Second)
		_ = once(t.Context(), p, nil)
		want := "[closed>open open>half_open half_open>closed]"
		if got := fmt.Sprint(seen); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A caller who leaves during a probe has proven nothing: neither good nor bad.
func TestACancelledProbeIsNeutral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, Breaker{OpenFor: time.Second, Probes: 1})
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		_, _ = Do(ctx, p, Call{Name: "x", Kind: Read}, func(ctx context.Context) (int, error) { cancel(); return 0, ctx.Err() })
		if p.State() != HalfOpen {
			t.Errorf("a cancelled probe left it %v", p.State())
		}
		if err := once(t.Context(), p, nil); err != nil || p.State() != Closed {
			t.Errorf("the next probe: %v, %v", err, p.State())
		}
	})
}

// The end of a probe that was given up must not end the one that followed it.
func TestAGivenUpProbeDoesNotFreeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, Breaker{OpenFor: time.Second, Probes: 2})
		hang := func(release chan struct{}) {
			_, _ = Do(t.Context(), p, Call{Name: "x", Timeout: -1}, func(context.Context) (int, error) { <-release; return 0, nil })
		}
		first, second := make(chan struct{}), make(chan struct{})
		time.Sleep(2 * time.Second)
		go hang(first)
		time.Sleep(probeDeadline + time.Second)
		_ = once(t.Context(), p, nil) // gives the first up
		time.Sleep(5 * time.Second)
		go hang(second)
		synctest.Wait()
		close(first)
		synctest.Wait()
		if n, _ := try(t.Context(), p, Call{Name: "x", Kind: Read}); n != 0 {
			t.Error("a second caller got through beside the probe")
		}
		close(second)
		synctest.Wait()
	})
}

func TestExplainSaysWhyAndUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{OpenFor: 10 * time.Second}})
		has := func(want ...string) {
			t.Helper()
			story := p.Explain().String()
			for _, w := range want {
				if !strings.Contains(story, w) {
					t.Errorf("%q is missing in: %s", w, story)
				}
			}
		}
		has("dep: closed", "256 of 256 places free")
		for range 10 {
			_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
		}
		has("open because 10 of the last 10 calls failed", "the next probe may go in", "0 probes failed")
		time.Sleep(13 * time.Second)
		_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
		has("1 probes failed since")
		time.Sleep(13 * time.Second)
		_ = once(t.Context(), p, nil)
		has("half open")
	})
}

// A listener that panics does so in the middle of somebody's call, which must
// neither end nor lose its ticket by it.
func TestAPanickingListenerIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := policy(t, Config{
			OnStateChange: func(StateChange) { panic("boom") },
			Logger:        slog.New(slog.NewTextHandler(&log, nil)),
		})
		open(t, p)
		time.Sleep(7 * time.Second)
		for range 2 {
			if err := once(t.Context(), p, nil); err != nil {
				t.Fatal(err)
			}
		}
		if p.State() != Closed || strings.Count(log.String(), "boom") != 3 {
			t.Errorf("%v\n%s", p.Explain(), &log)
		}
	})
}
