package resilience

import (
	"fmt"
	"slices"
	"sync"
)

// QuotaSet hands out one [Quota] for each key, so that all clients of one
// credential spend one quota: give the same QuotaSet to each of them. The zero
// value is ready for use. It is safe for concurrent use and keeps what it handed
// out; a nil *QuotaSet shares nothing.
type QuotaSet struct {
	mu    sync.Mutex
	byKey map[string]*Quota
}

// Get returns the quota of the key, and makes it with the given windows the
// first time. Other windows for the same key are an error.
func (s *QuotaSet) Get(key string, windows ...Window) (*Quota, error) {
	if s == nil {
		return NewQuota(windows...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.byKey[key]; q != nil {
		if !slices.Equal(q.windows, windows) {
			return nil, fmt.Errorf("resilience: quota %q has the windows %v, not %v: clients that share a quota must agree on it", key, q.windows, windows)
		}
		return q, nil
	}
	q, err := NewQuota(windows...)
	if err != nil {
		return nil, err
	}
	if s.byKey == nil {
		s.byKey = map[string]*Quota{}
	}
	s.byKey[key] = q
	return q, nil
}
