package siem

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/jurymast/jurymast/resilience"
)

// HTTPError is an answer to an HTTP sink that is no success. Find it with errors.As.
type HTTPError struct {
	ID     string // of the sink
	Status int    // 0: nothing was sent, because the server asked for silence before
	// RetryAfter is how long the server wants to be left alone; 0: it did not say.
	RetryAfter time.Duration
	// Said is the beginning of the answer's text, without what went out in the
	// request's header and query.
	Said string
	Hint string // what to do, where that is known
}

// Error names the sink, the status and what the server said.
func (e *HTTPError) Error() string {
	s := fmt.Sprintf("siem: %s: HTTP %d", e.ID, e.Status)
	if e.Status == 0 {
		s = fmt.Sprintf("siem: %s: nothing was sent, as the server asked for silence", e.ID)
	}
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(" (again in %v)", e.RetryAfter.Round(time.Millisecond))
	}
	if e.Said != "" {
		s += ": " + e.Said
	}
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Failure makes HTTPError Classified.
func (e *HTTPError) Failure() resilience.Failure {
	f := resilience.Failure{Class: resilience.Throttled, Sent: resilience.NotSent}
	if e.Status != 0 {
		f = resilience.OfStatus(e.Status)
	}
	f.RetryAfter = e.RetryAfter
	return f
}

func (e *HTTPError) aboutRows() bool {
	return e.Status == http.StatusBadRequest || e.Status == http.StatusRequestEntityTooLarge || e.Status == http.StatusUnprocessableEntity
}

// webPage recognises what is no answer of a collector, whatever its status.
func webPage(h http.Header, text []byte) bool {
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		return false
	}
	begin := bytes.ToLower(bytes.TrimSpace(text[:min(len(text), 512)]))
	return bytes.HasPrefix(begin, []byte("<!doctype")) || bytes.HasPrefix(begin, []byte("<html"))
}

// quoted is the beginning of what a server said, on one line. Some repeat the
// request: nothing of its header or query is left in it.
func quoted(text []byte, req *http.Request) string {
	s := strings.ToValidUTF8(string(text), "?")
	for _, secret := range secrets(req) {
		s = strings.ReplaceAll(s, secret, "[redacted]")
	}
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }), " ")
	return clip(s)
}

// secrets are the values that the request carried beside what we put there, and their
// words, longest first.
func secrets(req *http.Request) (out []string) {
	values := []string{req.URL.RawQuery}
	for _, all := range req.URL.Query() {
		values = append(values, all...)
	}
	for name, all := range req.Header {
		if name != "Content-Type" && name != "Content-Encoding" && name != "User-Agent" {
			values = append(values, all...)
		}
	}
	for _, v := range values {
		for _, word := range append(strings.Fields(v), v) {
			if len(word) >= minSecret {
				out = append(out, word)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return out
}

// minSecret: shorter words, such as "Basic", say nothing.
const minSecret = 8
