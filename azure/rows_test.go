package azure

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Whatever comes back is a row or an error, never a panic.
func FuzzRow(f *testing.F) {
	for _, s := range []string{
		`{"id":"a","computerDnsName":"x","ipAddresses":[{"macAddress":"0A"}],"lastSeen":"2026-11-23T12:00:00.1234567Z"}`,
		`{"id":7,"ipAddresses":"none"}`, `{}`, `null`, `[]`, `"x"`, ``, `{"error":{"code":"NotFound","message":"m","target":"t"}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if e := newAPIError("fuzz", &http.Response{StatusCode: 404, Header: http.Header{}}, []byte(body)); e.Error() == "" {
			t.Error("an error without text")
		}
		m := readRow("fuzz", json.RawMessage(body), parseMachine)
		if (m.Err == nil) != (m.Value.ID != "") {
			t.Errorf("%s gave %+v, %v", body, m.Value, m.Err)
		}
		a := readRow("fuzz", json.RawMessage(body), parseAction)
		if (a.Err == nil) != (a.Value.ID != "") {
			t.Errorf("%s gave %+v, %v", body, a.Value, a.Err)
		}
	})
}

// 1.2: three headers, two of them in milliseconds; none may exceed the cap.
func TestRetryAfterHeaders(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"retry-after-ms":      {http.Header{"Retry-After-Ms": {"150"}}, 150 * time.Millisecond},
		"x-ms-retry-after-ms": {http.Header{"X-Ms-Retry-After-Ms": {"250"}}, 250 * time.Millisecond},
		"seconds":             {http.Header{"Retry-After": {"2"}}, 2 * time.Second},
		"an hour":             {http.Header{"Retry-After": {"3600"}}, resilience.MaxRetryAfter},
		"garbage":             {http.Header{"Retry-After": {"soon"}, "Retry-After-Ms": {"x"}}, 0},
	} {
		if got := retryAfter(tc.header, now); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
