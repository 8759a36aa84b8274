package siem

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// collected are the values of this package's metrics, by name, unit and attributes;
// of a histogram the count.
func collected(t *testing.T, r *sdkmetric.ManualReader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(context.WithoutCancel(t.Context()), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, s := range all.ScopeMetrics {
		if s.Scope.Name != scope {
			continue
		}
		for _, m := range s.Metrics {
			add := func(set attribute.Set, v float64) {
				got[m.Name+" "+m.Unit+" "+set.Encoded(attribute.DefaultEncoder())] = v
			}
			switch d := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Count))
				}
			}
		}
	}
	return got
}

func TestMetricsTellWhatTheStatusTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		src := newStream("A", "B")
		sink := &toySink{}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(sink), MeterProvider: provider})
		defer stop()
		time.Sleep(2*day + 10*time.Second)
		src.types.Store(&[]string{"A"})
		time.Sleep(6 * time.Minute)
		sink.set(down)
		time.Sleep(4*time.Minute + 55*time.Second)
		const all = 2*2*60*24*2 + 2 // until B ended
		want := map[string]float64{
			"jurymast.event.freshness s jurymast.source=falcon":                        all + 12,
			"jurymast.siem.events 1 jurymast.outcome=dead":                             0,
			"jurymast.siem.events 1 jurymast.outcome=delivered,jurymast.source=falcon": all + 12,
			"jurymast.siem.events 1 jurymast.outcome=spooled,jurymast.source=falcon":   all + 22,
			"jurymast.source.silence s jurymast.source=falcon":                         0,
			"jurymast.source.silence s jurymast.event.type=B,jurymast.source=falcon":   665,
			"jurymast.spool.depth By ":                                                 float64(p.spool.Stats().Bytes),
			"jurymast.spool.oldest_age s ":                                             275,
		}
		got := collected(t, reader)
		if !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		stop()
		got = collected(t, reader)
		if len(got) != 1 || got["jurymast.event.freshness s jurymast.source=falcon"] == 0 {
			t.Errorf("afterwards: %v", got)
		}
	})
}
