package bench

import (
	"context"
	"errors"
	"testing"

	"github.com/cenkalti/backoff/v4"
	"github.com/sony/gobreaker/v2"
)

// byHand is the stack that a careful service writes itself.
func byHand(tb testing.TB, t telemetry, f call) call {
	o := t.byHand(tb, f)
	places := make(chan struct{}, concurrency)
	breaker := gobreaker.NewCircuitBreaker[answer](gobreaker.Settings{
		Interval:     breakerWindow,
		BucketPeriod: breakerWindow / 10,
		Timeout:      openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= minCalls && float64(c.TotalFailures) >= failureRate*float64(c.Requests)
		},
	})
	return o.record(func(ctx context.Context) (answer, error) {
		ctx, cancel := context.WithTimeout(ctx, total)
		defer cancel()
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
		// An ExponentialBackOff has state: one for each call.
		delays := backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(firstDelay), backoff.WithMaxInterval(maxDelay))
		return backoff.RetryWithData(func() (answer, error) {
			v, err := breaker.Execute(func() (answer, error) {
				attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
				defer cancel()
				return o.attempt(attempt)
			})
			if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
				err = backoff.Permanent(err)
			}
			return v, err
		}, backoff.WithContext(backoff.WithMaxRetries(delays, attempts-1), ctx))
	})
}
