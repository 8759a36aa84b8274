package resilience

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// failsafe-go #141, #139: a spent hedge budget kills the call under way, its threshold is wrong,
// and its refusal replaces the provider's error.
func TestPeer06_ASpentBudgetHarmsTheCall(t *testing.T) {
	never := Config{Retry: Retry{Attempts: 2, Base: 1, Max: 1, Budget: 1e-9}, Breaker: Breaker{Disabled: true}}
	t.Run("hedge", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			endpoints := []*Policy{policy(t, never), policy(t, never)}
			warm(t, endpoints[0])
			hedges, wins := 0, 0
			for i := range 60 {
				took := 10 * time.Millisecond
				if i%2 == 0 {
					took = 200 * time.Millisecond
				}
				v, err := Hedge(t.Context(), endpoints, read, func(ctx context.Context, i int) (int, error) {
					if i == 1 {
						hedges++
						return 1, nil
					}
					return 0, sleep(ctx, took)
				})
				if err != nil {
					t.Fatalf("call %d, with %d hedges before it: %v", i, hedges, err)
				}
				wins += v
			}
			if hedges != 10 || wins != 10 {
				t.Errorf("30 of 60 calls were slow: %d hedges, %d first, with a budget of ten", hedges, wins)
			}
		})
	})
	t.Run("retry", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := policy(t, never)
			for i := range 12 {
				n, err := try(t.Context(), p, Call{Name: "x", Kind: Read}, errDown, errDown)
				e := asError(t, err)
				if spent := strings.Contains(e.Stopped, "budget"); !errors.Is(err, errDown) || e.Class != Unavailable || spent != (i >= 10) || spent == (n == 2) {
					t.Errorf("call %d, %d attempts: %v; stopped: %s", i, n, err, e.Stopped)
				}
			}
		})
	})
	t.Run("both errors", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			errs := []error{fail(Malformed, MaybeSent), fail(Refused, NotSent)}
			_, err := Hedge(t.Context(), []*Policy{policy(t, never), policy(t, never)}, read,
				func(_ context.Context, i int) (int, error) { return 0, errs[i] })
			if !errors.Is(err, errs[0]) || !errors.Is(err, errs[1]) {
				t.Errorf("one of two errors is lost: %v", err)
			}
		})
	})
}

// failsafe-go: Compose and OnDone change an executor that others use; #122, #136: the request's
// context is lost on the way.
func TestPeer08_ASharedPolicyIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Retry: Retry{Attempts: 2, Base: 1, Max: 1}, Breaker: Breaker{Disabled: true}}
		p := policy(t, cfg)
		cfg.Retry.Attempts, cfg.Attempt = 7, time.Nanosecond
		calls := func(attempts int) int {
			n, _ := try(t.Context(), p, Call{Name: "x", Kind: Read, Attempts: attempts}, errDown, errDown, errDown, errDown)
			return n
		}
		if n := calls(4); n != 4 {
			t.Errorf("a call of four attempts made %d", n)
		}
		var quotas QuotaSet
		windows := []Window{{Calls: 1, Per: time.Hour}}
		_, _ = quotas.Get("tenant", windows...)
		windows[0].Calls = 1000
		if _, err := quotas.Get("tenant", Window{Calls: 1, Per: time.Hour}); err != nil {
			t.Error(err)
		}
		_, _ = try(WithBackup(WithCall(t.Context(), Call{Name: "y"})), p, Call{Name: "y"})
		if n := calls(0); n != 2 {
			t.Errorf("after others' wishes, a call of a policy of two attempts made %d", n)
		}
	})
	t.Run("context", func(t *testing.T) {
		type key struct{}
		var got []any
		c := clientOf(t, Config{}, func(req *http.Request) (*http.Response, error) {
			got = append(got, req.Context().Value(key{}))
			return answers(200)(req)
		})
		for i := range 3 {
			req, _ := http.NewRequestWithContext(context.WithValue(t.Context(), key{}, i), http.MethodGet, peerURL, nil)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got[i] != i {
				t.Errorf("request %d was sent with the context of %v", i, got[i])
			}
		}
	})
}

// listener is a log that uses the policy it hears of, and keeps what its context carries.
type listener struct {
	slog.Handler
	heard func(context.Context)
}

func (l listener) Enabled(context.Context, slog.Level) bool { return true }

func (l listener) Handle(ctx context.Context, _ slog.Record) error { l.heard(ctx); return nil }

// failsafe-go d1f1d81, #56: listeners deadlock, and do not know the request. Retry-After of an
// hour is slept, and an HTTP date ignored.
func TestPeer09_ListenersAndRetryAfter(t *testing.T) {
	t.Run("listeners", func(t *testing.T) {
		type key struct{}
		var p *Policy
		requests, changes, busy := 0, 0, false
		use := func(ctx context.Context) {
			if ctx.Value(key{}) != nil {
				requests++
			}
			if busy {
				return // it hears of its own call
			}
			busy = true
			_, _ = p.State(), p.Explain()
			_ = once(context.Background(), p, nil)
			busy = false
		}
		p = policy(t, Config{
			Breaker:       Breaker{LastFailed: 1},
			Logger:        slog.New(listener{slog.DiscardHandler, use}),
			OnStateChange: func(StateChange) { changes++; use(context.Background()) },
		})
		_ = once(context.WithValue(t.Context(), key{}, 1), p, errDown)
		if requests != 1 || changes != 1 {
			t.Errorf("%d events with the request's context, %d changes", requests, changes)
		}
	})
	for name, tc := range map[string]struct {
		header        string
		total         time.Duration
		status        int
		least, atMost time.Duration
	}{
		"an hour, of a call's 30 s": {"3600", 0, 429, 0, 0},
		"an hour, of no deadline":   {"3600", -1, 200, MaxRetryAfter, MaxRetryAfter * 5 / 4},
		"an HTTP date":              {"Sat, 01 Jan 2000 00:00:08 GMT", 0, 200, 8 * time.Second, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				status, took := throttledOnce(t, Config{Total: tc.total}, tc.header)
				if status != tc.status || took < tc.least || took > tc.atMost+time.Millisecond {
					t.Errorf("status %d after %v", status, took)
				}
			})
		})
	}
}

// throttledOnce gets what answers 429 with that Retry-After, and then 200.
func throttledOnce(t *testing.T, cfg Config, retryAfter string) (status int, took time.Duration) {
	t.Helper()
	n := 0
	c := clientOf(t, cfg, func(req *http.Request) (*http.Response, error) {
		if n++; n == 1 {
			return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {retryAfter}}, Body: http.NoBody}, nil
		}
		return answers(200)(req)
	})
	begin := time.Now()
	status, _ = getAll(t, c, peerURL)
	return status, time.Since(begin)
}

// backoff #53, #159, #181, #182, #188: the operation's error is lost, the deadline waited out, the
// clock runs from the wrong moment, and an ended context is still called with.
func TestPeer17_DeadlinesOfRetries(t *testing.T) {
	call := Call{Name: "x", Kind: Read}
	for name, f := range map[string]func(t *testing.T, p *Policy){
		"the caller leaves in a pause": func(t *testing.T, p *Policy) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			slow := &failing{Failure{Class: Unavailable, Status: 503, RetryAfter: 5 * time.Second}}
			_, err := try(ctx, p, call, slow)
			e := asError(t, err)
			if !errors.Is(err, context.Canceled) || !errors.Is(e.Attempts[0].Err, slow) || !strings.Contains(e.Explain(), "HTTP 503") {
				t.Errorf("the operation's error is lost: %s", e.Explain())
			}
		},
		"no time for the pause": func(t *testing.T, p *Policy) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			slow := &failing{Failure{Class: Throttled, Sent: Answered, RetryAfter: 5 * time.Second}}
			begin := time.Now()
			if n, err := try(ctx, p, call, slow); n != 1 || !errors.Is(err, slow) || time.Since(begin) != 0 {
				t.Errorf("%d attempts, %v, after %v", n, err, time.Since(begin))
			}
		},
		"Retry-After beyond Total": func(t *testing.T, p *Policy) {
			far := &failing{Failure{Class: Throttled, Sent: Answered, RetryAfter: time.Hour}}
			if _, err := try(t.Context(), p, call, far); !errors.Is(err, far) {
				t.Error(err)
			}
			if n, err := try(t.Context(), p, call, errDown); n != 2 || err != nil {
				t.Errorf("the next call: %d attempts, %v", n, err)
			}
		},
		"Total counts from the call": func(t *testing.T, p *Policy) {
			time.Sleep(time.Hour)
			for range 2 {
				begin := time.Now()
				_, err := Do(t.Context(), p, call, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
				if took := time.Since(begin); err == nil || took < 28*time.Second || took > 30*time.Second {
					t.Errorf("%v after %v", err, took)
				}
				time.Sleep(time.Minute)
			}
		},
		"a context that has ended": func(t *testing.T, p *Policy) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if n, err := try(ctx, p, call); n != 0 || !errors.Is(err, context.Canceled) {
				t.Errorf("%d attempts, %v", n, err)
			}
		},
		"the operation gets the context": func(t *testing.T, p *Policy) {
			type key struct{}
			_, _ = Do(context.WithValue(t.Context(), key{}, 1), p, call, func(ctx context.Context) (int, error) {
				if d, ok := ctx.Deadline(); !ok || time.Until(d) != 10*time.Second || ctx.Value(key{}) != 1 {
					t.Errorf("deadline %v, %v, value %v", d, ok, ctx.Value(key{}))
				}
				return 0, nil
			})
		},
		"one policy, many calls at once": func(t *testing.T, p *Policy) {
			var calls sync.WaitGroup
			for range 4 {
				calls.Go(func() {
					if n, err := try(t.Context(), p, call, errDown, errDown); n != 3 || err != nil {
						t.Errorf("%d attempts, %v", n, err)
					}
				})
			}
			calls.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, policy(t, Config{})) })
		})
	}
}

// go-retryablehttp #247, #248, #283, #295: "retrying in 484289h20m8s".
func TestPeer18_RetryAfterIsNotCapped(t *testing.T) {
	for _, header := range []string{"1743441608", "1e30", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		t.Run(header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if status, took := throttledOnce(t, Config{Total: -1}, header); status != 200 || took > MaxRetryAfter*5/4+time.Millisecond {
					t.Errorf("without a deadline: status %d after %v", status, took)
				}
				if status, took := throttledOnce(t, Config{}, header); status != 429 || took != 0 {
					t.Errorf("by default: status %d after %v", status, took)
				}
			})
		})
	}
}

// go-azure-sdk #1370: callers throttled together come back together, and after their deadline.
func TestPeer24_ThrottledCallersComeBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 20
		throttled := &failing{Failure{Class: Throttled, Sent: Answered, RetryAfter: 10 * time.Second}}
		p := policy(t, Config{Retry: Retry{Budget: -1, Attempts: 5}})
		begin := time.Now()
		var mu sync.Mutex
		var last time.Duration
		back := map[time.Duration]bool{}
		var callers sync.WaitGroup
		for range crowd {
			callers.Go(func() {
				n := 0
				_, err := Do(t.Context(), p, Call{Name: "x", Kind: Read}, func(context.Context) (int, error) {
					at := time.Since(begin)
					mu.Lock()
					defer mu.Unlock()
					if n++; n == 2 {
						back[at] = at >= 10*time.Second && at < 13*time.Second
					}
					last = max(last, at)
					return 0, throttled
				})
				if !errors.Is(err, throttled) || n < 2 || n > 3 {
					t.Errorf("%d attempts, %v", n, err)
				}
			})
		}
		callers.Wait()
		if len(back) < crowd-1 || last >= 30*time.Second {
			t.Errorf("%d callers came back at %d different times, the last at %v", crowd, len(back), last)
		}
		for at, inTime := range back {
			if !inTime {
				t.Errorf("one came back at %v", at)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		begin = time.Now()
		if n, err := try(ctx, p, Call{Name: "x", Kind: Read}, throttled); n != 1 || !errors.Is(err, throttled) || time.Since(begin) != 0 {
			t.Errorf("a caller without the time: %d attempts, %v after %v", n, err, time.Since(begin))
		}
	})
}

// Mimir #5951, #7310, #8854, Envoy #30205, gofr #2889: a breaker that works for timeouts only,
// counts that do not grow with the load, a budget blind to retries that wait, a lock held across I/O.
func TestPeer25_UnderLoad(t *testing.T) {
	t.Run("the share counts, not the number", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := policy(t, Config{})
			for i := range 10000 { // a thousand a second, a tenth of them fails
				_ = once(t.Context(), p, [10]error{errDown}[i%10])
				time.Sleep(time.Millisecond)
			}
			if p.State() != Closed {
				t.Errorf("a tenth failed: %s", p.Explain())
			}
			for i := range 100 {
				_ = once(t.Context(), p, []error{nil, fail(Broken, MaybeSent), errDown}[i%3])
			}
			if p.State() != Opened {
				t.Errorf("two thirds failed, none by a timeout: %s", p.Explain())
			}
		})
	})
	t.Run("retries that wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := policy(t, Config{Breaker: Breaker{Disabled: true}, Retry: Retry{Base: 5 * time.Second}})
			var under atomic.Int32
			var callers sync.WaitGroup
			for range 100 {
				under.Add(1)
				callers.Go(func() {
					_, _ = try(t.Context(), p, Call{Name: "x", Kind: Read}, errDown)
					under.Add(-1)
				})
			}
			synctest.Wait()
			if waiting := under.Load(); waiting < 10 || waiting > 30 {
				t.Errorf("100 calls failed at once and %d wait to be made again", waiting)
			}
			callers.Wait()
		})
	})
	t.Run("no lock across I/O", func(t *testing.T) {
		quota, err := NewQuota(Window{Calls: 1000, Per: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		p := policy(t, Config{Quota: quota})
		var all, callers sync.WaitGroup
		for range 50 {
			all.Add(1)
			callers.Go(func() {
				_, _ = Do(t.Context(), p, read, func(context.Context) (int, error) {
					all.Done()
					all.Wait() // for everybody to be under way
					_, _, _ = p.State(), p.Explain(), quota.Remaining()
					return 0, nil
				})
			})
		}
		callers.Wait()
	})
}
