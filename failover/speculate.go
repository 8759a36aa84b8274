package failover

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/usual"
	"github.com/jurymast/jurymast/resilience"
)

// answer is what one provider made of a read.
type answer[T any] struct {
	member int
	value  T
	err    error
	took   time.Duration
}

// speculate is Do for interchangeable reads: as soon as a provider takes longer
// than it usually does for this call, the next is asked as well. The first good
// answer counts; the others are given up, and waited for, so that no goroutine
// stays behind. A provider that was given up has been slow, and its policy counts
// it so.
func speculate[P, T any](ctx context.Context, g *Group[P], call Call, fn func(context.Context, P) (T, error)) (Result[T], error) {
	var r Result[T]
	deadline, _ := g.deadline(ctx)
	// Room for all, so that nobody waits to deliver.
	answers := make(chan answer[T], len(g.members))
	race, giveUp := context.WithCancelCause(ctx)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer giveUp(resilience.ErrOvertaken)

	next := 0
	ask := func() {
		i := next
		next++
		pctx, cancel := share(race, deadline, len(g.members)-i)
		asked.Go(func() {
			defer cancel()
			begin := time.Now()
			v, err := safely(pctx, g.members[i], fn)
			answers <- answer[T]{i, v, err, time.Since(begin)}
		})
	}
	patience := func() <-chan time.Time {
		if next == len(g.members) {
			return nil
		}
		d := g.pace.patience(call.Name, g.members[next-1].ID)
		if d == 0 {
			return nil
		}
		return time.After(d)
	}

	ask()
	slow := patience()
	open := 1
	for open > 0 {
		select {
		case <-slow:
			g.tel.failedOver(ctx, call.Name, g.members[next-1].ID, g.members[next].ID, errSlow)
			ask()
			open++
			slow = patience()
		case a := <-answers:
			open--
			id := g.members[a.member].ID
			if a.err == nil {
				g.pace.learn(call.Name, id, a.took)
				r.Value = a.value
				r.Served = append(r.Served, Served{By: id, At: time.Now(), FellOver: a.member > 0})
				r.Gaps = withOvertaken(r.Gaps, g.ids(next), a.member)
				return r, nil
			}
			err := resilience.NotCallers(ctx, a.err)
			r.Gaps = append(r.Gaps, Gap{id, err})
			if !tryNext(ctx, call.Kind, err) {
				return r, g.failed(ctx, call, r.Gaps)
			}
			if open == 0 && next < len(g.members) {
				g.tel.failedOver(ctx, call.Name, id, g.members[next].ID, err)
				ask()
				open++
				slow = patience()
			}
		}
	}
	return r, g.failed(ctx, call, r.Gaps)
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
