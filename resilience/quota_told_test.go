package resilience

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// vendor counts calls in a fixed window, as vendors do, answers 429 beyond it,
// and says with every answer what is left.
type vendor struct {
	mu        sync.Mutex
	limit     int
	began     time.Time
	count     int
	throttled int
	others    int // calls that somebody else makes with each of ours
}

func (v *vendor) RoundTrip(*http.Request) (*http.Response, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := time.Now(); now.Sub(v.began) >= time.Minute {
		v.began, v.count = now, 0
	}
	v.count += 1 + v.others
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
	if v.count > v.limit {
		v.throttled++
		resp.StatusCode = http.StatusTooManyRequests
	}
	resp.Header.Set("X-RateLimit-Limit", strconv.Itoa(v.limit))
	resp.Header.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, v.limit-v.count)))
	return resp, nil
}

func rateLimit(r *http.Response) (said RateLimit) {
	said.Limit, _ = strconv.Atoi(r.Header.Get("X-RateLimit-Limit"))
	said.Remaining, _ = strconv.Atoi(r.Header.Get("X-RateLimit-Remaining"))
	return said
}

// client sends calls of one policy to the vendor.
func (v *vendor) client(t *testing.T, q *Quota, listen func(*http.Response) RateLimit) func(ctx context.Context, call Call) error {
	p := policy(t, Config{Quota: q})
	wire := &Wire{Base: v, RateLimit: listen}
	return func(ctx context.Context, call Call) error {
		resp, err := RoundTrip(ctx, p, call, nil, func(ctx context.Context, _ int) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://vendor.test/", http.NoBody)
			if err != nil {
				return nil, err
			}
			return wire.RoundTrip(req)
		})
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
}

// Two clients of one credential, and somebody else who spends twice as much of
// the same quota: no 429, because what the vendor says is believed.
func TestQuotaSlowsDownBefore429(t *testing.T) {
	for name, listen := range map[string]func(*http.Response) RateLimit{"listens": rateLimit, "does not": nil} {
		synctest.Test(t, func(t *testing.T) {
			v := &vendor{limit: 600, others: 2, began: time.Now()}
			set := &QuotaSet{}
			var clients []func(context.Context, Call) error
			for range 2 {
				q, err := set.Get("falcon/us-1/cid", Window{600, time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				clients = append(clients, v.client(t, q, listen))
			}
			sent := 0
			for begin := time.Now(); time.Since(begin) < 10*time.Minute; sent++ {
				_ = clients[sent%2](t.Context(), Call{Name: "read", Kind: Read, Attempts: 1})
				time.Sleep(100 * time.Millisecond)
			}
			if listen != nil && (v.throttled > 0 || sent < 1000) {
				t.Errorf("%d calls, %d of them throttled", sent, v.throttled)
			}
			if listen == nil && v.throttled < 100 {
				t.Errorf("who %s listen was throttled %d times: the test shows nothing", name, v.throttled)
			}
		})
	}
}

func mustQuota(t *testing.T, windows ...Window) *Quota {
	t.Helper()
	q, err := NewQuota(windows...)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// The last of it is for those who act.
func TestTheVendorsLastCallsAreForUrgentOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustQuota(t, Window{6000, time.Minute})
		q.Learn(RateLimit{Limit: 6000, Remaining: 200})
		begin := time.Now()
		if err := q.take(t.Context(), begin.Add(time.Second), false); !errors.Is(err, ErrQuota) {
			t.Errorf("a call that is not urgent: %v", err)
		}
		if err := q.take(t.Context(), begin.Add(time.Second), true); err != nil || time.Since(begin) != 0 {
			t.Errorf("an urgent one: %v after %v", err, time.Since(begin))
		}
		if left := q.Remaining(); left < 0.03 || left > 0.034 {
			t.Errorf("%v is left", left)
		}
	})
}

// gofalcon B5: one low count, and every later call is slow for ever.
func TestWhatTheVendorSaidIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustQuota(t, Window{6000, time.Minute}, Window{100_000, time.Hour})
		q.Learn(RateLimit{Limit: 6000, Remaining: 3})
		time.Sleep(time.Minute)
		begin := time.Now()
		if err := q.take(t.Context(), time.Time{}, false); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		q.Learn(RateLimit{Limit: 6000, Remaining: 0, Reset: 5 * time.Second})
		begin = time.Now()
		if err := q.take(t.Context(), time.Time{}, false); err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("%v after %v, the vendor said 5s", err, time.Since(begin))
		}
		q.Learn(RateLimit{Limit: 6000, Remaining: 0, Reset: 1000 * time.Hour})
		begin = time.Now()
		if err := q.take(t.Context(), time.Time{}, false); err != nil || time.Since(begin) > MaxRetryAfter {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// A caller who leaves, or has no time to wait, takes nothing.
func TestASpreadCallIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustQuota(t, Window{100, time.Minute})
		q.Learn(RateLimit{Limit: 100, Remaining: 15}) // ten calls in a minute
		if err := q.take(t.Context(), time.Time{}, false); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if err := q.take(ctx, time.Time{}, false); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if err := q.take(t.Context(), time.Now().Add(time.Millisecond), false); !errors.Is(err, ErrQuota) {
				t.Errorf("got %v", err)
			}
			cancel()
		}
		begin := time.Now()
		if err := q.take(t.Context(), time.Time{}, false); err != nil || time.Since(begin) > 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestNonsenseFromTheVendorIsIgnored(t *testing.T) {
	for _, said := range []RateLimit{{}, {Limit: -1}, {Limit: 10, Remaining: -1}, {Limit: 10, Reset: -time.Second}} {
		q := mustQuota(t, Window{100, time.Minute})
		q.Learn(said)
		if q.Remaining() != 1 {
			t.Errorf("%+v: %v is left", said, q.Remaining())
		}
	}
}

func TestQuotaSet(t *testing.T) {
	set := &QuotaSet{}
	a, err1 := set.Get("a", Window{10, time.Second})
	again, err2 := set.Get("a", Window{10, time.Second})
	b, err3 := set.Get("b", Window{10, time.Second})
	if err := errors.Join(err1, err2, err3); err != nil || a != again || a == b {
		t.Errorf("%v, shared %v, apart %v", err, a == again, a != b)
	}
	if _, err := set.Get("a", Window{20, time.Second}); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("two opinions on one quota: %v", err)
	}
	if _, err := set.Get("c"); err == nil {
		t.Error("a quota without windows")
	}
	var none *QuotaSet
	x, _ := none.Get("a", Window{10, time.Second})
	y, err := none.Get("a", Window{10, time.Second})
	if err != nil || x == y {
		t.Errorf("no set shares nothing: %v", err)
	}
}
