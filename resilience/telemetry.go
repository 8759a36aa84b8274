package resilience

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/jurymast/jurymast/resilience"

// Attribute keys, the same in metrics, spans and logs.
const (
	keyPolicy    = attribute.Key("jurymast.policy")
	keyOperation = attribute.Key("jurymast.operation")
	keyOutcome   = attribute.Key("jurymast.outcome")
	keySent      = attribute.Key("jurymast.sent")
	keyRequestID = attribute.Key("jurymast.vendor.trace_id")
	keyErrorType = attribute.Key("error.type")
	keyResend    = attribute.Key("http.request.resend_count")
)

// tracing starts the spans of attempts. While nobody has set a global tracer
// provider, and none was configured, it costs nothing.
type tracing struct {
	tracer   trace.Tracer
	global   bool // the tracer is the global one, which may be set later
	spanKind []trace.SpanStartOption
}

// unset is the global provider from before anybody set one, nil if somebody
// already had when this package was initialised.
var unset = func() trace.TracerProvider {
	tp := otel.GetTracerProvider()
	if fmt.Sprintf("%T", tp) != "*global.tracerProvider" {
		return nil
	}
	return tp
}()

func newTracing(tp trace.TracerProvider) tracing {
	global := tp == nil
	if global {
		tp = otel.GetTracerProvider()
	}
	return tracing{tp.Tracer(scope), global, []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}}
}

func (t *tracing) off() bool {
	return t.global && unset != nil && otel.GetTracerProvider() == unset
}

var noSpan = trace.SpanFromContext(context.Background())

// instruments records without allocating: the attribute sets of every
// (operation, outcome) are made once.
type instruments struct {
	policy   string
	duration metric.Float64Histogram
	attempts metric.Int64Counter
}

// series are the options with which one (operation, outcome) is recorded.
type series struct {
	record []metric.RecordOption
	add    []metric.AddOption
}

func newInstruments(policy string, mp metric.MeterProvider) (*instruments, error) {
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	meter := mp.Meter(scope)
	duration, err := meter.Float64Histogram("jurymast.call.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of a call through a policy, with all its attempts and waits."),
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60))
	if err != nil {
		return nil, err
	}
	attempts, err := meter.Int64Counter("jurymast.attempts", metric.WithUnit("1"),
		metric.WithDescription("Attempts made by calls through a policy."))
	if err != nil {
		return nil, err
	}
	return &instruments{policy, duration, attempts}, nil
}

func (m *instruments) series(o *operation, name string, class Class, ok bool) *series {
	slot, outcome := &o.outcomes[len(o.outcomes)-1], "ok"
	if !ok {
		slot, outcome = &o.outcomes[min(int(class), len(rules)-1)], class.String()
	}
	if s := slot.Load(); s != nil {
		return s
	}
	set := attribute.NewSet(keyPolicy.String(m.policy), keyOperation.String(name), keyOutcome.String(outcome))
	slot.CompareAndSwap(nil, &series{
		record: []metric.RecordOption{metric.WithAttributeSet(set)},
		add:    []metric.AddOption{metric.WithAttributeSet(set)},
	})
	return slot.Load()
}

func (m *instruments) done(ctx context.Context, r *run, class Class, ok bool) {
	s := m.series(r.op, r.call.Name, class, ok)
	m.duration.Record(ctx, time.Since(r.start).Seconds(), s.record...)
	m.attempts.Add(ctx, int64(r.tries), s.add...)
}

// startSpan opens the span of one attempt.
func (p *Policy) startSpan(ctx context.Context, call *Call, resend int) (context.Context, trace.Span) {
	if p.tracing.off() {
		return ctx, noSpan
	}
	ctx, span := p.tracing.tracer.Start(ctx, call.Name, p.tracing.spanKind...)
	if span.IsRecording() {
		span.SetAttributes(keyPolicy.String(p.name), keyOperation.String(call.Name))
		if resend > 0 {
			span.SetAttributes(keyResend.Int(resend))
		}
	}
	return ctx, span
}

// endSpan closes it. The status text is the class: an error's own text may
// quote the other side.
func endSpan(span trace.Span, f Failure, failed bool) {
	if failed && span.IsRecording() {
		span.SetAttributes(keyErrorType.String(f.Class.String()), keySent.String(f.Sent.String()))
		if f.RequestID != "" {
			span.SetAttributes(keyRequestID.String(f.RequestID))
		}
		span.SetStatus(codes.Error, f.Class.String())
	}
	span.End()
}
