package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What may be tried again follows from the call's kind, the failure's class and
// what is known of the request.
func TestRetryByKindClassAndSent(t *testing.T) {
	for _, tc := range []struct {
		name string
		kind Kind
		err  error
		want int // attempts
	}{
		{"read, server error", Read, fail(Unavailable, MaybeSent), 3},
		{"idempotent, lost answer", Idempotent, fail(Broken, MaybeSent), 3},
		{"effect, lost answer: never twice", Effect, fail(Broken, MaybeSent), 1},
		{"effect, 503: never twice", Effect, fail(Unavailable, MaybeSent), 1},
		{"effect, connection refused", Effect, fail(Refused, NotSent), 3},
		{"effect, throttled: the server said it did nothing", Effect, fail(Throttled, Answered), 3},
		{"read, not found", Read, fail(NotFound, Answered), 1},
		{"read, denied", Read, fail(Denied, Answered), 1},
		{"read, bad certificate cannot heal in time", Read, fail(Untrusted, NotSent), 1},
		{"read, credential", Read, fail(Credential, Answered), 1},
		{"read, unknown error", Read, errors.New("?"), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, err := try(t.Context(), policy(t, Config{}), Call{Name: "x", Kind: tc.kind}, tc.err, tc.err, tc.err)
				if n != tc.want {
					t.Errorf("%d attempts, want %d", n, tc.want)
				}
				if e := asError(t, err); len(e.Attempts) != n || e.Stopped == "" {
					t.Errorf("timeline %d attempts, stopped %q", len(e.Attempts), e.Stopped)
				}
			})
		})
	}
}

func TestZeroKindIsEffect(t *testing.T) {
	if n, _ := try(t.Context(), policy(t, Config{}), Call{Name: "x"}, fail(Unavailable, MaybeSent)); n != 1 {
		t.Errorf("a call that does not say what it is was sent %d times", n)
	}
}

func TestRetrySucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		n, err := try(t.Context(), policy(t, Config{}), Call{Name: "x", Kind: Read}, fail(Unavailable, MaybeSent))
		if n != 2 || err != nil {
			t.Errorf("%d attempts, %v", n, err)
		}
		if d := time.Since(begin); d > 250*time.Millisecond {
			t.Errorf("first delay %v is beyond Retry.Base", d)
		}
	})
}

// errors.Is(err, context.DeadlineExceeded) means the caller's own context ended.
func TestDeadlinesAreTheCallersOwn(t *testing.T) {
	hang := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
	t.Run("attempt timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := policy(t, Config{Attempt: time.Second, Retry: Retry{Attempts: 2}})
			begin := time.Now()
			_, err := Do(t.Context(), p, Call{Name: "x", Kind: Read}, hang)
			if errors.Is(err, context.DeadlineExceeded) || asError(t, err).Class != Timeout {
				t.Errorf("got %v", err)
			}
			if d := time.Since(begin); d < 2*time.Second || d > 2500*time.Millisecond {
				t.Errorf("two attempts of 1 s took %v", d)
			}
		})
	})
	t.Run("total deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := policy(t, Config{Attempt: 4 * time.Second, Total: 5 * time.Second})
			begin := time.Now()
			_, err := Do(t.Context(), p, Call{Name: "x", Kind: Read}, hang)
			if errors.Is(err, context.DeadlineExceeded) || asError(t, err).Class != Timeout {
				t.Errorf("got %v", err)
			}
			if d := time.Since(begin); d != 5*time.Second {
				t.Errorf("took %v", d)
			}
		})
	})
	t.Run("caller's deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := Do(ctx, policy(t, Config{}), Call{Name: "x", Kind: Read}, hang)
			if !errors.Is(err, context.DeadlineExceeded) || asError(t, err).Class != Canceled {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("share of a group", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, ErrShare)
			defer cancel()
			_, err := Do(ctx, policy(t, Config{}), Call{Name: "x", Kind: Read}, hang)
			if errors.Is(err, context.DeadlineExceeded) || asError(t, err).Class != Timeout {
				t.Errorf("got %v", err)
			}
		})
	})
}

// A hazard of backoff/v4: it runs the operation once on a context already ended.
func TestEndedContextIsNotSent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err := try(ctx, policy(t, Config{}), Call{Name: "x"})
	if n != 0 || !errors.Is(err, context.Canceled) || asError(t, err).Sent != NotSent {
		t.Errorf("%d attempts, %v", n, err)
	}
}

// A hazard of backoff/v4 and azcore: the operation's error is lost when the
// deadline ends during the delay, and the whole deadline is waited out.
func TestNoWaitBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		throttled := &failing{Failure{Class: Throttled, Sent: Answered, Status: 429, RetryAfter: 3 * time.Second}}
		begin := time.Now()
		_, err := try(ctx, policy(t, Config{}), Call{Name: "x", Kind: Read}, throttled)
		if time.Since(begin) != 0 {
			t.Errorf("waited %v for an attempt that could not be made", time.Since(begin))
		}
		if e := asError(t, err); e.Class != Throttled || e.Failure().RetryAfter != 3*time.Second || !errors.Is(err, throttled) {
			t.Errorf("the 429 was lost: %v", err)
		}
	})
}

// Callers throttled together must not come back together (go-azure-sdk #1370).
func TestRetryAfterIsJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		seen := map[time.Duration]bool{}
		for range 8 {
			begin := time.Now()
			_, _ = try(t.Context(), p, Call{Name: "x", Kind: Read}, &failing{Failure{Class: Throttled, RetryAfter: 2 * time.Second}})
			d := time.Since(begin)
			if d < 2*time.Second || d > 2600*time.Millisecond {
				t.Errorf("waited %v for a Retry-After of 2 s", d)
			}
			seen[d] = true
		}
		if len(seen) < 4 {
			t.Errorf("8 callers came back at only %d different times", len(seen))
		}
	})
}

func TestRetryBudgetRunsDry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{Disabled: true}, Retry: Retry{Attempts: 2}})
		attempts := 0
		for range 200 {
			n, _ := try(t.Context(), p, Call{Name: "x", Kind: Read}, fail(Unavailable, MaybeSent), fail(Unavailable, MaybeSent))
			attempts += n
		}
		if retries := attempts - 200; retries < 10 || retries > 50 {
			t.Errorf("%d retries for 200 failing calls, want at most 10 + 20 %%", retries)
		}
	})
}

func TestBackupMeansOneImmediateRetryAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		ctx := WithBackup(t.Context())
		begin := time.Now()
		flaky := fail(Unavailable, MaybeSent)
		if n, err := try(ctx, p, Call{Name: "x", Kind: Read}, flaky); n != 2 || err != nil {
			t.Errorf("a flaky answer of a healthy dependency: %d attempts, %v", n, err)
		}
		if n, _ := try(ctx, p, Call{Name: "x", Kind: Read}, fail(Refused, NotSent)); n != 1 {
			t.Errorf("refused: %d attempts", n)
		}
		for range 5 {
			_, _ = try(ctx, p, Call{Name: "x", Kind: Read}, flaky, flaky)
		}
		if n, _ := try(ctx, p, Call{Name: "x", Kind: Read}, flaky); n != 1 {
			t.Errorf("a sick dependency: %d attempts", n)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("waited %v although a backup was there", d)
		}
	})
}

// A panic in the callee must wedge neither the permit of a probe nor a place
// under the limit (failsafe-go loses both).
func TestPanicSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Concurrency: 1, Breaker: Breaker{LastFailed: 1, OpenFor: time.Second, Probes: 1}})
		boom := func() (v any) {
			defer func() { v = recover() }()
			_, _ = Do(t.Context(), p, Call{Name: "x"}, func(context.Context) (int, error) { panic("boom") })
			return nil
		}
		if boom() != "boom" || p.State() != Opened {
			t.Fatalf("the panic was swallowed or not counted: %v", p.State())
		}
		time.Sleep(2 * time.Second)
		if boom() != "boom" {
			t.Error("the probe's panic was swallowed")
		}
		time.Sleep(5 * time.Second)
		if _, err := try(t.Context(), p, Call{Name: "x"}); err != nil || p.State() != Closed {
			t.Errorf("wedged: %v, %v", err, p.State())
		}
		done := make(chan struct{})
		go func() { // runtime.Goexit, as t.FailNow does
			defer close(done)
			_, _ = Do(t.Context(), p, Call{Name: "x"}, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		}()
		<-done
		time.Sleep(2 * time.Second)
		if _, err := try(t.Context(), p, Call{Name: "x"}); err != nil {
			t.Errorf("wedged by Goexit: %v", err)
		}
	})
}

func TestConcurrencyLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Concurrency: 1, Attempt: 3 * time.Second, Total: 5 * time.Second})
		release := make(chan struct{})
		go func() {
			_, _ = Do(t.Context(), p, Call{Name: "x", Timeout: -1}, func(context.Context) (int, error) { <-release; return 0, nil })
		}()
		synctest.Wait()
		begin := time.Now()
		n, err := try(t.Context(), p, Call{Name: "x"})
		if n != 0 || !errors.Is(err, ErrSaturated) || asError(t, err).Sent != NotSent {
			t.Errorf("%d attempts, %v", n, err)
		}
		if time.Since(begin) != 5*time.Second {
			t.Errorf("queued %v, want the total deadline", time.Since(begin))
		}
		close(release)
		synctest.Wait()
		if _, err := try(t.Context(), p, Call{Name: "x"}); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigNamesItsFields(t *testing.T) {
	for field, cfg := range map[string]Config{
		"Attempt":             {Attempt: 10 * time.Second, Total: 5 * time.Second},
		"Retry.Attempts":      {Retry: Retry{Attempts: -1}},
		"Retry.Max":           {Retry: Retry{Base: 10 * time.Second}},
		"Total":               {Retry: Retry{Attempts: 20}},
		"Retry.Budget":        {Retry: Retry{Budget: 2}},
		"Breaker.FailureRate": {Breaker: Breaker{FailureRate: 50}},
		"Breaker.MinCalls":    {Breaker: Breaker{MinCalls: -1}},
		"Breaker.LastFailed":  {Breaker: Breaker{LastFailed: 30}},
		"Breaker.MaxOpenFor":  {Breaker: Breaker{OpenFor: time.Hour}},
		"Breaker.Window":      {Breaker: Breaker{Window: time.Millisecond}},
		"Breaker.SlowCall":    {Breaker: Breaker{SlowCall: 10 * time.Second}},
		"Breaker.InFlight":    {Breaker: Breaker{InFlight: 300}},
		"Breaker.InFlight (5": {Attempt: -1, Breaker: Breaker{InFlight: 5}},
		"Breaker.Probes":      {Breaker: Breaker{Probes: math.MaxInt}},
		"Retry.Budget is NaN": {Retry: Retry{Budget: math.NaN()}},
		"FailureRate is NaN":  {Breaker: Breaker{FailureRate: math.NaN()}},
	} {
		if _, err := New("dep", cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
	if _, err := New("", Config{}); err == nil {
		t.Error("a policy without a name was accepted")
	}
}

// Misuse is told, not suffered: nothing panics, nothing is sent.
func TestMisuseIsAnError(t *testing.T) {
	fn := func(context.Context) (int, error) { t.Error("was called"); return 0, nil }
	for name, f := range map[string]func() (int, error){
		"the policy is nil":   func() (int, error) { return Do(t.Context(), nil, read, fn) },
		"the function is nil": func() (int, error) { return Do[int](t.Context(), policy(t, Config{}), read, nil) },
		"Call.Name is empty":  func() (int, error) { return Do(t.Context(), policy(t, Config{}), Call{}, fn) },
		"policy is nil: make": func() (int, error) {
			_, err := RoundTrip(t.Context(), nil, read, nil, func(context.Context, int) (*http.Response, error) { return nil, errors.New("was sent") })
			return 0, err
		},
	} {
		if _, err := f(); Of(err).Class != Misuse || Of(err).Sent != NotSent || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The policy tells what went wrong lately, in a form for people and for pages.
func TestExplainTellsTheLastFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		for i := range 7 {
			down := &failing{Failure{Class: Unavailable, Status: 503, RequestID: fmt.Sprint("trace-", i)}}
			_, _ = try(t.Context(), p, Call{Name: "hosts.get", Kind: Read, Attempts: 1}, down)
		}
		e := p.Explain()
		if len(e.Failures) != 5 || e.Failures[0].RequestID != "trace-2" || e.Failures[4].RequestID != "trace-6" || e.Last != 7 || e.Failed != 7 {
			t.Errorf("%+v", e)
		}
		if s := e.String(); !strings.Contains(s, "hosts.get failed: unavailable, HTTP 503, request trace-6") {
			t.Error(s)
		}
		text, err := json.Marshal(e)
		if err != nil || !strings.Contains(string(text), `"state":"closed"`) || !strings.Contains(string(text), `"class":"unavailable"`) {
			t.Errorf("%s, %v", text, err)
		}
	})
}

func TestExplainTellsEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &failing{Failure{Class: Unavailable, Status: 503, RequestID: "trace-7"}}
		_, err := try(t.Context(), policy(t, Config{}), Call{Name: "hosts.get", Kind: Read}, down, down, down)
		story := asError(t, err).Explain()
		for _, want := range []string{"dep hosts.get", "1. +0s", "3. +", "HTTP 503", "trace-7", "after a delay of ", "stopped: no attempts left"} {
			if !strings.Contains(story, want) {
				t.Errorf("%q is missing in:\n%s", want, story)
			}
		}
	})
}
