package resilience

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// RoundTrip sends an HTTP request under the policy: send is called once for each
// attempt, counted from 0, with a context to send with. An answer of 400 or more
// is a failed attempt, judged by OfStatus and by retryAfter (nil: the standard
// header). The last answer is returned as it is, whatever its status; the error
// is an [*Error] if there was none to the last attempt.
//
// The attempt timeout ends when the headers are here; the body may take as long
// as ctx allows, and must be closed.
func RoundTrip(
	ctx context.Context, p *Policy, call Call,
	retryAfter func(http.Header, time.Time) time.Duration,
	send func(ctx context.Context, attempt int) (*http.Response, error),
) (*http.Response, error) {
	if err := misused(p, call, send == nil); err != nil {
		return nil, err
	}
	if retryAfter == nil {
		retryAfter = RetryAfter
	}
	var last *http.Response // a failed answer, kept in case it stays the last
	var giveUp func()       // ends its context
	attempt := 0
	r := newRun(p, call)
	r.keep = true
	resp, err := do(ctx, r, func(ctx context.Context) (*http.Response, error) {
		drain(last, giveUp)
		last = nil
		resp, err := send(ctx, attempt)
		attempt++
		if err != nil {
			return nil, err
		}
		end := evidenceOf(ctx).keep()
		endWithBody(resp, end)
		if resp.StatusCode < 400 {
			return resp, nil
		}
		last, giveUp = resp, end
		f := OfStatus(resp.StatusCode)
		f.RetryAfter = retryAfter(resp.Header, time.Now())
		return nil, &statusError{f}
	})
	if failed, ok := err.(*Error); ok && last != nil {
		if failed.Attempts[len(failed.Attempts)-1].Status != 0 {
			return last, nil
		}
		drain(last, giveUp) // the last thing that happened was no answer
	}
	return resp, err
}

// drain reads and closes an answer that will not be returned, so that its
// connection is used again: not a long one, nor for long.
func drain(resp *http.Response, giveUp func()) {
	if resp == nil {
		return
	}
	late := time.AfterFunc(drainTime, giveUp)
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, drainBytes+1) // one more, to see the end
	_ = resp.Body.Close()
}

const (
	drainBytes = 64 << 10
	drainTime  = 500 * time.Millisecond
)

// statusError is an answer that counts as a failure.
type statusError struct{ failure Failure }

func (e *statusError) Error() string    { return fmt.Sprintf("HTTP %d", e.failure.Status) }
func (e *statusError) Failure() Failure { return e.failure }

// endWithBody calls end when the answer's body is closed.
func endWithBody(resp *http.Response, end func()) {
	if b, ok := resp.Body.(*boundedBody); ok {
		b.end = end // a Wire's: it has room
		return
	}
	resp.Body = &endingBody{ReadCloser: resp.Body, end: end}
}

// endingBody frees the attempt's context when the caller is done with the body.
type endingBody struct {
	io.ReadCloser
	end func()
}

// Close closes the body and ends its context.
func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
