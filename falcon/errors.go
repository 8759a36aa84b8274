package falcon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Errors that every client of Jurymast shares.
var (
	ErrReadOnly = resilience.ErrReadOnly
	ErrClosed   = resilience.ErrClosed
)

// ErrNotFound is matched by errors about an id that Falcon does not know.
var ErrNotFound = errors.New("not found in Falcon")

// Message is one of the errors in Falcon's answer.
type Message struct {
	Code    int
	Message string
	ID      string // what it is about, if Falcon says
}

// APIError is Falcon's answer that it did not do, or could not do, what was
// asked. Find it with errors.As. It never holds a body or a secret.
type APIError struct {
	Operation  string
	Status     int // HTTP status; with errors inside a 200, the first message's code
	Messages   []Message
	TraceID    string // for CrowdStrike's support
	RetryAfter time.Duration
	Hint       string // what to do, where that is known

	class resilience.Class // overrides that of the status, if not Unknown
	sent  resilience.Sent
	err   error
	rows  []json.RawMessage // of a 400: what Falcon says of single rows of the request
}

// Error names the operation, the status, Falcon's messages and the trace id.
func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "falcon %s: HTTP %d", e.Operation, e.Status)
	for i, m := range e.Messages {
		if i == 3 {
			fmt.Fprintf(&b, " (and %d more)", len(e.Messages)-i)
			break
		}
		b.WriteString("; ")
		b.WriteString(m.Message)
		if m.ID != "" {
			b.WriteString(" [" + m.ID + "]")
		}
	}
	if e.err != nil {
		fmt.Fprintf(&b, "; %v", e.err)
	}
	if e.TraceID != "" {
		b.WriteString(" (trace " + e.TraceID + ")")
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return b.String()
}

// Unwrap gives the cause, if the answer could not be read.
func (e *APIError) Unwrap() error { return e.err }

// Is matches ErrNotFound.
func (e *APIError) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound
}

// Failure makes APIError Classified.
func (e *APIError) Failure() resilience.Failure {
	f := resilience.OfStatus(e.Status)
	if e.class != resilience.Unknown {
		f.Class, f.Sent = e.class, e.sent
	}
	f.RequestID, f.RetryAfter = e.TraceID, e.RetryAfter
	return f
}

// retryAfter reads X-RateLimit-RetryAfter: the epoch in seconds on the wire, in
// milliseconds by the swagger (hazards B3, B4), and the standard header.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if wait, ok := resilience.RetryAfterEpoch(h.Get("X-RateLimit-RetryAfter"), now); ok {
		return wait
	}
	return resilience.RetryAfter(h, now)
}

// rateLimit reads what is left of the customer's calls in this minute. Answers to
// a bad token, and redirects of a region that does not know the token, carry the
// small quota of their own (facts/falcon.md 2.1).
func rateLimit(resp *http.Response) (said resilience.RateLimit) {
	if resp.StatusCode >= 300 {
		return said
	}
	limit, err1 := strconv.Atoi(resp.Header.Get("X-RateLimit-Limit"))
	left, err2 := strconv.Atoi(resp.Header.Get("X-RateLimit-Remaining"))
	if err1 == nil && err2 == nil {
		said.Limit, said.Remaining = limit, left
	}
	return said
}
