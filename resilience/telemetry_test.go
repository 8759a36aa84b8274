package resilience

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

var encoder = attribute.DefaultEncoder()

func TestMetricsOfACall(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	p := policy(t, Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Retry: Retry{Base: 1, Max: 1}})
	for range 3 {
		_, _ = try(t.Context(), p, Call{Name: "get", Kind: Read}, fail(Unavailable, MaybeSent))
	}
	_, _ = try(t.Context(), p, Call{Name: "get", Kind: Read}, fail(NotFound, Answered))
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, d := range data.DataPoints {
				got[fmt.Sprint(m.Name, " ", m.Unit, " ", d.Attributes.Encoded(encoder))] = d.Count
			}
		case metricdata.Sum[int64]:
			for _, d := range data.DataPoints {
				got[fmt.Sprint(m.Name, " ", m.Unit, " ", d.Attributes.Encoded(encoder))] = uint64(d.Value)
			}
		}
	}
	want := map[string]uint64{
		"jurymast.call.duration s jurymast.operation=get,jurymast.outcome=ok,jurymast.policy=dep":        3,
		"jurymast.call.duration s jurymast.operation=get,jurymast.outcome=not_found,jurymast.policy=dep": 1,
		"jurymast.attempts 1 jurymast.operation=get,jurymast.outcome=ok,jurymast.policy=dep":             6,
		"jurymast.attempts 1 jurymast.operation=get,jurymast.outcome=not_found,jurymast.policy=dep":      1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// One client span for each attempt, under the caller's, with the class as its
// status: an error's text may quote the other side.
func TestSpansOfAttempts(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	p := policy(t, Config{TracerProvider: tp, Retry: Retry{Base: 1, Max: 1}})
	ctx, parent := tp.Tracer("test").Start(t.Context(), "caller")
	_, _ = Do(ctx, p, Call{Name: "get", Kind: Read, Attempts: 2}, func(context.Context) (int, error) {
		return 0, errors.Join(fail(Unavailable, MaybeSent), errors.New("a body with alice@corp.example in it"))
	})
	parent.End()
	var attempts int
	for _, s := range recorder.Ended() {
		if s.Name() != "get" {
			continue
		}
		attempts++
		if s.SpanKind() != trace.SpanKindClient || s.Parent().SpanID() != parent.SpanContext().SpanID() || s.Status().Description != "unavailable" {
			t.Errorf("%v %v %v", s.SpanKind(), s.Parent().SpanID(), s.Status())
		}
		if len(s.Events()) > 0 {
			t.Errorf("events %v", s.Events())
		}
	}
	if attempts != 2 {
		t.Errorf("%d spans", attempts)
	}
}

// The global tracer provider may be set after the policy was made; until then
// tracing costs nothing.
func TestGlobalTracerSetLater(t *testing.T) {
	if otel.GetTracerProvider() != unset {
		return // -count: the global delegates once in the life of a process
	}
	p := policy(t, Config{})
	call := func() { _, _ = try(t.Context(), p, Call{Name: "get", Kind: Read}) }
	if !p.tracing.off() {
		t.Error("tracing although nobody set a provider")
	}
	call()
	recorder := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	call()
	if n := len(recorder.Ended()); n != 1 {
		t.Errorf("%d spans", n)
	}
}
