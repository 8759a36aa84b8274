package edr_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// One failed-over contain: one decision span, one client span for each attempt
// under it, and no secret and no body in any attribute.
func TestSpanTreeOfAFailedOverContain(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	run(t, setup{
		falcon: func(c *falcon.Config) { c.Policy.TracerProvider = tp },
		azure:  func(c *azure.Config) { c.Policy.TracerProvider = tp },
		fleet:  func(c *edr.Config) { c.TracerProvider = tp },
	}, func(t *testing.T, w *world) {
		const body = "a body that must stay out of telemetry"
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: "/devices", Body: body})
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		ended := spans.Ended()
		var decision sdktrace.ReadOnlySpan
		tree := map[string]int{} // "kind name status" -> how many
		for _, s := range ended {
			tree[fmt.Sprintf("%s %s %s", s.SpanKind(), s.Name(), attr(s, "http.response.status_code"))]++
			if s.Name() == "edr.contain" {
				decision = s
			}
		}
		want := map[string]int{
			"internal edr.contain ":                   1,
			"client token 201":                        1, // Falcon's
			"client token 200":                        1, // Entra's
			"client hosts.query 503":                  2, // one immediate retry, because a backup waits
			"client defender.machines.list 200":       1,
			"client defender.machineactions.list 200": 1,
			"client defender.isolate 201":             1,
		}
		if fmt.Sprint(tree) != fmt.Sprint(want) {
			t.Errorf("spans:\n got %v\nwant %v", tree, want)
		}
		for _, s := range ended {
			if s.SpanContext().TraceID() != decision.SpanContext().TraceID() {
				t.Errorf("%s is not in the decision's trace", s.Name())
			}
			if s.SpanKind() == trace.SpanKindClient && !strings.HasPrefix(s.Name(), "token") && s.Parent().SpanID() != decision.SpanContext().SpanID() {
				t.Errorf("%s is not a child of the decision", s.Name())
			}
		}
		for key, want := range map[string]string{
			"jurymast.capability": "edr", "jurymast.operation": "contain", "jurymast.provider": "defender",
			"jurymast.failed_over": "true", "jurymast.outcome": "accepted",
		} {
			if got := attr(decision, key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		var events []string
		for _, e := range decision.Events() {
			events = append(events, e.Name)
		}
		// Both tries at Falcon, and then why Defender was asked.
		if want := []string{"jurymast.attempt.failed", "jurymast.attempt.failed", "jurymast.failover"}; !slices.Equal(events, want) {
			t.Errorf("events %v, want %v", events, want)
		}
		everything := fmt.Sprintf("%+v", tracetest.SpanStubsFromReadOnlySpans(ended))
		for _, secret := range []string{falcontest.ClientSecret, azuretest.ClientSecret, "Bearer", "eyJ", body} {
			if strings.Contains(everything, secret) {
				t.Errorf("%q is in a span", secret)
			}
		}
	})
}

func attr(s sdktrace.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}
