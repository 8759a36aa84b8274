package bench

import (
	"context"
	"runtime"
	"testing"
)

// BenchmarkIdle measures what a policy holds while nobody calls: the memory of a
// thousand that were used once, and the goroutines they left running.
func BenchmarkIdle(b *testing.B) {
	const policies = 1000
	for _, impl := range impls {
		b.Run("impl="+impl.name, func(b *testing.B) {
			var bytes, goroutines int
			tel := telemetry{meters: meters(b)} // as 500 tenants of one service have it
			for b.Loop() {
				idle := make([]call, policies)
				heap, running := heapInUse(), runtime.NumGoroutine()
				for i := range idle {
					idle[i] = impl.guard(b, tel, succeed)
					if _, err := idle[i](context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				bytes, goroutines = heapInUse()-heap, runtime.NumGoroutine()-running
				runtime.KeepAlive(idle)
			}
			b.ReportMetric(float64(bytes)/policies, "B/policy")
			b.ReportMetric(float64(goroutines), "goroutines")
		})
	}
}

func heapInUse() int {
	runtime.GC()
	runtime.GC() // what finalizers and pools held until now
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
