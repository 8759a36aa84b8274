package resilience

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// No period of a window sees more calls than it allows, however they come.
func TestQuotaHoldsInEveryPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := NewQuota(Window{100, time.Minute}, Window{1500, time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		p := policy(t, Config{Quota: q, Total: -1, Retry: Retry{Attempts: 1}})
		var at []time.Time
		for range 3000 {
			if _, err := Do(t.Context(), p, Call{Name: "x", Kind: Read}, func(context.Context) (int, error) {
				at = append(at, time.Now())
				return 0, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range at {
			if i >= 100 && at[i].Sub(at[i-100]) < time.Minute {
				t.Fatalf("calls %d to %d within %v", i-100, i, at[i].Sub(at[i-100]))
			}
			if i >= 1500 && at[i].Sub(at[i-1500]) < time.Hour {
				t.Fatalf("calls %d to %d within %v", i-1500, i, at[i].Sub(at[i-1500]))
			}
		}
	})
}

func TestQuotaKeepsAReserveForUrgentCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := NewQuota(Window{100, time.Minute})
		p := policy(t, Config{Quota: q})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		bulk := 0
		var err error
		for ; err == nil; bulk++ {
			_, err = try(ctx, p, Call{Name: "bulk", Kind: Read})
		}
		e := asError(t, err)
		if !errors.Is(err, ErrQuota) || e.Class != Saturated || e.Sent != NotSent || e.Failure().RetryAfter <= 0 {
			t.Errorf("got %v", err)
		}
		if n, err := try(ctx, p, Call{Name: "urgent", Reserve: true}); n != 1 || err != nil {
			t.Errorf("after %d bulk calls the urgent one: %v", bulk, err)
		}
	})
}

// A call that was refused, or whose caller left, gives its place back.
func TestQuotaGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := NewQuota(Window{5, time.Minute})
		p := policy(t, Config{Quota: q})
		if _, err := try(t.Context(), p, Call{Name: "x"}); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, _ = try(ctx, p, Call{Name: "x"})
			cancel()
		}
		begin := time.Now()
		if _, err := try(t.Context(), p, Call{Name: "x"}); err != nil || time.Since(begin) > 16*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestQuotaOfTheCallComesFirst(t *testing.T) {
	q, _ := NewQuota(Window{1, time.Hour})
	p := policy(t, Config{})
	call := Call{Name: "x", Quota: q}
	if _, err := try(t.Context(), p, call); err != nil {
		t.Fatal(err)
	}
	if _, err := try(t.Context(), p, call); !errors.Is(err, ErrQuota) {
		t.Errorf("got %v", err)
	}
}

func TestQuotaConfigNamesTheField(t *testing.T) {
	for _, windows := range [][]Window{nil, {{0, time.Second}}, {{1, 0}}} {
		if _, err := NewQuota(windows...); err == nil || !strings.Contains(err.Error(), "window") {
			t.Errorf("%v: %v", windows, err)
		}
	}
}

// A 429 with a Retry-After holds back all workers, not only the one that got it.
func TestThrottledTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := NewQuota(Window{6000, time.Minute})
		p := policy(t, Config{Quota: q})
		throttled := &failing{Failure{Class: Throttled, Sent: Answered, RetryAfter: 5 * time.Second}}
		if _, err := try(t.Context(), p, Call{Name: "x", Kind: Read, Attempts: 1}, throttled); err == nil {
			t.Fatal("no error")
		}
		// Nor do they all come back in the same instant.
		begin := time.Now()
		waits := map[time.Duration]bool{}
		var mu sync.Mutex
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				_, err := try(t.Context(), p, Call{Name: "y"})
				mu.Lock()
				defer mu.Unlock()
				if took := time.Since(begin); err != nil || !jittered(took, 5*time.Second) || waits[took] {
					t.Errorf("%v after %v", err, took)
				}
				waits[time.Since(begin)] = true
			})
		}
		workers.Wait()
		if _, err := try(t.Context(), p, Call{Name: "x", Kind: Read, Attempts: 1}, throttled); err == nil {
			t.Fatal("no error")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := try(ctx, p, Call{Name: "y"}); !errors.Is(err, ErrQuota) {
			t.Errorf("a caller without the time to wait: %v", err)
		}
	})
}

// Falcon B3: one far header takes the client out for an hour. It costs seconds,
// unless the vendor insists.
func TestAWrongRetryAfterCostsSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := NewQuota(Window{6000, time.Minute})
		p := policy(t, Config{Quota: q, Total: -1})
		throttled := &failing{Failure{Class: Throttled, Sent: Answered, RetryAfter: 10 * time.Minute}}
		var waits []time.Duration
		for range 3 {
			begin := time.Now()
			_, _ = try(t.Context(), p, Call{Name: "x", Attempts: 1}, throttled)
			waits = append(waits, time.Since(begin))
		}
		begin := time.Now()
		if _, err := try(t.Context(), p, Call{Name: "x"}); err != nil {
			t.Fatal(err)
		}
		waits = append(waits, time.Since(begin))
		if waits[0] != 0 || !jittered(waits[1], 5*time.Second) || !jittered(waits[2], 10*time.Second) || !jittered(waits[3], 20*time.Second) {
			t.Errorf("waited %v", waits)
		}
		_, _ = try(t.Context(), p, Call{Name: "x", Attempts: 1}, throttled)
		begin = time.Now()
		if _, err := try(t.Context(), p, Call{Name: "x"}); err != nil || !jittered(time.Since(begin), 5*time.Second) {
			t.Errorf("after a good answer: %v, %v", err, time.Since(begin))
		}
	})
}

// jittered reports that a wait is the one asked for and up to a quarter more.
func jittered(took, asked time.Duration) bool { return took >= asked && took <= asked*5/4 }
