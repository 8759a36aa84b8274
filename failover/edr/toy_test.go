package edr

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// toy is a vendor in memory.
type toy struct {
	mu     sync.Mutex
	id     string
	hosts  map[string]Record
	reads  int           // of State
	sent   []string      // ids, in the order in which they were contained
	takes  time.Duration // every State
	failed error         // of State
	down   bool          // nothing answers
	ghost  State         // of hosts that it does not know
	quota  int           // effects that it takes in a window; 0: any number
	window time.Duration
	began  time.Time // the window
	spent  int
	slow   bool // the next effect takes a second
	lose   bool // effects are neither done nor answered, and State fails after
}

var errDown = errors.New("down")

func newToy(id string, records ...Record) *toy {
	v := &toy{id: id, hosts: map[string]Record{}}
	for _, r := range records {
		v.hosts[r.ID] = r
	}
	return v
}

func (v *toy) driver() Driver { return Driver{Provider: v.id, Find: v, Isolate: v, Held: v} }

func (v *toy) Find(_ context.Context, q Query) iter.Seq2[Record, error] {
	return v.list(func(r Record) bool { return q.ID == "" || q.ID == r.ID })
}

func (v *toy) Held(context.Context) iter.Seq2[Record, error] {
	return v.list(func(r Record) bool { return r.State != NotContained })
}

func (v *toy) list(keep func(Record) bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if v.down {
			yield(Record{}, errDown)
			return
		}
		v.mu.Lock()
		var out []Record
		for _, r := range v.hosts {
			if keep(r) {
				out = append(out, r)
			}
		}
		v.mu.Unlock()
		for _, r := range out {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (v *toy) State(ctx context.Context, id string) (State, error) {
	if wait.For(ctx, v.takes) != nil {
		return StateUnknown, ctx.Err()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reads++
	if v.down {
		return StateUnknown, errDown
	}
	if r, ok := v.hosts[id]; ok {
		return r.State, v.failed
	}
	return v.ghost, v.failed
}

func (v *toy) set(id string, s State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.hosts[id]
	r.State = s
	v.hosts[id] = r
}

func (v *toy) Isolate(ctx context.Context, id string, _ Intent) (failover.Outcome, error) {
	return v.change(ctx, id, Contained)
}

func (v *toy) Release(ctx context.Context, id string, _ Intent) (failover.Outcome, error) {
	return v.change(ctx, id, NotContained)
}

func (v *toy) change(ctx context.Context, id string, to State) (failover.Outcome, error) {
	if v.late() && wait.For(ctx, time.Second) != nil {
		return failover.Unset, ctx.Err()
	}
	switch s, err := v.State(ctx, id); {
	case err != nil:
		return failover.Unset, resilience.BeforeSending(err)
	case s == to:
		return failover.Already, nil
	}
	if v.throttled() {
		return failover.Unset, throttled{}
	}
	if v.lose {
		return failover.Unset, errors.New("connection reset")
	}
	v.set(id, to)
	if to == Contained {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.sent = append(v.sent, id)
	}
	return failover.Accepted, nil
}

func (v *toy) late() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	late := v.slow
	v.slow = false
	return late
}

func (v *toy) throttled() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := time.Now(); now.Sub(v.began) >= v.window {
		v.began, v.spent = now, 0
	}
	v.spent++
	return v.quota != 0 && v.spent > v.quota
}

// throttled is a 429.
type throttled struct{}

func (throttled) Error() string { return "too many requests" }

func (throttled) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Throttled, Sent: resilience.Answered, RetryAfter: 10 * time.Second}
}

func toyFleet(t *testing.T, vendors ...*toy) *Fleet {
	t.Helper()
	return toyFleetOf(t, Config{Volatile: true}, vendors...)
}

func toyFleetOf(t *testing.T, cfg Config, vendors ...*toy) *Fleet {
	t.Helper()
	for _, v := range vendors {
		cfg.Drivers = append(cfg.Drivers, v.driver())
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
