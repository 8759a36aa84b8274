package resilience

import "fmt"

// Class is what a failure was. It is the error.type of telemetry.
type Class uint8

// The classes. See the table in this file for what follows from each.
const (
	Unknown     Class = iota // not recognised
	Refused                  // no connection: refused, unreachable, DNS
	Untrusted                // TLS certificate not trusted or not valid
	Timeout                  // no answer in the time given to an attempt or to the whole call
	Broken                   // the connection broke before the whole answer was here
	Unavailable              // the server said so: 408, 500, 502, 503, 504
	Throttled                // the server said so: 429
	Credential               // 401, or no token to be had
	Denied                   // 403: authenticated, not allowed
	NotFound                 // 404
	Conflict                 // 409, 412
	Rejected                 // any other 4xx: the request is wrong
	Sunset                   // 405, 410, or a retired operation
	Malformed                // an answer that cannot be understood
	Canceled                 // the caller left, or its own deadline ended
	Open                     // the breaker is open: not sent
	Saturated                // the concurrency limit or the quota left no room: not sent
	Misuse                   // the caller asked for what this client will not do: not sent
)

// Fault says who must act.
type Fault uint8

// Whose fault a failure is.
const (
	Theirs  Fault = iota // the vendor's
	Ours                 // the request's or the program's
	Path                 // the network between
	Auth                 // credentials or permissions
	Quotas               // too many calls
	Retired              // the operation no longer exists
	Callers              // the caller left
)

type rule struct {
	name  string
	retry bool // may the same provider be tried again
	next  bool // may the next one
	trips bool // counts against the breaker
	fault Fault
}

// rules is the whole classification (facts: appendix B of the Microsoft facts,
// section 1.3 of the product facts). A denied call (403) does not move on: a
// second vendor must not be the way around a refused permission.
var rules = [...]rule{
	Unknown:     {"unknown", false, true, true, Theirs},
	Refused:     {"refused", true, true, true, Path},
	Untrusted:   {"untrusted", false, true, true, Path},
	Timeout:     {"timeout", true, true, true, Theirs},
	Broken:      {"broken", true, true, true, Path},
	Unavailable: {"unavailable", true, true, true, Theirs},
	Throttled:   {"throttled", true, true, false, Quotas},
	Credential:  {"credential", false, true, false, Auth},
	Denied:      {"denied", false, false, false, Auth},
	NotFound:    {"not_found", false, false, false, Ours},
	Conflict:    {"conflict", false, false, false, Ours},
	Rejected:    {"rejected", false, false, false, Ours},
	Sunset:      {"sunset", false, true, false, Retired},
	Malformed:   {"malformed", false, true, true, Theirs},
	Canceled:    {"canceled", false, false, false, Callers},
	Open:        {"open", false, true, false, Theirs},
	Saturated:   {"saturated", false, true, false, Quotas},
	Misuse:      {"misuse", false, false, false, Ours},
}

func (c Class) rule() rule {
	if int(c) < len(rules) {
		return rules[c]
	}
	return rules[Unknown]
}

// String returns the class as telemetry names it.
func (c Class) String() string { return c.rule().name }

// MarshalText gives String, for logs and status pages.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// notRetried is why there is no further attempt after it, made once.
func (c Class) notRetried() string {
	if int(c) < len(stopTexts) {
		return stopTexts[c]
	}
	return stopTexts[Unknown]
}

var stopTexts = func() (texts [len(rules)]string) {
	for c := range rules {
		texts[c] = "not retried after: " + rules[c].name
	}
	return texts
}()

// RetrySame reports whether the same provider may be tried again after it.
func (c Class) RetrySame() bool { return c.rule().retry }

// TryNext reports whether another provider may do better.
func (c Class) TryNext() bool { return c.rule().next }

// Fault tells who must act.
func (c Class) Fault() Fault { return c.rule().fault }

// String returns who must act.
func (f Fault) String() string {
	names := [...]string{"theirs", "ours", "path", "auth", "quota", "retired", "caller"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("resilience.Fault(%d)", uint8(f))
}

// Sent says what is known of a failed request.
type Sent uint8

const (
	// MaybeSent: the request, or a part of it, may have reached the server, and
	// nothing tells what it did. The zero value.
	MaybeSent Sent = iota
	// Answered: the server answered that it did not do it.
	Answered
	// NotSent: proven not to have left this process.
	NotSent
)

// String returns "maybe_sent", "answered" or "not_sent".
func (s Sent) String() string {
	switch s {
	case Answered:
		return "answered"
	case NotSent:
		return "not_sent"
	default:
		return "maybe_sent"
	}
}
