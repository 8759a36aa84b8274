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

// RetryAfter reads Retry-After-Ms, in milliseconds, or else the standard
// Retry-After header, in seconds or as an HTTP date, as the time to wait from
// now: 0 if there is none or it makes no sense, at most MaxRetryAfter. Vendors'
// own headers are their packages' affair.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(strings.TrimSpace(h.Get("Retry-After-Ms")), 64); err == nil {
		return CapRetryAfter(ms / 1000)
	}
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

// RetryAfterEpoch reads the time, in seconds or milliseconds since 1970, at which
// a server wants to be asked again, as the time to wait from now, as RetryAfter
// does. The two units are told apart by their size: a number of seconds as large
// as today's milliseconds is thousands of years away.
func RetryAfterEpoch(value string, now time.Time) (wait time.Duration, ok bool) {
	epoch, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil {
		return 0, false
	}
	if epoch > 1e11 {
		epoch /= 1000
	}
	return CapRetryAfter(epoch - float64(now.UnixMilli())/1000), true
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
