package resilience

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Failure is what an attempt's error means.
type Failure struct {
	Class      Class
	Sent       Sent
	Status     int           // HTTP status, 0 if none
	RequestID  string        // the vendor's id of the request, for its support
	RetryAfter time.Duration // how long the server asked us to wait, 0 if it did not
}

// Classified is implemented by errors that know their class, so that a vendor's
// failure is judged once, where its answer was decoded.
type Classified interface {
	error
	Failure() Failure
}

// Of returns what err means. A nil error is not a failure and gives the zero Failure.
func Of(err error) Failure {
	if err == nil {
		return Failure{}
	}
	if c, ok := errors.AsType[Classified](err); ok {
		return c.Failure()
	}
	return Failure{Class: classOf(err)}
}

// OfStatus returns what an HTTP status means. A 4xx answers that nothing was
// done; a 5xx does not prove it.
func OfStatus(status int) Failure {
	f := Failure{Status: status, Sent: Answered}
	switch {
	case status == http.StatusRequestTimeout || status >= 500:
		f.Class, f.Sent = Unavailable, MaybeSent
		if status == http.StatusNotImplemented {
			f.Class, f.Sent = Sunset, Answered
		}
	case status == http.StatusTooManyRequests:
		f.Class = Throttled
	case status == http.StatusUnauthorized:
		f.Class = Credential
	case status == http.StatusForbidden:
		f.Class = Denied
	case status == http.StatusNotFound:
		f.Class = NotFound
	case status == http.StatusConflict, status == http.StatusPreconditionFailed:
		f.Class = Conflict
	case status == http.StatusMethodNotAllowed, status == http.StatusGone:
		f.Class = Sunset
	case status >= 300:
		f.Class = Rejected
	default: // a 2xx that somebody calls a failure
		f.Class, f.Sent = Malformed, MaybeSent
	}
	return f
}

func classOf(err error) Class {
	if errors.Is(err, errAttemptTimeout) || errors.Is(err, errTotal) || errors.Is(err, ErrShare) {
		return Timeout
	}
	if untrusted(err) {
		return Untrusted
	}
	if errors.Is(err, ErrTooLarge) {
		return Malformed
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && !op.Timeout() {
		return Refused
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return Refused
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Timeout
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return Timeout
	}
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, net.ErrClosed, io.ErrClosedPipe} {
		if errors.Is(err, broken) {
			return Broken
		}
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return Broken
	}
	return Unknown
}

func untrusted(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok
}
