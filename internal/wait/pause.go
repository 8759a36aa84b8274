package wait

import (
	"sync"
	"time"
)

// Pause is that somebody has asked to be left alone for a while. The zero value is over.
// It is safe for concurrent use.
type Pause struct {
	mu    sync.Mutex
	until time.Time
}

// Left is how long it still lasts, 0 or less if it is over.
func (p *Pause) Left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}

// Extend makes it last for d from now on, if that is longer.
func (p *Pause) Extend(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.until) {
		p.until = until
	}
}
