package resilience

import (
	"context"
	"runtime"
	"weak"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const scope = "github.com/jurymast/jurymast/resilience"

// Keys, the same in metrics, spans and logs.
const (
	keyPolicy       = attribute.Key("jurymast.policy")
	keyOperation    = attribute.Key("jurymast.operation")
	keyOutcome      = attribute.Key("jurymast.outcome")
	keySent         = attribute.Key("jurymast.sent")
	keyRequestID    = attribute.Key("jurymast.vendor.trace_id")
	keyBreakerState = attribute.Key("jurymast.breaker.state")
	keyReason       = attribute.Key("jurymast.reason")
	keyDelay        = attribute.Key("jurymast.retry.delay")
	keyErrorType    = attribute.Key("error.type")
	keyResend       = attribute.Key("http.request.resend_count")
	keyMethod       = attribute.Key("http.request.method")
	keyStatus       = attribute.Key("http.response.status_code")
	keyProtocol     = attribute.Key("network.protocol.version")
	keyServer       = attribute.Key("server.address")
	keyPort         = attribute.Key("server.port")
	keyPath         = attribute.Key("url.path")
)

// instruments record without allocating: the attribute sets of what has been
// seen are made once.
type instruments struct {
	policy   string
	duration metric.Float64Histogram
	attempts metric.Int64Counter
	http     httpMetrics
}

// series are the options with which one (operation, outcome) is recorded.
type series struct {
	record []metric.RecordOption
	add    []metric.AddOption
}

func newInstruments(policy string, mp metric.MeterProvider) (*instruments, error) {
	meter := mp.Meter(scope)
	m := &instruments{policy: policy}
	var err error
	if m.duration, err = meter.Float64Histogram("jurymast.call.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of a call through a policy, with all its attempts and waits."),
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)); err != nil {
		return nil, err
	}
	if m.attempts, err = meter.Int64Counter("jurymast.attempts", metric.WithUnit("1"),
		metric.WithDescription("Attempts made by calls through a policy.")); err != nil {
		return nil, err
	}
	if m.http.duration, err = meter.Float64Histogram("http.client.request.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of HTTP client requests, to the headers of the answer."),
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)); err != nil {
		return nil, err
	}
	return m, nil
}

// observe reports the policy's state whenever metrics are collected, for as long
// as somebody holds the policy.
func (p *Policy) observe(mp metric.MeterProvider) error {
	meter := mp.Meter(scope)
	state, err := meter.Int64ObservableGauge("jurymast.breaker.state", metric.WithUnit("1"),
		metric.WithDescription("State of a policy's circuit breaker: 0 closed, 1 half open, 2 open."))
	if err != nil {
		return err
	}
	remaining, err := meter.Float64ObservableGauge("jurymast.budget.remaining", metric.WithUnit("1"),
		metric.WithDescription("Share of a vendor's quota that is left: of the policy's, and of each operation that has its own."))
	if err != nil {
		return err
	}
	set := metric.WithAttributeSet(attribute.NewSet(keyPolicy.String(p.name)))
	held := weak.Make(p)
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		p := held.Value()
		if p == nil {
			return nil
		}
		o.ObserveInt64(state, int64(p.State()), set)
		if p.cfg.Quota != nil {
			o.ObserveFloat64(remaining, p.cfg.Quota.Remaining(), set)
		}
		for name, op := range p.seen.all() {
			if q := op.quota.Load(); q != nil {
				o.ObserveFloat64(remaining, q.Remaining(), metric.WithAttributes(keyPolicy.String(p.name), keyOperation.String(name)))
			}
		}
		return nil
	}, state, remaining)
	if err != nil {
		return err
	}
	runtime.AddCleanup(p, func(r metric.Registration) { _ = r.Unregister() }, registration)
	return nil
}

func (m *instruments) series(o *operation, class Class, ok bool) *series {
	slot, outcome := &o.outcomes[len(o.outcomes)-1], "ok"
	if !ok {
		slot, outcome = &o.outcomes[min(int(class), len(rules)-1)], class.String()
	}
	if s := slot.Load(); s != nil {
		return s
	}
	set := attribute.NewSet(keyPolicy.String(m.policy), keyOperation.String(o.name), keyOutcome.String(outcome))
	slot.CompareAndSwap(nil, &series{
		record: []metric.RecordOption{metric.WithAttributeSet(set)},
		add:    []metric.AddOption{metric.WithAttributeSet(set)},
	})
	return slot.Load()
}

// done records a call. The caller's context goes along, so that exemplars lead
// to its trace.
func (m *instruments) done(ctx context.Context, r *run, class Class, ok bool) {
	if !m.duration.Enabled(ctx) && !m.attempts.Enabled(ctx) {
		return
	}
	s := m.series(r.op, class, ok)
	m.duration.Record(ctx, r.now.Sub(r.start).Seconds(), s.record...)
	m.attempts.Add(ctx, int64(r.tries), s.add...)
}
