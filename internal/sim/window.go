package sim

import (
	"sync"
	"time"
)

// Window is a sliding-window quota: at most Limit takes in any Per, per key; a
// Limit of zero or less refuses everything.
// It is safe for concurrent use.
type Window struct {
	Limit int
	Per   time.Duration

	mu    sync.Mutex
	taken map[string][]time.Time
}

// Take uses one unit of key at now. It returns how many are left, and, when
// there was none, how long until one is.
func (w *Window) Take(key string, now time.Time) (left int, wait time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken == nil {
		w.taken = map[string][]time.Time{}
	}
	times := w.taken[key]
	for len(times) > 0 && now.Sub(times[0]) >= w.Per {
		times = times[1:]
	}
	if len(times) >= w.Limit {
		w.taken[key] = times
		if len(times) == 0 {
			return 0, w.Per, false
		}
		return 0, w.Per - now.Sub(times[0]), false
	}
	w.taken[key] = append(times, now)
	return w.Limit - len(times) - 1, 0, true
}
