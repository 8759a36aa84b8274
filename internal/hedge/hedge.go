// Package hedge asks several candidates for the same, the next as soon as one
// takes longer than it usually does, and takes the first good answer.
//
// When a candidate fails, the next is asked at once; when one never answers, it
// is given up once another has answered. No goroutine stays behind: those that
// were given up are waited for.
package hedge

import (
	"context"
	"sync"
	"time"
)

// Race is how the candidates, counted from 0, are asked.
type Race[T any] struct {
	Candidates int
	// Ask asks a candidate. Its context ends with the cause Overtaken when another
	// one was first.
	Ask       func(ctx context.Context, candidate int) (T, error)
	Overtaken error
	// Patience is how long to wait for a candidate before the next is asked too; 0:
	// as long as it takes.
	Patience func(candidate int) time.Duration
	// Hedge, if not nil, may forbid to ask the next candidate besides the one that
	// is slow.
	Hedge func(slow, next int) bool
	// Failed hears of a failure and says whether another candidate may be asked.
	// That would be next, or -1 if none is left or one is still under way.
	Failed func(candidate, next int, err error) (another bool)
}

// Result is how a race ended.
type Result[T any] struct {
	Value  T
	Winner int // -1: none
	Asked  int // the candidates 0 to Asked-1
	Took   time.Duration
}

type answer[T any] struct {
	candidate int
	value     T
	err       error
	took      time.Duration
}

// Run runs the race. It ends with the first good answer, with the first failure
// that forbids to ask another, or when all have failed.
func (r *Race[T]) Run(ctx context.Context) Result[T] {
	answers := make(chan answer[T], r.Candidates) // room for all: nobody waits to deliver
	ctx, giveUp := context.WithCancelCause(ctx)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer giveUp(r.Overtaken)

	next, open := 0, 0
	var slow *time.Timer
	var late <-chan time.Time
	ask := func() {
		i := next
		next++
		open++
		asked.Go(func() {
			begin := time.Now()
			v, err := r.Ask(ctx, i)
			answers <- answer[T]{i, v, err, time.Since(begin)}
		})
		late = nil
		if slow != nil {
			slow.Stop()
		}
		if d := r.Patience(i); d > 0 && next < r.Candidates {
			slow = time.NewTimer(d)
			late = slow.C
		}
	}
	for ask(); open > 0; {
		select {
		case <-late:
			late = nil
			if r.Hedge == nil || r.Hedge(next-1, next) {
				ask()
			}
		case a := <-answers:
			open--
			if a.err == nil {
				return Result[T]{a.value, a.candidate, next, a.took}
			}
			follows := -1
			if open == 0 && next < r.Candidates {
				follows = next
			}
			if !r.Failed(a.candidate, follows, a.err) {
				return Result[T]{Winner: -1, Asked: next}
			}
			if follows >= 0 {
				ask()
			}
		}
	}
	return Result[T]{Winner: -1, Asked: next}
}
