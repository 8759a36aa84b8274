package siem

import (
	"context"
	"iter"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Metrics, all with few series: a source is one of Config.Sources. Two pumps in one
// process that name a source alike need a MeterProvider each.
//
//	name                       unit kind       attributes
//	jurymast.event.freshness   s    histogram  jurymast.source
//	jurymast.source.silence    s    gauge      jurymast.source; of a silent type jurymast.event.type too
//	jurymast.spool.depth       By   gauge
//	jurymast.spool.oldest_age  s    gauge
//	jurymast.siem.events       1    counter    jurymast.outcome: spooled, delivered, dead; jurymast.source but for dead
//
// silence is 0 while a source, or one of its feeds, is heard as usual. The series of a
// type is there while it is silent, so that an alarm on any value above 0 ends with it;
// at most 501 a source. delivered are events that a load had when it was delivered: a
// row of theirs that was refused is in dead as well. The gauges and the counter are
// there while Run reads.
const (
	scope      = "github.com/jurymast/jurymast/failover/siem"
	keySource  = attribute.Key("jurymast.source")
	keyType    = attribute.Key("jurymast.event.type")
	keyOutcome = attribute.Key("jurymast.outcome")
)

func (p *Pump) meter() metric.Meter {
	mp := p.config.MeterProvider
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	return mp.Meter(scope)
}

func sourceSet(source string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(keySource.String(source)))
}

func outcomeSet(outcome, source string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(keyOutcome.String(outcome), keySource.String(source)))
}

// prepare makes what is recorded event by event.
func (f *freshness) prepare(m metric.Meter) (err error) {
	f.late, err = m.Float64Histogram("jurymast.event.freshness", metric.WithUnit("s"),
		metric.WithDescription("From when an event happened until a sink acknowledged it."),
		metric.WithExplicitBucketBoundaries(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 6*3600, 24*3600, 7*24*3600))
	return err
}

func (f *freshness) measure(ctx context.Context, now time.Time, events iter.Seq2[string, time.Time]) {
	if f.late == nil || !f.late.Enabled(ctx) {
		return
	}
	of, options := "", []metric.RecordOption(nil)
	for feed, t := range events {
		if options == nil || feed != of {
			of, options = feed, []metric.RecordOption{sourceSet(sourceOf(feed))}
		}
		f.late.Record(ctx, max(now.Sub(t), 0).Seconds(), options...)
	}
}

// observe reports how things stand whenever metrics are collected, until end is called.
func (p *Pump) observe() (end func(), err error) {
	m := p.meter()
	silence, err := m.Float64ObservableGauge("jurymast.source.silence", metric.WithUnit("s"),
		metric.WithDescription("How long a source, or one of its event types, has been silent that usually is not; 0: it is not."))
	if err != nil {
		return nil, err
	}
	depth, err := m.Int64ObservableGauge("jurymast.spool.depth", metric.WithUnit("By"),
		metric.WithDescription("Size of the spool on disk."))
	if err != nil {
		return nil, err
	}
	oldest, err := m.Float64ObservableGauge("jurymast.spool.oldest_age", metric.WithUnit("s"),
		metric.WithDescription("How long the oldest event that is not delivered has waited."))
	if err != nil {
		return nil, err
	}
	events, err := m.Int64ObservableCounter("jurymast.siem.events", metric.WithUnit("1"),
		metric.WithDescription("Events by what became of them."))
	if err != nil {
		return nil, err
	}
	r, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := p.Status()
		o.ObserveInt64(depth, s.Spool.Bytes)
		age := 0.0
		if since := s.waits(); !since.IsZero() {
			age = max(s.At.Sub(since), 0).Seconds()
		}
		o.ObserveFloat64(oldest, age)
		o.ObserveInt64(events, s.Dead, metric.WithAttributes(keyOutcome.String("dead")))
		whole := map[string]time.Duration{}
		for _, src := range s.Sources {
			whole[src.Name] = 0
			stored, delivered, _ := p.fresh.counted(src.Name)
			o.ObserveInt64(events, stored, outcomeSet("spooled", src.Name))
			o.ObserveInt64(events, delivered, outcomeSet("delivered", src.Name))
		}
		for _, x := range s.Silences {
			d := s.At.Sub(x.Since)
			if x.EventType == "" {
				whole[x.Source] = max(whole[x.Source], d)
				continue
			}
			o.ObserveFloat64(silence, d.Seconds(), metric.WithAttributes(keySource.String(x.Source), keyType.String(x.EventType)))
		}
		for source, d := range whole {
			o.ObserveFloat64(silence, d.Seconds(), sourceSet(source))
		}
		return nil
	}, silence, depth, oldest, events)
	if err != nil {
		return nil, err
	}
	return func() { _ = r.Unregister() }, nil
}
