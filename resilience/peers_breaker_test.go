package resilience

// TestPeerNN_ has the number of an item of "What users hit" in the facts on
// resilience libraries: one test for each bug that users of a peer met, so that
// nobody meets it here. They are spread over this file (breakers),
// peers_retry_test.go and peers_http_test.go.
//
// Without a test, because there is nothing here that could have it:
//   - 15, a distributed breaker: breakers share no state and no store. That calls
//     do not wait for each other is in 25.
//   - 8, the context lost by a gRPC interceptor: no gRPC. The HTTP side is tested.
//   - 9, the request's context in listeners of state changes: a change is no one
//     request's. What is told of a request has its context, and that is tested.
//   - 20, a custom ErrorHandler that must close the body: there is no such hook.

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// errDown is what a sick dependency fails with.
var errDown = fail(Unavailable, MaybeSent)

// holds begins a call that ends with err when told to, however long that takes.
func holds(p *Policy, release <-chan struct{}, err error) {
	go func() {
		_, _ = Do(context.Background(), p, Call{Name: "held", Kind: Read, Attempts: 1, Timeout: -1},
			func(context.Context) (int, error) { <-release; return 0, err })
	}()
	synctest.Wait()
}

// failsafe-go: a panic in a half-open probe keeps the permit, one under a bulkhead keeps a place.
func TestPeer02_APanicWedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Concurrency: 2, Breaker: Breaker{OpenFor: time.Second, Probes: 1}})
		sick := true
		c := &http.Client{Transport: &Transport{Policy: p, Wire: Wire{Base: roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if sick {
				panic("boom")
			}
			return answers(200)(req)
		})}}}
		get := func() (status int) {
			defer func() { _ = recover() }()
			status, _ = getAll(t, c, peerURL)
			return status
		}
		for range 10 {
			get()
		}
		if p.State() != Opened {
			t.Fatalf("ten panics left it %v", p.State())
		}
		for range 3 { // probes that panic
			time.Sleep(2 * time.Second)
			get()
		}
		sick = false
		time.Sleep(2 * time.Second)
		if status := get(); status != 200 || p.State() != Closed || p.Explain().Free != 2 {
			t.Errorf("wedged: status %d, %s", status, p.Explain())
		}
	})
}

// failsafe-go: a success from before the outage closes a half-open breaker, and frees a permit.
func TestPeer03_StaleResultsMoveTheBreaker(t *testing.T) {
	t.Run("a success beside the probe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := policy(t, Config{Breaker: Breaker{OpenFor: time.Second, Probes: 1}})
			old, probe := make(chan struct{}), make(chan struct{})
			holds(p, old, nil)
			for range 10 {
				_ = once(t.Context(), p, errDown)
			}
			time.Sleep(2 * time.Second)
			holds(p, probe, errDown)
			close(old)
			synctest.Wait()
			if p.State() != HalfOpen {
				t.Errorf("a success from before the outage made it %v", p.State())
			}
			if err := once(t.Context(), p, nil); !errors.Is(err, ErrOpen) {
				t.Errorf("a second caller got through beside the probe: %v", err)
			}
			close(probe)
			synctest.Wait()
			if p.State() != Opened {
				t.Errorf("the probe failed and it is %v", p.State())
			}
		})
	})
	t.Run("failures after it closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := policy(t, Config{Breaker: Breaker{OpenFor: time.Second, Probes: 1}})
			old := make(chan struct{})
			for range 10 {
				holds(p, old, fail(Timeout, MaybeSent))
			}
			for range 10 {
				_ = once(t.Context(), p, errDown)
			}
			time.Sleep(2 * time.Second)
			_ = once(t.Context(), p, nil)
			if p.State() != Closed {
				t.Fatal(p.Explain())
			}
			close(old) // ten timeouts of an outage that is over
			synctest.Wait()
			_ = once(t.Context(), p, errDown)
			if p.State() != Closed {
				t.Errorf("the outage that is over and one new failure opened it: %s", p.Explain())
			}
		})
	})
}

// failsafe-go PR #142: all breakers that opened together probe together.
func TestPeer07_BreakersProbeInLockstep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		const fleet = 50
		begin := time.Now()
		var mu sync.Mutex
		probed := map[time.Duration]bool{}
		var first, last time.Duration
		var runs sync.WaitGroup
		for range fleet {
			p := policy(t, Config{Breaker: Breaker{OpenFor: 10 * time.Second, Probes: 1}, Probe: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				at := time.Since(begin)
				if len(probed) == 0 {
					first = at
				}
				probed[at], last = true, at
				return nil
			}})
			runs.Go(func() { _ = p.Run(ctx) })
			for range 10 {
				_ = once(t.Context(), p, errDown)
			}
		}
		time.Sleep(15 * time.Second)
		cancel()
		runs.Wait()
		if len(probed) < fleet-2 || last-first < 2*time.Second {
			t.Errorf("%d breakers opened at once, and probed at %d different times within %v", fleet, len(probed), last-first)
		}
	})
}

// gobreaker #37, PR #119: OnStateChange runs under the mutex; the naive cure loses the order.
func TestPeer10_ListenerDeadlocksOrLosesTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []StateChange
		var p *Policy
		p = policy(t, Config{
			Breaker: Breaker{LastFailed: 1, OpenFor: 100 * time.Millisecond, Probes: 1},
			OnStateChange: func(c StateChange) {
				seen = append(seen, c)
				time.Sleep(30 * time.Millisecond) // others change the state meanwhile
				_, _ = p.State(), p.Explain()
				_ = once(context.Background(), p, errDown)
			},
		})
		var workers sync.WaitGroup
		for w := range 8 {
			workers.Go(func() {
				for i := range 100 {
					err := errDown
					if (i+w)%2 == 0 {
						err = nil
					}
					_ = once(t.Context(), p, err)
					time.Sleep(17 * time.Millisecond)
				}
			})
		}
		workers.Wait()
		before := StateChange{To: Closed}
		for i, c := range seen {
			if c.From != before.To || c.At.Before(before.At) {
				t.Errorf("event %d: %v to %v, after one to %v", i, c.From, c.To, before.To)
			}
			before = c
		}
		if len(seen) < 20 || before.To != p.State() {
			t.Errorf("%d events, the last to %v, and it is %v", len(seen), before.To, p.State())
		}
	})
}

// gobreaker #30, #49, #53, #63: a hung probe keeps it half-open for ever, nobody can tell why a
// call is refused, and what closes it is hard-wired.
func TestPeer11_AHungProbeKeepsItHalfOpen(t *testing.T) {
	recovers := func(t *testing.T, p *Policy) {
		t.Helper()
		for begin := time.Now(); p.State() != Closed && time.Since(begin) < 5*time.Minute; time.Sleep(time.Second) {
			_ = once(t.Context(), p, nil)
		}
		if p.State() != Closed {
			t.Errorf("healthy for five minutes: %s", p.Explain())
		}
	}
	t.Run("a caller's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := opened(t, Breaker{OpenFor: time.Second})
			time.Sleep(2 * time.Second)
			hang := make(chan struct{})
			defer close(hang)
			holds(p, hang, nil)
			recovers(t, p)
		})
	})
	t.Run("a Run's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hang := make(chan struct{})
			p := policy(t, Config{
				Breaker: Breaker{LastFailed: 1, OpenFor: time.Second},
				Probe:   func(context.Context) error { <-hang; return nil }, // deaf to its context
			})
			ctx, cancel := context.WithCancel(t.Context())
			var run sync.WaitGroup
			run.Go(func() { _ = p.Run(ctx) })
			_ = once(t.Context(), p, errDown)
			time.Sleep(2 * time.Second)
			recovers(t, p)
			cancel()
			close(hang)
			run.Wait()
		})
	})
	t.Run("why a call is refused, and what closes it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := opened(t, Breaker{OpenFor: time.Second, Probes: 3})
			time.Sleep(2 * time.Second)
			probe := make(chan struct{})
			holds(p, probe, nil)
			if err := once(t.Context(), p, nil); !errors.Is(err, ErrOpen) || asError(t, err).Sent != NotSent {
				t.Errorf("refused with %v", err)
			}
			if story := p.Explain().String(); !strings.Contains(story, "half open because 1 of the last 1 calls failed") {
				t.Errorf("explained by: %s", story)
			}
			close(probe)
			synctest.Wait()
			_ = once(t.Context(), p, nil)
			if p.State() != HalfOpen {
				t.Errorf("two of three good probes: %v", p.State())
			}
			_ = once(t.Context(), p, nil)
			if p.State() != Closed {
				t.Errorf("three good probes: %v", p.State())
			}
		})
	})
}

// gobreaker #105, cockroach #35433, hystrix-go #79, resilience4j #682: departed callers open it.
// Only the caller's own context is neutral (ai-gateway #199): whatever else ends is a failure.
func TestPeer12_DepartedCallersOpenIt(t *testing.T) {
	hang := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
	for name, tc := range map[string]struct {
		want  State
		cause error // with which the caller's context ends; nil: it does not
		fn    func(context.Context) (int, error)
	}{
		"the caller left":         {Closed, context.Canceled, hang},
		"the caller's deadline":   {Closed, context.DeadlineExceeded, hang},
		"the attempt timeout":     {Opened, nil, hang},
		"the share of a group":    {Opened, ErrShare, hang},
		"a context of its own":    {Opened, nil, func(context.Context) (int, error) { return 0, context.Canceled }},
		"answered, then it left":  {Opened, context.Canceled, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, &failing{OfStatus(503)} }},
		"overtaken while healthy": {Closed, ErrOvertaken, hang},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := policy(t, Config{})
				for range 50 {
					ctx, cancel := context.WithCancelCause(t.Context())
					if tc.cause == context.DeadlineExceeded {
						var stop func()
						ctx, stop = context.WithTimeout(ctx, 3*time.Millisecond)
						defer stop()
					} else if tc.cause != nil {
						time.AfterFunc(3*time.Millisecond, func() { cancel(tc.cause) })
					}
					_, _ = Do(ctx, p, read, tc.fn)
					cancel(nil)
				}
				if p.State() != tc.want {
					t.Errorf("%v, want %v: %s", p.State(), tc.want, p.Explain())
				}
			})
		})
	}
}

// gobreaker #72, #91: why it opened is lost, and a black hole admits a whole timeout's worth of calls.
func TestPeer13_WhyItOpenedIsLost(t *testing.T) {
	t.Run("the counts", func(t *testing.T) {
		var told StateChange
		p := policy(t, Config{OnStateChange: func(c StateChange) { told = c }})
		for i := range 16 {
			err := errDown
			if i%4 == 0 {
				err = nil
			}
			_ = once(t.Context(), p, err)
		}
		const why = "10 of the last 14 calls failed"
		e := p.Explain()
		if told.To != Opened || told.Reason != why || e.Reason != why || e.Failed != 10 || e.Last != 14 {
			t.Errorf("told %+v, explained %s", told, e)
		}
	})
	t.Run("a black hole", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := policy(t, Config{Attempt: 10 * time.Second, Breaker: Breaker{InFlight: 20}})
			var callers sync.WaitGroup
			admitted := 0
			for range 99 { // ten a second, for as long as the first attempt may last
				callers.Go(func() {
					_, _ = Do(t.Context(), p, read, func(ctx context.Context) (int, error) { admitted++; <-ctx.Done(); return 0, ctx.Err() })
				})
				synctest.Wait()
				time.Sleep(100 * time.Millisecond)
			}
			if e := p.Explain(); admitted > 51 || !strings.Contains(e.Reason, "under way and none had ended") {
				t.Errorf("%d of 99 callers admitted; %s", admitted, e)
			}
			callers.Wait()
		})
	})
}

// gobreaker's buckets (solace-broker-mcp #205, #296): timeouts far apart never reach the threshold.
func TestPeer14_SlowFailuresNeverReachTheThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		for i := range 10 {
			if p.State() != Closed {
				t.Errorf("opened after %d timeouts", i)
			}
			_, _ = Do(t.Context(), p, read, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			time.Sleep(time.Hour)
		}
		if p.State() != Opened {
			t.Errorf("ten timeouts in a row, an hour apart, left it %v", p.State())
		}
	})
}

// Polly #216, safe-client-gateway #3442: half-open admits everyone, and an upstream that hangs gets
// many times the traffic.
func TestPeer22_HalfOpenAdmitsEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Attempt: 10 * time.Second, Breaker: Breaker{OpenFor: 5 * time.Second}})
		for range 10 {
			_ = once(t.Context(), p, errDown)
		}
		var now, most, sent atomic.Int32
		var callers sync.WaitGroup
		for range 1200 { // ten a second, for two minutes
			callers.Go(func() {
				_, _ = Do(t.Context(), p, read, func(ctx context.Context) (int, error) {
					sent.Add(1)
					most.Store(max(most.Load(), now.Add(1)))
					<-ctx.Done()
					now.Add(-1)
					return 0, ctx.Err()
				})
			})
			time.Sleep(100 * time.Millisecond)
		}
		callers.Wait()
		if most.Load() != 1 || sent.Load() < 4 || sent.Load() > 10 {
			t.Errorf("%d of 1200 calls reached it, %d at once", sent.Load(), most.Load())
		}
	})
}
