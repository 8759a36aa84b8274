package resilience

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/jurymast/jurymast/resilience/fault"
)

var encoder = attribute.DefaultEncoder()

func TestMetricsOfACall(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	p := policy(t, Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Retry: Retry{Base: 1, Max: 1}})
	for range 3 {
		_, _ = try(t.Context(), p, Call{Name: "get", Kind: Read}, fail(Unavailable, MaybeSent))
	}
	_, _ = try(t.Context(), p, Call{Name: "get", Kind: Read}, fail(NotFound, Answered))
	got := collect(t, reader)
	want := map[string]uint64{
		"jurymast.call.duration s jurymast.operation=get,jurymast.outcome=ok,jurymast.policy=dep":        3,
		"jurymast.call.duration s jurymast.operation=get,jurymast.outcome=not_found,jurymast.policy=dep": 1,
		"jurymast.attempts 1 jurymast.operation=get,jurymast.outcome=ok,jurymast.policy=dep":             6,
		"jurymast.attempts 1 jurymast.operation=get,jurymast.outcome=not_found,jurymast.policy=dep":      1,
		"jurymast.breaker.state 1 jurymast.policy=dep":                                                   0,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// collect returns every series of the reader: the count of a histogram, the value
// of the others, quotas in percent.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string]uint64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	note := func(m metricdata.Metrics, attrs attribute.Set, value uint64) {
		got[fmt.Sprint(m.Name, " ", m.Unit, " ", attrs.Encoded(encoder))] = value
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, d := range data.DataPoints {
					note(m, d.Attributes, d.Count)
				}
			case metricdata.Sum[int64]:
				for _, d := range data.DataPoints {
					note(m, d.Attributes, uint64(d.Value))
				}
			case metricdata.Gauge[int64]:
				for _, d := range data.DataPoints {
					note(m, d.Attributes, uint64(d.Value))
				}
			case metricdata.Gauge[float64]:
				for _, d := range data.DataPoints {
					note(m, d.Attributes, uint64(100*d.Value))
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return got
}

func TestMetricsOfAPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		p := policy(t, Config{MeterProvider: meters, Quota: mustQuota(t, Window{100, time.Minute})})
		own := mustQuota(t, Window{50, time.Minute})
		_, _ = try(t.Context(), p, Call{Name: "isolate", Quota: own})
		open(t, p)
		got := collect(t, reader)
		for series, want := range map[string]uint64{
			"jurymast.breaker.state 1 jurymast.policy=dep":                               2,
			"jurymast.budget.remaining 1 jurymast.policy=dep":                            50, // ten of the twenty that may go at once
			"jurymast.budget.remaining 1 jurymast.operation=isolate,jurymast.policy=dep": 90,
		} {
			if value, ok := got[series]; value != want || !ok {
				t.Errorf("%s is %v, want %d; of %v", series, value, want, got)
			}
		}
	})
}

// What nobody holds any more is neither reported nor kept.
func TestMetricsDoNotHoldThePolicy(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	p := policy(t, Config{MeterProvider: meters})
	if got := collect(t, reader); len(got) != 1 {
		t.Fatal(got)
	}
	runtime.KeepAlive(p)
	for range 100 {
		runtime.GC()
		if len(collect(t, reader)) == 0 {
			return
		}
	}
	t.Error("the policy is still there")
}

// A caller who puts ids into names, or follows any link, must not fill the memory
// or the metrics' store.
func TestCardinalityIsBounded(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	p := policy(t, Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(-1))})
	client := &http.Client{Transport: &Transport{Policy: p, Wire: Wire{Base: answering(200)}}}
	for i := range 1000 {
		resp, err := client.Get(fmt.Sprintf("https://host%d.test/", i))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	got := collect(t, reader)
	if n := len(got); n > 3*(maxOperations+2) || n < maxHTTPSeries {
		t.Errorf("%d series", n)
	}
	if n := got["jurymast.attempts 1 jurymast.operation=_OTHER,jurymast.outcome=ok,jurymast.policy=dep"]; n != 1000-maxOperations {
		t.Errorf("%d calls of other operations", n)
	}
	if n := len(p.seen.all()); n != maxOperations+1 {
		t.Errorf("%d operations are kept", n)
	}
}

// answering is a base that answers at once.
type answering int

func (status answering) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(status), Proto: "HTTP/1.1", Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func TestMetricsOfHTTP(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	p := policy(t, Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	send := func(base http.RoundTripper, method, url string) {
		client := &http.Client{Transport: &Transport{Policy: p, Wire: Wire{Base: base}}}
		req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}
	send(answering(200), http.MethodGet, "https://a.test/secret?host=laptop")
	send(answering(404), http.MethodPost, "http://a.test:8080/")
	send(fault.NewPlan(1).RoundTripper(answering(200)), "PURGE", "https://a.test/")
	refusing := fault.NewPlan(1)
	refusing.Add(fault.Rule{Kind: fault.Refuse})
	send(refusing.RoundTripper(nil), http.MethodPost, "https://a.test/")
	got := collect(t, reader)
	for series, want := range map[string]uint64{
		"http.request.method=GET,http.response.status_code=200,server.address=a.test,server.port=443":                  1,
		"error.type=404,http.request.method=POST,http.response.status_code=404,server.address=a.test,server.port=8080": 1,
		"http.request.method=_OTHER,http.response.status_code=200,server.address=a.test,server.port=443":               1,
		"error.type=refused,http.request.method=POST,server.address=a.test,server.port=443":                            3,
	} {
		if n := got["http.client.request.duration s "+series]; n != want {
			t.Errorf("%d of %s, want %d; got %v", n, series, want, got)
		}
	}
}

// What has no span of its own, because it was refused, is an event on the
// caller's; so is what follows from a failure. The log says the same.
func TestFailuresAreEventsAndLogLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := tracetest.NewSpanRecorder()
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		p := policy(t, Config{TracerProvider: tp, Logger: logger, Breaker: Breaker{LastFailed: 2}})
		ctx, span := tp.Tracer("test").Start(t.Context(), "caller")
		failed := &failing{Failure{Class: Unavailable, Status: 503, RequestID: "r-1", RetryAfter: time.Second}}
		if _, err := try(ctx, p, Call{Name: "get", Kind: Read}, failed, failed, failed); !errors.Is(err, ErrOpen) {
			t.Fatal(err)
		}
		span.End()
		var events []string
		for _, s := range recorder.Ended() {
			if s.Name() != "caller" {
				continue
			}
			for _, e := range s.Events() {
				set := attribute.NewSet(e.Attributes...)
				class, _ := set.Value(keyErrorType)
				status, _ := set.Value(keyStatus)
				delay, _ := set.Value(keyDelay)
				reason, _ := set.Value(keyReason)
				events = append(events, fmt.Sprintf("%s %s %v later=%v %s", e.Name, class.AsString(), status.AsInt64(), delay.AsFloat64() >= 1, reason.AsString()))
			}
		}
		want := []string{
			"jurymast.attempt.failed unavailable 503 later=true ",
			"jurymast.attempt.failed unavailable 503 later=true ",
			"jurymast.attempt.failed open 0 later=false not retried after: open",
		}
		if !slices.Equal(events, want) {
			t.Errorf("\n got %q\nwant %q", events, want)
		}
		for _, want := range []string{"jurymast.policy=dep", "jurymast.operation=get", "error.type=unavailable", "jurymast.vendor.trace_id=r-1", "jurymast.breaker.state=open"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is missing in the log:\n%s", want, &log)
			}
		}
	})
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
