package main

import (
	"context"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/fallback"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
)

// failsafeGo is fallback(total(retry(breaker(timeout)))), and the same without
// the fallback around the backup.
func failsafeGo(primary, backup *provider) (client, error) {
	second := failsafe.With(failsafeStack()...)
	toBackup := fallback.NewWithFunc(func(exec failsafe.Execution[source]) (source, error) {
		return second.WithContext(exec.Context()).GetWithExecution(reading(backup))
	})
	first := failsafe.With(append([]failsafe.Policy[source]{toBackup}, failsafeStack()...)...)
	return func(ctx context.Context) (source, error) {
		return first.WithContext(ctx).GetWithExecution(reading(primary))
	}, nil
}

func failsafeStack() []failsafe.Policy[source] {
	return []failsafe.Policy[source]{
		timeout.New[source](totalTimeout),
		retrypolicy.NewBuilder[source]().
			WithMaxRetries(retries).
			WithBackoff(firstDelay, maxDelay).
			WithJitterFactor(jitter).
			AbortOnErrors(circuitbreaker.ErrOpen).
			Build(),
		circuitbreaker.NewBuilder[source]().
			WithFailureRateThreshold(failureRate, minCalls, window).
			WithDelay(openFor).
			WithSuccessThreshold(1). // one probe, as the others
			Build(),
		timeout.New[source](attemptTimeout),
	}
}

func reading(p *provider) func(failsafe.Execution[source]) (source, error) {
	return func(exec failsafe.Execution[source]) (source, error) { return p.read(exec.Context()) }
}
