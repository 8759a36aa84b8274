package failover

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/hedge"
	"github.com/jurymast/jurymast/internal/usual"
	"github.com/jurymast/jurymast/resilience"
)

// speculate is Do for interchangeable reads: as soon as a provider takes longer
// than it usually does for this call, the next is asked as well. The first good
// answer counts; the others are given up, and waited for, so that no goroutine
// stays behind. Being given up opens no breaker; a provider that was slow is left by
// further calls for a while.
func speculate[P, T any](ctx context.Context, g *Group[P], call Call, r Result[T], passed bool, fn func(context.Context, P) (T, error)) (Result[T], error) {
	deadline, _ := g.deadline(ctx)
	race := hedge.Race[T]{
		Candidates: len(g.members),
		Overtaken:  resilience.ErrOvertaken,
		Ask: func(ctx context.Context, i int) (T, error) {
			ctx, cancel := share(ctx, deadline, len(g.members)-i)
			defer cancel()
			return safely(ctx, g.members[i], fn)
		},
		Patience: func(i int) time.Duration { return g.pace.patience(call.Name, g.members[i].ID) },
		Hedge: func(slow, next int) bool {
			g.tel.failedOver(ctx, call.Name, g.members[slow].ID, g.members[next].ID, errSlow)
			return true
		},
		Failed: func(i, next int, err error) bool {
			err = resilience.NotCallers(ctx, err)
			r.Gaps = append(r.Gaps, Gap{g.members[i].ID, err})
			if !tryNext(ctx, call.Kind, err) {
				return false
			}
			if next >= 0 {
				g.tel.failedOver(ctx, call.Name, g.members[i].ID, g.members[next].ID, err)
			}
			return true
		},
	}
	won := race.Run(ctx)
	if won.Winner < 0 {
		return r, g.failed(ctx, call, r.Gaps)
	}
	id := g.members[won.Winner].ID
	g.pace.learn(call.Name, id, won.Took)
	r.Value = won.Value
	r.Served = append(r.Served, Served{By: id, At: time.Now(), FellOver: passed || won.Winner > 0})
	r.Gaps = withOvertaken(r.Gaps, g.ids(won.Asked), won.Winner)
	return r, nil
}

var errSlow = errors.New("slower than usual")

// withOvertaken adds the providers that were asked and had not answered.
func withOvertaken(gaps []Gap, asked []string, winner int) []Gap {
	for i, id := range asked {
		answered := i == winner
		for _, g := range gaps {
			answered = answered || g.Provider == id
		}
		if !answered {
			gaps = append(gaps, Gap{id, resilience.ErrOvertaken})
		}
	}
	return gaps
}

// pace is how long each provider usually takes for each call.
type pace struct {
	mu    sync.Mutex
	times map[paceKey]*usual.Time
}

type paceKey struct{ call, provider string }

func (p *pace) patience(call, provider string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.times[paceKey{call, provider}]; t != nil {
		return t.Patience()
	}
	return 0
}

func (p *pace) learn(call, provider string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := paceKey{call, provider}
	t := p.times[key]
	if t == nil {
		if p.times == nil {
			p.times = map[paceKey]*usual.Time{}
		}
		t = &usual.Time{}
		p.times[key] = t
	}
	t.Learn(took)
}
