package resilience

import (
	"context"
	"sync"
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

func newTracer(tp trace.TracerProvider) trace.Tracer {
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	return tp.Tracer(scope)
}

// instruments records without allocating: the attribute sets of every
// (operation, outcome) are made once.
type instruments struct {
	policy   string
	duration metric.Float64Histogram
	attempts metric.Int64Counter
	sets     sync.Map // seriesKey -> *series
}

type seriesKey struct {
	operation string
	class     Class
	ok        bool
}

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
	return &instruments{policy: policy, duration: duration, attempts: attempts}, nil
}

func (m *instruments) series(operation string, class Class, ok bool) *series {
	key := seriesKey{operation, class, ok}
	if s, found := m.sets.Load(key); found {
		return s.(*series)
	}
	outcome := "ok"
	if !ok {
		outcome = class.String()
	}
	set := attribute.NewSet(keyPolicy.String(m.policy), keyOperation.String(operation), keyOutcome.String(outcome))
	s, _ := m.sets.LoadOrStore(key, &series{
		record: []metric.RecordOption{metric.WithAttributeSet(set)},
		add:    []metric.AddOption{metric.WithAttributeSet(set)},
	})
	return s.(*series)
}

func (m *instruments) done(ctx context.Context, operation string, class Class, ok bool, took time.Duration, attempts int) {
	s := m.series(operation, class, ok)
	m.duration.Record(ctx, took.Seconds(), s.record...)
	m.attempts.Add(ctx, int64(attempts), s.add...)
}

// startSpan opens the span of one attempt.
func (p *Policy) startSpan(ctx context.Context, call *Call, resend int) (context.Context, trace.Span) {
	ctx, span := p.tracer.Start(ctx, call.Name, trace.WithSpanKind(trace.SpanKindClient))
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
