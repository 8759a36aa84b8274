package failover

import (
	"context"
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/jurymast/jurymast/resilience"
)

func TestExplainTellsWhoIsCurrentAndWhatAFailbackNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := NewGroup(Config{Capability: "edr", Hold: time.Minute, FailbackAfter: 2},
			Member[string]{ID: "a", Value: "a", Plane: "aws"}, Member[string]{ID: "b", Value: "b"}, Member[string]{ID: "c", Value: "c"})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := g.Explain().String(), "edr: calls begin with a\n  a (aws): current; failures in a row: 0\n  b: failures in a row: 0\n  c: failures in a row: 0"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		v := &vendors{}
		v.set("a", down)
		for range 3 {
			do(t, g, v, reading)
			time.Sleep(time.Second)
		}
		if err := g.Cordon("c", "drill", "soc"); err != nil {
			t.Fatal(err)
		}
		v.set("a", nil)
		time.Sleep(time.Minute)
		do(t, g, v, reading) // a good trial
		want := `edr: calls begin with b; the last switch was at 00:00:02.000Z
  a (aws): failures in a row: 0, good probes: 1; the last failure was at 00:00:02.000Z: refused: failing: refused
  b: current; failures in a row: 0
  c: cordoned by soc since 00:00:03.000Z: drill; failures in a row: 0
  back to a after 2 good answers in a row, not before 00:01:02.000Z: reads try it, one at a time
  00:00:02.000Z switched from a to b: failures in a row: 3, the last one: refused`
		e := g.Explain()
		if e.String() != want {
			t.Errorf("got\n%s\nwant\n%s", e, want)
		}
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		const asJSON = `{"capability":"edr","current":"b","since":"T","providers":[` +
			`{"provider":"a","plane":"aws","current":false,"failures":0,"last":{"at":"T","class":"refused","text":"failing: refused"},"good":1},` +
			`{"provider":"b","current":true,"failures":0,"good":0},` +
			`{"provider":"c","current":false,"cordon":{"provider":"c","reason":"drill","who":"soc","since":"T"},"failures":0,"good":0}],` +
			`"switches":[{"from":"a","to":"b","why":"failures in a row: 3, the last one: refused","at":"T"}],` +
			`"failback":{"to":["a"],"good":2,"not_before":"T","probed":false}}`
		if got := regexp.MustCompile(`"2000-[^"]*"`).ReplaceAllString(string(raw), `"T"`); got != asJSON {
			t.Errorf("got\n%s\nwant\n%s", got, asJSON)
		}
	})
}

func TestExplainTellsWhoWaitsForWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := switched(t, "a", "b", "c")
		time.Sleep(10 * time.Second)
		defer running(t, g, func(context.Context, string) error { return down }, time.Minute)()
		if got := g.Explain(); !got.Failback.Probed || !strings.Contains(got.String(), "it is being probed") ||
			!strings.Contains(got.String(), "no other for 20s") || !strings.Contains(got.String(), "its breaker refuses calls") {
			t.Errorf("%s", got)
		}
		if err := g.Cordon("a", "drill", "soc"); err != nil {
			t.Fatal(err)
		}
		if got := g.Explain(); got.Failback != nil {
			t.Errorf("back to a cordoned one: %v", got.Failback)
		}
		g.Uncordon("a")
		// Of a part it tells the part's.
		part := g.Only(func(m Member[string]) bool { return m.ID == "c" }).Explain()
		if part.Current != "c" || len(part.Providers) != 1 || part.Failback != nil {
			t.Errorf("%v", part)
		}
		for _, id := range []string{"a", "b", "c"} {
			if err := g.Cordon(id, "drill", "soc"); err != nil {
				t.Fatal(err)
			}
		}
		if got := g.Explain(); got.Current != "" || got.Failback != nil || !strings.Contains(got.String(), "no provider is left") {
			t.Errorf("%s", got)
		}
	})
}

// A switch is in the log, in the metric and on the span of the call that caused it,
// and only there.
func TestASwitchIsSeen(t *testing.T) {
	var log strings.Builder
	spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	g, err := NewGroup(Config{
		Capability: "edr", Logger: slog.New(slog.NewTextHandler(&log, nil)),
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
	}, Member[string]{ID: "a", Value: "a"}, Member[string]{ID: "b", Value: "b"})
	if err != nil {
		t.Fatal(err)
	}
	v := &vendors{}
	v.set("a", fail(resilience.Timeout, resilience.NotSent))
	for range 5 {
		ctx, decision := g.Decide(t.Context(), "x")
		res, err := Do(ctx, g, reading, v.ask)
		decision.End(res.By(), true, "", err)
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, m := range rm.ScopeMetrics[0].Metrics {
		if m.Name == "jurymast.failover.switches" {
			points := m.Data.(metricdata.Sum[int64]).DataPoints
			want := attribute.NewSet(attribute.String("jurymast.capability", "edr"), attribute.String("jurymast.provider", "a"), attribute.String("jurymast.provider.next", "b"))
			found = len(points) == 1 && points[0].Value == 1 && points[0].Attributes.Equals(&want)
		}
	}
	if !found {
		t.Errorf("metrics %+v", rm.ScopeMetrics)
	}
	for n, s := range spans.Ended() {
		var reasons []string
		for _, e := range s.Events() {
			if e.Name == "jurymast.failover.switch" {
				reasons = append(reasons, e.Attributes[2].Value.AsString())
			}
		}
		if want := n == 2; (len(reasons) == 1) != want || want && reasons[0] != "failures in a row: 3, the last one: timeout" {
			t.Errorf("span %d: %v", n, reasons)
		}
	}
	const line = `level=WARN msg=switched jurymast.capability=edr jurymast.provider=a jurymast.provider.next=b jurymast.reason="failures in a row: 3, the last one: timeout"`
	if strings.Count(log.String(), line) != 1 {
		t.Errorf("log:\n%s", log.String())
	}
}
