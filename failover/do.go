package failover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/safe"
	"github.com/jurymast/jurymast/resilience"
)

// Call describes one operation on a group.
type Call struct {
	// Name of the operation without the capability, such as "contain". Required.
	Name string
	// Kind says when the next provider may be asked: after any failure that
	// another may do better for a Read, otherwise only if it is proven that the
	// failed provider did not act.
	Kind resilience.Kind
	// Interchangeable says, of a Read, that it does not matter which provider
	// answers, nor which is current. Do then asks the next one as soon as a provider takes three times
	// as long as it usually does for this call, and takes the first good answer.
	// It costs a goroutine for each provider asked.
	Interchangeable bool
	// EvenCordoned asks cordoned providers too: what must be undone must be undone
	// there.
	EvenCordoned bool
}

// speculative calls have their own way to the provider that answers first; what the
// others have learned of the preferred one does not concern them.
func (c Call) speculative() bool { return c.Interchangeable && c.Kind == resilience.Read }

// ErrNoProvider: the group has no provider for the call.
var ErrNoProvider = errors.New("no provider can do this")

// Error says that no provider did it. It unwraps to every provider's error.
type Error struct {
	Capability string
	Call       string
	Gaps       []Gap // in the order in which they were asked
}

// Error names every provider and its reason.
func (e *Error) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("%s.%s failed: %s", e.Capability, e.Call, joinGaps(e.Gaps)), ": ")
}

// Unwrap gives the providers' errors.
func (e *Error) Unwrap() []error { return gapErrors(e.Gaps) }

// Stopper is implemented by errors that know whether another provider may be
// asked; without it the error's class and the call's kind decide.
type Stopper interface {
	error
	TryNext() bool
}

// Do asks the providers until one succeeds or one fails in a way that forbids to ask
// another: first the current one ([Group.Current]), then the others in order of
// preference. fn must use its context: it ends with the provider's
// share of the time. All providers before the last are told that a backup is
// waiting ([resilience.WithBackup]).
func Do[P, T any](ctx context.Context, g *Group[P], call Call, fn func(context.Context, P) (T, error)) (Result[T], error) {
	g, skipped, fellOver := g.choose(ctx, call)
	if call.speculative() && len(g.members) > 1 && !stays(ctx) {
		return speculate(ctx, g, call, Result[T]{Gaps: skipped}, fellOver, fn)
	}
	turn := g.begin(ctx, call)
	defer turn.end(ctx)
	r := Result[T]{Gaps: skipped}
	deadline, _ := g.deadline(ctx)
	for left := g.members; len(left) > 0; {
		m := left[0]
		pctx, cancel := share(ctx, deadline, len(left))
		left = left[1:]
		v, err := fn(pctx, m.Value)
		cancel()
		if err == nil {
			r.Value = v
			left := turn.served(m.ID)
			r.Served = append(r.Served, Served{By: m.ID, At: time.Now(), FellOver: fellOver || left})
			return r, nil
		}
		err = resilience.NotCallers(ctx, err)
		turn.failed(ctx, m.ID, err)
		r.Gaps = append(r.Gaps, Gap{m.ID, err})
		if len(left) == 0 || !tryNext(ctx, call.Kind, err) {
			break
		}
		if resilience.Of(err).Class != resilience.NotFound { // who does not know it has not failed
			left = elsewhereFirst(left, m.Plane)
			fellOver = true
			g.tel.failedOver(ctx, call.Name, m.ID, left[0].ID, err)
		}
	}
	return r, g.failed(ctx, call, r.Gaps)
}

func (g *Group[P]) failed(ctx context.Context, call Call, gaps []Gap) error {
	if len(gaps) == 0 {
		return fmt.Errorf("%s.%s: %w", g.cfg.Capability, call.Name, ErrNoProvider)
	}
	err := error(&Error{Capability: g.cfg.Capability, Call: call.Name, Gaps: gaps})
	if resilience.CallerLeft(ctx) && !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// share gives one of the providers that are left its part of the time. What one
// does not use, the others have.
func share(ctx context.Context, deadline time.Time, left int) (context.Context, context.CancelFunc) {
	end := deadline
	if left > 1 {
		end = time.Now().Add(time.Until(deadline) / time.Duration(left))
		ctx = resilience.WithBackup(ctx)
	} else if d, ok := ctx.Deadline(); ok && !d.After(deadline) {
		// The last provider has until the caller's own deadline, in its own name.
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, end, resilience.ErrShare)
}

func tryNext(ctx context.Context, kind resilience.Kind, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if s, ok := errors.AsType[Stopper](err); ok {
		return s.TryNext()
	}
	f := resilience.Of(err)
	return f.Class.TryNext() && (kind == resilience.Read || f.Sent != resilience.MaybeSent)
}

// Answer is one provider's part of an [Each].
type Answer[T any] struct {
	Provider string
	Value    T
}

// Each asks all providers at the same time and returns the answers in order of
// preference. A provider that fails is a gap; the error is nil if any answered.
// Use it to merge reads, and for effects that must happen everywhere.
func Each[P, T any](ctx context.Context, g *Group[P], call Call, fn func(context.Context, Member[P]) (T, error)) (Result[[]Answer[T]], error) {
	g, skipped, _ := g.choose(ctx, call)
	r := Result[[]Answer[T]]{Gaps: skipped}
	deadline, callers := g.deadline(ctx)
	values := make([]T, len(g.members))
	errs := make([]error, len(g.members))
	var wg sync.WaitGroup
	for i, m := range g.members {
		wg.Go(func() {
			pctx, cancel := ctx, context.CancelFunc(func() {})
			if !callers {
				pctx, cancel = context.WithDeadlineCause(ctx, deadline, resilience.ErrShare)
			}
			defer cancel()
			values[i], errs[i] = safely(pctx, m, func(ctx context.Context, _ P) (T, error) { return fn(ctx, m) })
		})
	}
	wg.Wait()
	for i, m := range g.members {
		if errs[i] != nil {
			r.Gaps = append(r.Gaps, Gap{m.ID, resilience.NotCallers(ctx, errs[i])})
			continue
		}
		r.Value = append(r.Value, Answer[T]{m.ID, values[i]})
		r.Served = append(r.Served, Served{By: m.ID, At: time.Now()})
	}
	if len(r.Served) == 0 {
		return r, g.failed(ctx, call, r.Gaps)
	}
	return r, nil
}

// safely turns a panic in a goroutine, which the caller could not catch, into an
// error.
func safely[P, T any](ctx context.Context, m Member[P], fn func(context.Context, P) (T, error)) (v T, err error) {
	defer safe.Catch(&err, "provider "+m.ID)
	return fn(ctx, m.Value)
}
