package resilience

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// httpMetrics record the semantic conventions' metric of HTTP clients.
type httpMetrics struct {
	duration metric.Float64Histogram
	mu       sync.RWMutex
	series   map[httpSeries][]metric.RecordOption
}

// httpSeries are the attributes that tell one series from another.
type httpSeries struct {
	method, scheme, host, port string
	status                     int
	class                      Class // of a request without an answer
}

// maxHTTPSeries bounds the attribute sets of one policy. Beyond it the server's
// name is left out: a client that follows any link must not fill the memory.
const maxHTTPSeries = 200

// start returns the time, or zero if nobody wants to know.
func (m *httpMetrics) start(ctx context.Context) time.Time {
	if !m.duration.Enabled(ctx) {
		return time.Time{}
	}
	return time.Now()
}

func (m *httpMetrics) record(ctx context.Context, req *http.Request, resp *http.Response, err error, start time.Time) {
	if start.IsZero() {
		return
	}
	s := httpSeries{method: knownMethod(req.Method), scheme: req.URL.Scheme, host: req.URL.Hostname(), port: req.URL.Port()}
	switch {
	case err == nil:
		s.status = resp.StatusCode
	case ctx.Err() == nil:
		s.class = classOf(err)
	case errors.Is(context.Cause(ctx), errAttemptTimeout), errors.Is(context.Cause(ctx), errTotal):
		s.class = Timeout
	default:
		s.class = Canceled
	}
	m.duration.Record(ctx, time.Since(start).Seconds(), m.options(s)...)
}

func (m *httpMetrics) options(s httpSeries) []metric.RecordOption {
	m.mu.RLock()
	options, full := m.series[s], len(m.series) >= maxHTTPSeries
	m.mu.RUnlock()
	if options != nil {
		return options
	}
	if full && s.host != "" {
		s.host, s.port = "", ""
		return m.options(s)
	}
	attrs := []attribute.KeyValue{keyMethod.String(s.method)}
	if s.host != "" {
		attrs = append(attrs, keyServer.String(s.host), keyPort.Int(portOf(s.scheme, s.port)))
	}
	switch {
	case s.status >= 400:
		attrs = append(attrs, keyStatus.Int(s.status), keyErrorType.String(strconv.Itoa(s.status)))
	case s.status != 0:
		attrs = append(attrs, keyStatus.Int(s.status))
	default:
		attrs = append(attrs, keyErrorType.String(s.class.String()))
	}
	options = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.series == nil {
		m.series = map[httpSeries][]metric.RecordOption{}
	}
	m.series[s] = options
	return options
}

// knownMethod is the method, or _OTHER for what HTTP does not define, as the
// conventions want it.
func knownMethod(method string) string {
	switch method {
	case "":
		return http.MethodGet
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	default:
		return "_OTHER"
	}
}

func portOf(scheme, port string) int {
	if n, err := strconv.Atoi(port); err == nil {
		return n
	}
	if strings.EqualFold(scheme, "http") {
		return 80
	}
	return 443
}

// describe puts the request on the attempt's span. The query stays out, because
// vendors' queries name people's hosts, and so does url.full, which has it.
func describe(span trace.Span, method string, u *url.URL) {
	span.SetAttributes(
		keyMethod.String(knownMethod(method)), keyServer.String(u.Hostname()),
		keyPort.Int(portOf(u.Scheme, u.Port())), keyPath.String(u.Path))
}

func describeAnswer(span trace.Span, resp *http.Response) {
	span.SetAttributes(keyStatus.Int(resp.StatusCode), keyProtocol.String(strings.TrimPrefix(resp.Proto, "HTTP/")))
}
