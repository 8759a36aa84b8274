package falcon

import (
	"context"
	"sync"
)

// sharing counts who uses which session. Falcon gives an API client one session a
// host, so who closes first would end the sessions of the others. Opening and
// closing on one host take turns, lest a session is joined while it is deleted.
type sharing struct {
	mu    sync.Mutex
	hosts map[string]*hostSessions
}

type hostSessions struct {
	free  chan struct{} // holds the turn when nobody has it
	refs  int           // turns and users: who keeps this entry; guarded by sharing.mu
	users map[string]int
}

// turn waits for a turn on a host. It must end.
func (s *sharing) turn(ctx context.Context, hostID string) (*turn, error) {
	s.mu.Lock()
	h := s.hosts[hostID]
	if h == nil {
		h = &hostSessions{free: make(chan struct{}, 1), users: map[string]int{}}
		h.free <- struct{}{}
		if s.hosts == nil {
			s.hosts = map[string]*hostSessions{}
		}
		s.hosts[hostID] = h
	}
	h.refs++
	s.mu.Unlock()
	t := &turn{s, hostID, h}
	select {
	case <-h.free:
		return t, nil
	case <-ctx.Done():
		t.drop()
		return nil, ctx.Err()
	}
}

// turn is the right to open and close sessions of a host.
type turn struct {
	sharing *sharing
	hostID  string
	host    *hostSessions
}

func (t *turn) end() {
	t.host.free <- struct{}{}
	t.drop()
}

// drop gives a reference back; the last one takes the entry with it.
func (t *turn) drop() {
	t.sharing.mu.Lock()
	defer t.sharing.mu.Unlock()
	if t.host.refs--; t.host.refs == 0 {
		delete(t.sharing.hosts, t.hostID)
	}
}

func (t *turn) users(sessionID string) int { return t.host.users[sessionID] }

func (t *turn) join(sessionID string) {
	t.host.users[sessionID]++
	t.sharing.mu.Lock()
	defer t.sharing.mu.Unlock()
	t.host.refs++
}

func (t *turn) leave(sessionID string) {
	if t.host.users[sessionID]--; t.host.users[sessionID] == 0 {
		delete(t.host.users, sessionID)
	}
	t.drop()
}
