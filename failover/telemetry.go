package failover

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/jurymast/jurymast/resilience"
)

const scope = "github.com/jurymast/jurymast/failover"

// Attribute keys, the same in metrics, spans and logs.
const (
	keyCapability = attribute.Key("jurymast.capability")
	keyOperation  = attribute.Key("jurymast.operation")
	keyProvider   = attribute.Key("jurymast.provider")
	keyNext       = attribute.Key("jurymast.provider.next")
	keyFailedOver = attribute.Key("jurymast.failed_over")
	keyOutcome    = attribute.Key("jurymast.outcome")
	keyErrorType  = attribute.Key("error.type")
	keyReason     = attribute.Key("jurymast.reason")
)

type telemetry struct {
	cfg       Config
	tracer    trace.Tracer
	failovers metric.Int64Counter
	switches  metric.Int64Counter
}

func newTelemetry(cfg Config) (*telemetry, error) {
	tp, mp := cfg.TracerProvider, cfg.MeterProvider
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	failovers, err := mp.Meter(scope).Int64Counter("jurymast.failovers", metric.WithUnit("1"),
		metric.WithDescription("Calls that left a provider for the next one."))
	if err != nil {
		return nil, err
	}
	switches, err := mp.Meter(scope).Int64Counter("jurymast.failover.switches", metric.WithUnit("1"),
		metric.WithDescription("Changes of the provider that calls begin with."))
	if err != nil {
		return nil, err
	}
	return &telemetry{cfg, tp.Tracer(scope), failovers, switches}, nil
}

// switched tells of a change of the current provider; ctx is that of the call, or
// the Run, that caused it.
func (t *telemetry) switched(ctx context.Context, s Switch) {
	t.switches.Add(ctx, 1, metric.WithAttributes(
		keyCapability.String(t.cfg.Capability), keyProvider.String(s.From), keyNext.String(s.To)))
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent("jurymast.failover.switch", trace.WithAttributes(
			keyProvider.String(s.From), keyNext.String(s.To), keyReason.String(s.Why)))
	}
	t.cfg.Logger.WarnContext(ctx, "switched", string(keyCapability), t.cfg.Capability,
		string(keyProvider), s.From, string(keyNext), s.To, string(keyReason), s.Why)
}

func (t *telemetry) failedOver(ctx context.Context, operation, from, to string, err error) {
	f := resilience.Of(err)
	t.failovers.Add(ctx, 1, metric.WithAttributes(
		keyCapability.String(t.cfg.Capability), keyOperation.String(operation), keyProvider.String(from)))
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent("jurymast.failover", trace.WithAttributes(
			keyProvider.String(from), keyNext.String(to), keyErrorType.String(f.Class.String())))
	}
	t.cfg.Logger.WarnContext(ctx, "failed over", string(keyCapability), t.cfg.Capability, string(keyOperation), operation,
		string(keyProvider), from, string(keyNext), to, string(keyErrorType), f.Class.String(),
		"fault", f.Class.Fault().String(), "error", err.Error())
}

// Decision is the span of one whole decision; the attempts at the providers are
// spans under it.
type Decision struct{ span trace.Span }

// Decide starts the span "capability.operation". End it with [Decision.End].
func (g *Group[P]) Decide(ctx context.Context, operation string) (context.Context, Decision) {
	ctx, span := g.tel.tracer.Start(ctx, g.cfg.Capability+"."+operation, trace.WithSpanKind(trace.SpanKindInternal))
	if span.IsRecording() {
		span.SetAttributes(keyCapability.String(g.cfg.Capability), keyOperation.String(operation))
	}
	return ctx, Decision{span}
}

// End closes the decision with who served it and what came of it. The status
// text is the error's class: its own text may quote the other side.
func (d Decision) End(servedBy string, failedOver bool, outcome string, err error) {
	if d.span.IsRecording() {
		d.span.SetAttributes(keyProvider.String(servedBy), keyFailedOver.Bool(failedOver), keyOutcome.String(outcome))
		if err != nil {
			class := resilience.Of(err).Class.String()
			d.span.SetAttributes(keyErrorType.String(class))
			d.span.SetStatus(codes.Error, class)
		}
	}
	d.span.End()
}
