package conformance

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/resilience/fault"
)

// azureRetry is what azcore's retry policy does.
var azureRetry = []row[*azureEnv]{
	{
		name: "a POST whose answer was lost is sent again",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: isolatePath, Count: 1})
		},
		sdk:      func(e *azureEnv) error { return isolatesOnce(e, e.sdkIsolate()) },
		jurymast: func(e *azureEnv) error { return isolatesOnce(e, e.isolate()) },
	},
	{
		name:     "a POST that was answered 503 is sent again",
		provoke:  func(e *azureEnv) { e.srv.Faults().Add(fails(isolatePath, 503, 0, ``)) },
		sdk:      func(e *azureEnv) error { return isolatesOnce(e, e.sdkIsolate()) },
		jurymast: func(e *azureEnv) error { return isolatesOnce(e, e.isolate()) },
	},
	{
		name: "retry options in the context bring back retries that were switched off",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fails(isolatePath, 503, 0, ``))
			e.ctx = policy.WithRetryOptions(e.ctx, policy.RetryOptions{RetryDelay: time.Millisecond})
		},
		sdk: func(e *azureEnv) error {
			return isolatesOnce(e, e.sdkIsolate(func(o *policy.ClientOptions) { o.Retry.MaxRetries = -1 }))
		},
		jurymast: func(e *azureEnv) error { return isolatesOnce(e, e.isolate()) },
	},
	{
		name: "an empty list of statuses to retry leaves lost answers to be sent again",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: isolatePath, Count: 1})
		},
		sdk: func(e *azureEnv) error {
			return isolatesOnce(e, e.sdkIsolate(func(o *policy.ClientOptions) { o.Retry.StatusCodes = []int{} }))
		},
		jurymast: func(e *azureEnv) error { return isolatesOnce(e, e.isolate()) },
	},
	{
		name:     "a name that does not exist is looked up for ten seconds",
		provoke:  func(e *azureEnv) { e.outside.cloud = unnamed{e.outside.cloud} },
		sdk:      func(e *azureEnv) error { return hearsSoon(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return hearsSoon(e, e.get()) },
	},
	{
		name:     "a certificate that is not trusted is tried again",
		provoke:  func(e *azureEnv) { e.outside.cloud = distrusting(e.srv.Client(), &e.dials) },
		sdk:      func(e *azureEnv) error { return handshakesOnce(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return handshakesOnce(e, e.get()) },
	},
	{
		name:     "a Retry-After beyond the deadline is slept out, and the 429 is lost",
		provoke:  func(e *azureEnv) { e.srv.Faults().Add(fails(machinePath, 429, 0, ``, "Retry-After", "30")) },
		sdk:      func(e *azureEnv) error { return showsThrottling(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return showsThrottling(e, e.get()) },
	},
	{
		name: "callers throttled together come back in the same instant",
		provoke: func(e *azureEnv) {
			e.srv.Faults().Add(fails(machinePath, 429, throttledCalls, ``, "Retry-After", "5"))
		},
		sdk:      func(e *azureEnv) error { return spreads(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return spreads(e, e.get()) },
	},
	{
		name:     "an API that hangs is waited for without end",
		provoke:  func(e *azureEnv) { e.srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: machinePath}) },
		sdk:      func(e *azureEnv) error { return givesUp(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return givesUp(e, e.get()) },
	},
}

// hearsSoon asks that a call which cannot succeed says so while something else can be
// done.
func hearsSoon(e *azureEnv, c call) error {
	e.strike()
	if took, err := c.within(e.ctx, time.Minute); err != nil && took > 5*time.Second {
		return wrong("the caller had not heard of it after 5s") // how long it is depends on chance
	}
	return nil
}

// unnamed lets the names of all APIs not exist; that of the token service does.
type unnamed struct{ http.RoundTripper }

func (u unnamed) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == loginHost {
		return u.RoundTripper.RoundTrip(r)
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}}
}

// isolatesOnce counts what reached the cloud: an isolation sent twice can leave
// a machine isolated for good.
func isolatesOnce(e *azureEnv, c call) error {
	e.strike()
	_, err := c.within(e.ctx, time.Minute)
	n := e.requests(isolatePath)
	switch done := len(e.srv.Actions()); {
	case n > 1 && done == 1 && err != nil:
		return wrong("the isolation was sent %d times; the first was carried out, and the call failed with %s", n, code(err))
	case n > 1:
		return wrong("the isolation was sent %d times", n)
	case n == 0:
		return fmt.Errorf("the isolation was not sent: %w", err)
	}
	return nil
}

// code is Microsoft's, of a failed call.
func code(err error) string {
	if r, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Sprintf("%d %s", r.StatusCode, r.ErrorCode)
	}
	return cause(err)
}

// handshakesOnce asks it of a call that has its token already.
func handshakesOnce(e *azureEnv, c call) error {
	e.works(c)
	e.strike()
	_, err := c.within(e.ctx, time.Minute)
	return onlyHandshake(e.dials.Load(), err)
}

// showsThrottling asks for the 429, at a time when something else can be done.
func showsThrottling(e *azureEnv, c call) error {
	e.works(c)
	e.strike()
	const deadline = 10 * time.Second
	took, err := c.within(e.ctx, deadline)
	if err == nil {
		return nil
	}
	status := 0
	if r, ok := errors.AsType[*azcore.ResponseError](err); ok {
		status = r.StatusCode
	} else if a, ok := errors.AsType[*azure.APIError](err); ok {
		status = a.Status
	}
	if status != http.StatusTooManyRequests || took >= deadline {
		return wrong("told to wait 30s, a call with a deadline of %v returned after %v: %v", deadline, took, cause(err))
	}
	return nil
}

const throttledCalls = 8

// spreads asks that calls throttled at once are not sent again at once.
func spreads(e *azureEnv, c call) error {
	e.works(c)
	e.srv.ResetRequests()
	e.strike()
	ended := make(chan error, throttledCalls)
	for range throttledCalls {
		go func() { ended <- c(e.ctx) }()
	}
	for range throttledCalls {
		if err := <-ended; err != nil {
			return err
		}
	}
	again, instants := 0, map[time.Time]bool{}
	for _, r := range e.srv.Requests()[throttledCalls:] {
		again++
		instants[r.Time] = true
	}
	if again > 1 && len(instants) == 1 {
		return wrong("%d calls throttled together were all sent again in the same instant", again)
	}
	return nil
}

// givesUp asks for an end within the hour, of a call without a deadline.
func givesUp(e *azureEnv, c call) error {
	e.works(c)
	e.strike()
	select {
	case <-c.background(e.ctx):
		return nil
	case <-time.After(time.Hour):
		return wrong("the call had not returned after an hour")
	}
}
