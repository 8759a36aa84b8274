package resilience

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
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

// tell puts the failed attempt, and what follows from it, on the caller's span as
// an event and into the log: also one that was refused, which has no span.
func (r *run) tell(ctx context.Context) {
	span := trace.SpanFromContext(ctx)
	logger := r.policy.cfg.Logger
	logs := logger.Enabled(ctx, slog.LevelDebug)
	if !span.IsRecording() && !logs {
		return
	}
	last := &r.attempts[len(r.attempts)-1]
	attrs := []attribute.KeyValue{
		keyPolicy.String(r.policy.name), keyOperation.String(r.call.Name),
		keyErrorType.String(last.Class.String()), keySent.String(last.Sent.String()),
		keyResend.Int(len(r.attempts) - 1),
	}
	if last.Status != 0 {
		attrs = append(attrs, keyStatus.Int(last.Status))
	}
	if last.RequestID != "" {
		attrs = append(attrs, keyRequestID.String(last.RequestID))
	}
	if r.stopped != "" {
		attrs = append(attrs, keyReason.String(r.stopped))
	} else {
		attrs = append(attrs, keyDelay.Float64(r.delay.Seconds()))
	}
	if span.IsRecording() {
		span.AddEvent("jurymast.attempt.failed", trace.WithAttributes(attrs...))
	}
	if logs {
		record := make([]slog.Attr, len(attrs))
		for i, a := range attrs {
			record[i] = slog.Any(string(a.Key), a.Value.AsInterface())
		}
		logger.LogAttrs(ctx, slog.LevelDebug, "attempt failed", record...)
	}
}
