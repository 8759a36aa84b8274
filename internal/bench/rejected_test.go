package bench

import (
	"context"
	"errors"
	"testing"
)

var errSick = errors.New("sick")

// BenchmarkRejected measures a call that an open breaker refuses, without and
// with the histogram that everybody records then too.
func BenchmarkRejected(b *testing.B) {
	for _, tel := range telemetries[:2] {
		for _, impl := range impls {
			b.Run("telemetry="+tel.name+"/impl="+impl.name, func(b *testing.B) {
				f := open(b, tel.new(b), impl.guard)
				measure(b, func(ctx context.Context) error {
					if _, err := f(ctx); err == nil {
						return errors.New("an open breaker let a call through")
					}
					return nil
				})
			})
		}
	}
}

// open returns a call behind a breaker that the dependency's failures have
// opened for longer than anything here takes.
func open(tb testing.TB, t telemetry, guard func(testing.TB, telemetry, call) call) call {
	tb.Helper()
	reached := 0
	f := guard(tb, t, func(context.Context) (answer, error) {
		reached++
		return answer{}, errSick
	})
	for range 2 * minCalls {
		if _, err := f(context.Background()); err == nil {
			tb.Fatal("a sick dependency gave an answer")
		}
	}
	opened := reached
	if _, err := f(context.Background()); err == nil || reached != opened {
		tb.Fatalf("the breaker is not open after %d failures: %v", opened, err)
	}
	return f
}
