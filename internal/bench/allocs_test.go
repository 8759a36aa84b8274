package bench

import (
	"context"
	"testing"
)

// Allocations are what a call costs on every machine alike, so their number is
// guarded here and the time only measured.
func TestAllocations(t *testing.T) {
	for _, tc := range []struct {
		name string
		f    call
		most float64
	}{
		{"success", jurymast(t, telemetry{}, succeed), 6},
		{"success with a histogram", jurymast(t, telemetry{meters: meters(t)}, succeed), 6},
		{"rejected by an open breaker", open(t, telemetry{}, jurymast), 2},
		{"rejected with a histogram", open(t, telemetry{meters: meters(t)}, jurymast), 2},
		{"sampled span", jurymast(t, telemetry{tracers: tracers(t)}, succeed), 14},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := testing.AllocsPerRun(1000, func() { _, _ = tc.f(ctx) })
			if got > tc.most {
				t.Errorf("%v allocations a call, at most %v allowed", got, tc.most)
			}
		})
	}
}
