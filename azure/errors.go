package azure

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Errors that every client of Jurymast shares.
var (
	ErrReadOnly = resilience.ErrReadOnly
	ErrClosed   = resilience.ErrClosed
)

// ErrNotFound is matched by errors about an id that Microsoft does not know.
var ErrNotFound = errors.New("not found at Microsoft")

// APIError is Microsoft's answer that it did not do, or could not do, what was
// asked. Find it with errors.As. It never holds a body or a token.
type APIError struct {
	Operation  string
	Status     int
	Code       string // such as ResourceNotFound, ActiveRequestAlreadyExists
	Message    string
	RequestID  string // for Microsoft's support: x-ms-request-id, or the error's target
	RetryAfter time.Duration
	Hint       string // what to do, where that is known

	class resilience.Class // overrides that of the status, if not Unknown
	err   error
}

// Error names the operation, the status, Microsoft's code and message.
func (e *APIError) Error() string {
	s := fmt.Sprintf("azure %s: HTTP %d", e.Operation, e.Status)
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Unwrap gives the cause, if the answer could not be read.
func (e *APIError) Unwrap() error { return e.err }

// Is matches ErrNotFound and ErrSunset.
func (e *APIError) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound ||
		target == ErrSunset && e.Failure().Class == resilience.Sunset
}

// Failure makes APIError Classified.
func (e *APIError) Failure() resilience.Failure {
	f := resilience.OfStatus(e.Status)
	if e.class != resilience.Unknown {
		f.Class = e.class
	}
	if f.Class == resilience.Rejected {
		f.Sent = resilience.Answered // also a row that was refused within a 200
	}
	f.RequestID, f.RetryAfter = e.RequestID, e.RetryAfter
	return f
}

// newAPIError reads the envelope that Defender, Graph and ARM share; anything
// else, HTML of a gateway included, leaves the status to speak.
func newAPIError(operation string, resp *http.Response, body []byte) *APIError {
	var env struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Target  string `json:"target"`
			Inner   struct {
				RequestID string `json:"request-id"`
			} `json:"innerError"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &env)
	e := &APIError{
		Operation: operation, Status: resp.StatusCode, Code: env.Error.Code, Message: env.Error.Message,
		RequestID: requestID(resp.Header), RetryAfter: retryAfter(resp.Header, time.Now()),
	}
	if e.RequestID == "" {
		e.RequestID = cmp.Or(env.Error.Target, env.Error.Inner.RequestID)
	}
	if e.Status == http.StatusForbidden {
		e.Hint = "the app lacks the permission of this operation, or an administrator has not consented to it"
	}
	if e.Code == codeUnregistered {
		e.Hint = "register the resource provider in the subscription: az provider register --namespace <its name>"
	}
	return e
}

// codeUnregistered is Resource Manager's 409 of a subscription that has never used
// the resource provider. Registering it is left to whoever owns the subscription.
const codeUnregistered = "MissingSubscriptionRegistration"

func requestID(h http.Header) string {
	for _, name := range []string{"x-ms-request-id", "request-id", "x-ms-correlation-request-id"} {
		if id := h.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// retryAfter reads azcore's three headers: retry-after-ms, x-ms-retry-after-ms
// and Retry-After, in azcore's order.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if h.Get("Retry-After-Ms") == "" {
		if ms, err := strconv.ParseFloat(h.Get("X-Ms-Retry-After-Ms"), 64); err == nil {
			return resilience.CapRetryAfter(ms / 1000)
		}
	}
	return resilience.RetryAfter(h, now)
}
