package bench

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/timeout"

	"github.com/jurymast/jurymast/resilience"
)

// body is about the size of one record of a vendor's API.
var body = bytes.Repeat([]byte("x"), 580)

// clients are the ways to send a request.
var clients = []struct {
	name string
	wrap func(testing.TB, http.RoundTripper) http.RoundTripper
}{
	{"plain", func(_ testing.TB, base http.RoundTripper) http.RoundTripper { return base }},
	{"jurymast", func(tb testing.TB, base http.RoundTripper) http.RoundTripper {
		return &resilience.Transport{Policy: jurymastPolicy(tb, telemetry{}), Wire: resilience.Wire{Base: base}}
	}},
	{"failsafe-go", func(_ testing.TB, base http.RoundTripper) http.RoundTripper {
		return failsafehttp.NewRoundTripper(base,
			failsafehttp.NewRetryPolicyBuilder().WithMaxAttempts(attempts).Build(),
			failsafeBreaker[*http.Response](),
			timeout.New[*http.Response](attemptTimeout))
	}},
}

// BenchmarkHTTP measures a GET, the answer read to its end: over loopback, which
// is what a caller sees, and from a base that answers at once, where the cost of
// the client itself is not lost in the kernel's.
func BenchmarkHTTP(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body)
	}))
	b.Cleanup(server.Close)
	for _, impl := range clients {
		b.Run("base=loopback/impl="+impl.name, func(b *testing.B) {
			base := &http.Transport{MaxIdleConnsPerHost: 64}
			b.Cleanup(base.CloseIdleConnections)
			measureGet(b, &http.Client{Transport: impl.wrap(b, base)}, server.URL)
		})
	}
	for _, impl := range clients {
		b.Run("base=none/impl="+impl.name, func(b *testing.B) {
			measureGet(b, &http.Client{Transport: impl.wrap(b, instant{})}, "http://vendor.test/")
		})
	}
}

func measureGet(b *testing.B, client *http.Client, url string) {
	measure(b, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return err
	})
}

// instant answers every request at once.
type instant struct{}

func (instant) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        make(http.Header),
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       req,
	}, nil
}
