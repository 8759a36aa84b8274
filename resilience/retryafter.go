package resilience

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter caps what a server can ask for: one header with a wrong unit or
// a skewed clock must not take a client out for hours.
const MaxRetryAfter = 10 * time.Minute

// RetryAfter reads the standard Retry-After header, in seconds or as an HTTP
// date, as the time to wait from now: 0 if there is none or it makes no sense,
// at most MaxRetryAfter. Vendors' own headers are their packages' affair.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		return CapRetryAfter(seconds)
	}
	if at, err := http.ParseTime(value); err == nil {
		return CapRetryAfter(at.Sub(now).Seconds())
	}
	return 0
}

// CapRetryAfter turns seconds from a header into a wait between 0 and MaxRetryAfter.
func CapRetryAfter(seconds float64) time.Duration {
	switch {
	case !(seconds > 0): // also NaN
		return 0
	case seconds >= MaxRetryAfter.Seconds():
		return MaxRetryAfter
	default:
		return time.Duration(seconds * float64(time.Second))
	}
}
