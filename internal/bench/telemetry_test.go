package bench

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// telemetry is where a stack reports to; nil means nowhere.
type telemetry struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
}

var telemetries = []struct {
	name string
	new  func(testing.TB) telemetry
}{
	{"none", func(testing.TB) telemetry { return telemetry{} }},
	{"histogram", func(tb testing.TB) telemetry { return telemetry{meters: meters(tb)} }},
	{"span", func(tb testing.TB) telemetry { return telemetry{tracers: tracers(tb)} }},
	{"both", func(tb testing.TB) telemetry { return telemetry{tracers(tb), meters(tb)} }},
}

// meters aggregates for real, and exports only when asked: nobody asks.
func meters(tb testing.TB) metric.MeterProvider {
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	tb.Cleanup(func() { _ = mp.Shutdown(context.Background()) })
	return mp
}

// tracers samples every span and throws it away when it ends, so that only what
// a span costs its caller is measured.
func tracers(tb testing.TB) trace.TracerProvider {
	tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSyncer(discard{}))
	tb.Cleanup(func() { _ = tp.Shutdown(context.Background()) })
	return tp
}

type discard struct{}

func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }

// observer gives the other stacks what Jurymast reports by itself: a histogram
// record per call and a span per attempt, with the same attributes, made once.
type observer struct {
	f        call
	tracer   trace.Tracer
	duration metric.Float64Histogram
	ok       []metric.RecordOption
}

var (
	policyName    = attribute.String("jurymast.policy", "vendor")
	operationName = attribute.String("jurymast.operation", operation)
)

func (t telemetry) byHand(tb testing.TB, f call) *observer {
	tb.Helper()
	o := &observer{f: f}
	if t.tracers != nil {
		o.tracer = t.tracers.Tracer("bench")
	}
	if t.meters != nil {
		h, err := t.meters.Meter("bench").Float64Histogram("call.duration", metric.WithUnit("s"))
		if err != nil {
			tb.Fatal(err)
		}
		o.duration = h
		o.ok = []metric.RecordOption{metric.WithAttributeSet(
			attribute.NewSet(policyName, operationName, attribute.String("jurymast.outcome", "ok")))}
	}
	return o
}

// attempt is the call with a span around it.
func (o *observer) attempt(ctx context.Context) (answer, error) {
	if o.tracer == nil {
		return o.f(ctx)
	}
	ctx, span := o.tracer.Start(ctx, operation, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(policyName, operationName)
	}
	return o.f(ctx)
}

// record puts the histogram around a stack.
func (o *observer) record(stack call) call {
	if o.duration == nil {
		return stack
	}
	return func(ctx context.Context) (answer, error) {
		begin := time.Now()
		v, err := stack(ctx)
		o.duration.Record(ctx, time.Since(begin).Seconds(), o.ok...)
		return v, err
	}
}
