package bench

import (
	"context"
	"testing"

	"github.com/jurymast/jurymast/resilience"
)

// operation names the call in Jurymast's metrics and spans, and in those that
// the other stacks get by hand.
const operation = "hosts.read"

var read = resilience.Call{Name: operation, Kind: resilience.Read}

func jurymastPolicy(tb testing.TB, t telemetry) *resilience.Policy {
	tb.Helper()
	p, err := resilience.New("vendor", resilience.Config{
		Attempt:        attemptTimeout,
		Total:          total,
		Concurrency:    concurrency,
		Retry:          resilience.Retry{Attempts: attempts, Base: firstDelay, Max: maxDelay},
		Breaker:        resilience.Breaker{Window: breakerWindow, MinCalls: minCalls, FailureRate: failureRate, OpenFor: openFor, MaxOpenFor: openFor},
		TracerProvider: t.tracers,
		MeterProvider:  t.meters,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func jurymast(tb testing.TB, t telemetry, f call) call {
	p := jurymastPolicy(tb, t)
	return func(ctx context.Context) (answer, error) {
		return resilience.Do(ctx, p, read, f)
	}
}
