package resilience

import (
	"sync"
	"time"
)

// RateLimit is what an answer says of the vendor's quota.
type RateLimit struct {
	Limit     int           // calls in a period; 0: it says nothing
	Remaining int           // of these
	Reset     time.Duration // until the count begins anew; 0: not said
}

// Learn believes what the vendor said with an answer. While more than a quarter
// is left, nothing changes; below that the calls are spread over the time to
// Reset (or, if the vendor does not say it, over the quota's shortest window), and
// the last twentieth is kept for calls with Call.Reserve: slower is better than
// 429. What the vendor said is forgotten when that time is over.
//
// A [Wire] with RateLimit calls it by itself.
func (q *Quota) Learn(said RateLimit) {
	if said.Limit <= 0 || said.Remaining < 0 || said.Reset < 0 {
		return
	}
	if said.Reset == 0 {
		said.Reset = q.windows[0].Per
		for _, w := range q.windows {
			said.Reset = min(said.Reset, w.Per)
		}
	}
	q.told.learn(time.Now(), said)
}

// told is the vendor's last word, counted down by the calls made since.
type told struct {
	mu    sync.Mutex
	limit int
	left  int
	until time.Time // believed until then
	next  time.Time // when the next call may go
}

// slot is a call that was counted.
type slot struct {
	counted bool
	next    time.Time // what it set told.next to; zero: nothing
	at      time.Time // when it goes
}

func (t *told) learn(now time.Time, said RateLimit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit, t.left = said.Limit, min(said.Remaining, said.Limit)
	t.until = now.Add(min(said.Reset, MaxRetryAfter))
}

// take counts a call that has to wait anyway for so long and returns for how
// long it has to wait now. A call that cannot go before the deadline is not counted.
func (t *told) take(now time.Time, wait time.Duration, deadline time.Time, urgent bool) (time.Duration, slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !now.Before(t.until) {
		return wait, slot{}
	}
	s := slot{counted: true}
	if spare := t.left - max(1, t.limit/20); !urgent && t.left < t.limit/4 {
		s.at = t.until
		if spare > 0 {
			s.at = laterOf(now, t.next)
		}
		wait = max(wait, s.at.Sub(now))
		if !deadline.IsZero() && now.Add(wait).After(deadline) {
			return wait, slot{}
		}
		if spare > 0 {
			t.next = s.at.Add(max(0, t.until.Sub(s.at)) / time.Duration(spare))
			s.next = t.next
		}
	}
	t.left--
	return wait, s
}

func (t *told) giveBack(s slot) {
	if !s.counted {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left++
	if !s.next.IsZero() && s.next.Equal(t.next) {
		t.next = s.at
	}
}

func (t *told) share(now time.Time) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !now.Before(t.until) {
		return 1
	}
	return float64(max(0, t.left)) / float64(t.limit)
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
