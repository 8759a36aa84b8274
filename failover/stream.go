package failover

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// ErrPartial is matched by the last error of a [Stream] that broke off after its
// first item.
var ErrPartial = errors.New("the list is not complete")

// PartialError says that a provider failed in the middle of a list. The items
// before it are good; what came after them is missing.
type PartialError struct {
	Provider string
	Items    int // that it had yielded, errors about single rows included
	Err      error
}

// Error names the provider, how far it came, and why not further.
func (e *PartialError) Error() string {
	return fmt.Sprintf("%v: %s broke off after %d items: %v", ErrPartial, e.Provider, e.Items, e.Err)
}

// Is matches ErrPartial.
func (e *PartialError) Is(target error) bool { return target == ErrPartial }

// Unwrap gives the provider's error.
func (e *PartialError) Unwrap() error { return e.Err }

// Failure makes PartialError Classified: it is its cause's.
func (e *PartialError) Failure() resilience.Failure { return resilience.Of(e.Err) }

// Continuer is implemented by errors of a stream that are about one row: the list
// goes on after them. Without it an error is the end of its provider's list.
type Continuer interface {
	error
	Continues() bool
}

func continues(err error) bool {
	c, ok := errors.AsType[Continuer](err)
	return ok && c.Continues()
}

// Stream is [Do] for lists that arrive item by item. The next provider is asked
// only as long as nothing has been yielded: two providers' lists do not begin at the
// same place. An error after the first item is yielded once, as the last item, as a
// [*PartialError]; an error about a single row ([Continuer]) is an item, and the
// list goes on. If no provider came to a first item, the only thing that is yielded
// is Do's error. A list that is empty is an answer.
//
// A provider's share of the time bounds the wait for its first item; from then on
// only the caller's own context does, and the provider is no longer told of a
// backup. fn's sequence must end with its context: one that ends without an error
// after its context did counts as broken off. Every range over the result is a call
// of its own. Call.Kind must be Read; Call.Interchangeable means nothing here.
func Stream[P, T any](ctx context.Context, g *Group[P], call Call, fn func(context.Context, P) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if call.Kind != resilience.Read {
			yield(zero, resilience.Misusef("failover: %s.%s: Call.Kind is %s, and only a Read can be a Stream", g.cfg.Capability, call.Name, call.Kind))
			return
		}
		call.Interchangeable = false
		g, gaps, _ := g.choose(ctx, call)
		turn := g.begin(ctx, call)
		defer turn.end(ctx)
		deadline, callers := g.deadline(ctx)
		for left := g.members; len(left) > 0; {
			m := left[0]
			s := &stream[T]{ctx: ctx, yield: yield, backup: len(left) > 1}
			s.first = func() {
				if turn.trial != none { // it is over: the list may go on for hours
					turn.served(m.ID)
					turn.end(ctx)
				}
			}
			if !callers || s.backup {
				s.within = max(1, time.Until(deadline)/time.Duration(len(left)))
			}
			err := s.run(func(ctx context.Context) iter.Seq2[T, error] { return fn(ctx, m.Value) })
			left = left[1:]
			if err == nil {
				turn.served(m.ID)
				return
			}
			turn.failed(ctx, m.ID, err)
			if s.items > 0 {
				yield(zero, &PartialError{Provider: m.ID, Items: s.items, Err: err})
				return
			}
			gaps = append(gaps, Gap{m.ID, err})
			if len(left) == 0 || !tryNext(ctx, call.Kind, err) {
				break
			}
			if resilience.Of(err).Class != resilience.NotFound {
				left = elsewhereFirst(left, m.Plane)
				g.tel.failedOver(ctx, call.Name, m.ID, left[0].ID, err)
			}
		}
		yield(zero, g.failed(ctx, call, gaps))
	}
}

// stream is one provider's part of a Stream.
type stream[T any] struct {
	ctx    context.Context // the caller's
	yield  func(T, error) bool
	backup bool          // another provider is left
	within time.Duration // the wait for the first item; 0: as long as the caller's context lives
	first  func()        // called before the first item is yielded
	items  int
}

// run yields the items of one provider. It returns why the list ended too early;
// nil also if the consumer has enough.
func (s *stream[T]) run(list func(context.Context) iter.Seq2[T, error]) error {
	cctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	inTime := func() bool { return true }
	if s.within != 0 {
		timer := time.AfterFunc(s.within, func() { cancel(resilience.ErrShare) })
		defer timer.Stop()
		inTime = timer.Stop
	}
	pctx := &untilBegun{Context: cctx, before: cctx}
	if s.backup {
		pctx.before = resilience.WithBackup(cctx)
	}
	for v, err := range list(pctx) {
		if err != nil && !continues(err) {
			return s.ended(cctx, err)
		}
		if s.items == 0 {
			if !inTime() {
				// The context has ended, and so will the list.
				return s.ended(cctx, errLate)
			}
			pctx.begun.Store(true)
			s.first()
		}
		s.items++
		if !s.yield(v, err) {
			return nil
		}
	}
	if cctx.Err() != nil {
		return s.ended(cctx, errSilent)
	}
	return nil
}

var (
	errLate   = errors.New("the first item came too late")
	errSilent = errors.New("the list ended with its context, and may not be complete")
)

// ended names why a list ended with err: it may be that the time did, or the caller.
func (s *stream[T]) ended(cctx context.Context, err error) error {
	switch {
	case resilience.CallerLeft(s.ctx) && !errors.Is(err, s.ctx.Err()):
		return fmt.Errorf("%w: %w", s.ctx.Err(), err)
	case cctx.Err() != nil && s.ctx.Err() == nil && !errors.Is(err, resilience.ErrShare):
		err = fmt.Errorf("%w: %w", resilience.ErrShare, err)
	}
	return resilience.NotCallers(s.ctx, err)
}

// untilBegun is a context that tells of a backup until the first item is here: from
// then on none can take over, and the provider's retries may be patient.
type untilBegun struct {
	context.Context
	before context.Context
	begun  atomic.Bool
}

// Value asks the context of before the first item, or of after it.
func (c *untilBegun) Value(key any) any {
	if c.begun.Load() {
		return c.Context.Value(key)
	}
	return c.before.Value(key)
}
