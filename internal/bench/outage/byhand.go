package main

import (
	"context"
	"errors"

	"github.com/cenkalti/backoff/v4"
	"github.com/sony/gobreaker/v2"
)

// byHand is what a careful service writes around gobreaker and backoff.
func byHand(primary, backup *provider) (client, error) {
	first, second := guarded(primary), guarded(backup)
	return func(ctx context.Context) (source, error) {
		if v, err := first(ctx); err == nil || ctx.Err() != nil {
			return v, err
		}
		return second(ctx)
	}, nil
}

func guarded(p *provider) client {
	breaker := gobreaker.NewCircuitBreaker[source](gobreaker.Settings{
		Interval:     window,
		BucketPeriod: window / 10,
		Timeout:      openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= minCalls && float64(c.TotalFailures) >= failureRate*float64(c.Requests)
		},
	})
	return func(ctx context.Context) (source, error) {
		ctx, cancel := context.WithTimeout(ctx, totalTimeout)
		defer cancel()
		delays := backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(firstDelay), backoff.WithMaxInterval(maxDelay),
			backoff.WithMultiplier(2), backoff.WithRandomizationFactor(jitter))
		return backoff.RetryWithData(func() (source, error) {
			v, err := breaker.Execute(func() (source, error) {
				attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
				defer cancel()
				return p.read(attempt)
			})
			if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
				err = backoff.Permanent(err)
			}
			return v, err
		}, backoff.WithContext(backoff.WithMaxRetries(delays, retries), ctx))
	}
}
