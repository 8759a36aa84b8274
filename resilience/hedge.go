package resilience

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/jurymast/jurymast/internal/hedge"
	"github.com/jurymast/jurymast/internal/safe"
)

// Hedge makes a read at the first of several equivalent endpoints, each behind a
// policy of its own: the hosts of one service's regions, say. As soon as an
// endpoint takes three times as long as it usually does for this call, or fails,
// the next one is asked as well; the first good answer counts and the others are
// given up. Being given up opens no breaker, but an endpoint that was slow is
// left by further calls for a while. fn gets the index of the endpoint.
//
// Asking besides an endpoint that has not failed draws on that one's retry
// budget: hedging must not double the load while all of them are slow. Endpoints
// before the last are told that a backup is waiting ([WithBackup]), so that they
// neither retry patiently nor hold the call up while their breaker is open.
//
// Only a Read is hedged, because an effect could happen twice. If no endpoint
// answers, the error joins the [*Error] of each that was asked. Hedge costs a
// goroutine for each endpoint asked, and leaves none behind.
func Hedge[T any](ctx context.Context, endpoints []*Policy, call Call, fn func(ctx context.Context, endpoint int) (T, error)) (T, error) {
	var zero T
	switch {
	case len(endpoints) == 0:
		return zero, Misusef("resilience: Hedge of %q has no endpoints", call.Name)
	case call.Kind != Read:
		return zero, Misusef("resilience: Hedge of %q: Call.Kind is %s, and only a Read may be asked of two endpoints at once", call.Name, call.Kind)
	}
	for i, p := range endpoints {
		if p == nil {
			return zero, Misusef("resilience: Hedge of %q: the policy of endpoint %d is nil", call.Name, i)
		}
	}
	last := len(endpoints) - 1
	errs := make([]error, 0, len(endpoints))
	race := hedge.Race[T]{
		Candidates: len(endpoints),
		Overtaken:  ErrOvertaken,
		Ask: func(ctx context.Context, i int) (T, error) {
			if i < last {
				ctx = WithBackup(ctx)
			}
			return Do(ctx, endpoints[i], call, func(ctx context.Context) (v T, err error) {
				defer safe.Catch(&err, "the call")
				return fn(ctx, i)
			})
		},
		Patience: func(i int) time.Duration { return endpoints[i].seen.get(call.Name).patience() },
		Hedge: func(slow, next int) bool {
			if !endpoints[slow].budget.withdraw() {
				return false
			}
			if span := trace.SpanFromContext(ctx); span.IsRecording() {
				span.AddEvent("jurymast.hedge", trace.WithAttributes(
					keyOperation.String(call.Name), keyPolicy.String(endpoints[next].name),
					keyReason.String(endpoints[slow].name+" is slower than usual")))
			}
			return true
		},
		Failed: func(_, _ int, err error) bool {
			errs = append(errs, err)
			return ctx.Err() == nil && Of(err).Class.TryNext()
		},
	}
	if r := race.Run(ctx); r.Winner >= 0 {
		return r.Value, nil
	}
	if len(errs) == 1 {
		return zero, errs[0]
	}
	return zero, errors.Join(errs...)
}
