package bench

import (
	"context"
	"testing"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
)

func failsafeBreaker[R any]() circuitbreaker.CircuitBreaker[R] {
	return circuitbreaker.NewBuilder[R]().
		WithFailureRateThreshold(failureRate, minCalls, breakerWindow).
		WithDelay(openFor).
		Build()
}

func failsafeGo(tb testing.TB, t telemetry, f call) call {
	o := t.byHand(tb, f)
	executor := failsafe.With[answer](
		bulkhead.NewBuilder[answer](concurrency).WithMaxWaitTime(total).Build(),
		timeout.New[answer](total),
		retrypolicy.NewBuilder[answer]().
			WithMaxAttempts(attempts).
			WithBackoff(firstDelay, maxDelay).
			AbortOnErrors(circuitbreaker.ErrOpen).
			Build(),
		failsafeBreaker[answer](),
		timeout.New[answer](attemptTimeout),
	)
	attempt := func(exec failsafe.Execution[answer]) (answer, error) {
		return o.attempt(exec.Context())
	}
	return o.record(func(ctx context.Context) (answer, error) {
		return executor.WithContext(ctx).GetWithExecution(attempt)
	})
}
