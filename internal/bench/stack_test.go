package bench

import (
	"context"
	"testing"
	"time"
)

// The stack that is compared, outermost first: concurrency limit, total
// deadline, retry, breaker, attempt timeout. The bounds are Jurymast's defaults,
// given to everyone.
const (
	concurrency    = 256
	total          = 30 * time.Second
	attempts       = 3
	minCalls       = 20
	failureRate    = 0.5
	breakerWindow  = 20 * time.Second
	attemptTimeout = 10 * time.Second

	// Differing from Jurymast's defaults: a first delay that keeps the setup of
	// BenchmarkRejected short, and a breaker that stays open while it is measured.
	firstDelay = time.Millisecond
	maxDelay   = 10 * time.Millisecond
	openFor    = time.Hour
)

// answer is what a call brings back: more than a register holds, nothing on the heap.
type answer struct{ id, version, size int64 }

// call is one operation of a dependency, bare or behind a stack.
type call func(context.Context) (answer, error)

// succeed is a dependency that answers at once.
func succeed(ctx context.Context) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	return answer{id: 1, version: 2, size: 3}, nil
}

// impls are the ways to put the stack around a call.
var impls = []struct {
	name  string
	guard func(testing.TB, telemetry, call) call
}{
	{"jurymast", jurymast},
	{"failsafe-go", failsafeGo},
	{"by-hand", byHand},
}

func BenchmarkSuccess(b *testing.B) {
	for _, tel := range telemetries {
		for _, impl := range impls {
			name := "telemetry=" + tel.name + "/impl=" + impl.name
			b.Run(name, func(b *testing.B) {
				f := impl.guard(b, tel.new(b), succeed)
				measure(b, func(ctx context.Context) error {
					_, err := f(ctx)
					return err
				})
			})
		}
	}
}

// measure runs f, which must not fail, from one goroutine and then from one per
// processor. As in a server, every goroutine has a context of its own, and it can
// be cancelled: the shortcuts for context.Background are not what is measured.
func measure(b *testing.B, f func(context.Context) error) {
	b.Run("mode=serial", func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b.ReportAllocs()
		for b.Loop() {
			if err := f(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mode=parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for pb.Next() {
				if err := f(ctx); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
