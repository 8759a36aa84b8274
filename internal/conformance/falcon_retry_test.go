package conformance

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"
	"github.com/crowdstrike/gofalcon/falcon/client/ioc"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/resilience/fault"
)

// falconRetry is what retries and rate limits do. gofalcon retries only with a
// RetryConfig, so that is how it runs here.
var falconRetry = []row[*falconEnv]{
	{
		name: "B1 an effect whose answer was lost is sent again",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: iocPath})
		},
		sdk: func(e *falconEnv) error {
			return sendsEffectOnce(e, createIOC(e.sdk(retrying(3)).Ioc))
		},
		jurymast: func(e *falconEnv) error {
			return sendsEffectOnce(e, createIOC(ioc.New(e.jurymast().Transport(), nil)))
		},
	},
	{
		name:     "B1 an effect that was answered 503 is sent again",
		provoke:  func(e *falconEnv) { e.srv.Faults().Add(fails(iocPath, 503, 0, ``)) },
		sdk:      func(e *falconEnv) error { return sendsEffectOnce(e, createIOC(e.sdk(retrying(3)).Ioc)) },
		jurymast: func(e *falconEnv) error { return sendsEffectOnce(e, createIOC(ioc.New(e.jurymast().Transport(), nil))) },
	},
	{
		name: "B1 a containment whose answer was lost is reported as failed",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: actionsPath, Count: 1})
		},
		sdk:      func(e *falconEnv) error { return reportsContainment(e, e.sdkContain(retrying(3))) },
		jurymast: func(e *falconEnv) error { return reportsContainment(e, e.contain()) },
	},
	{
		name: "B2 after the last retry the status, the messages and the trace id are gone",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails("/devices", 500, 0,
				`{"meta":{"trace_id":"trace-9"},"errors":[{"code":500,"message":"upstream sad"}]}`, "X-Cs-Traceid", "trace-9"))
		},
		sdk:      func(e *falconEnv) error { return explains(e, e.sdkGet(retrying(2)), "500", "upstream sad", "trace-9") },
		jurymast: func(e *falconEnv) error { return explains(e, e.get(), "500", "upstream sad", "trace-9") },
	},
	{
		name:     "B3 one X-RateLimit-RetryAfter far ahead takes the client out until then",
		provoke:  func(e *falconEnv) { e.throttle(time.Now().Add(24 * time.Hour).Unix()) },
		sdk:      func(e *falconEnv) error { return recoversIn(e, time.Minute, e.sdkGet(retrying(2))) },
		jurymast: func(e *falconEnv) error { return recoversIn(e, time.Minute, e.get()) },
	},
	{
		name:     "B4 an X-RateLimit-RetryAfter in milliseconds, as documented, takes the client out for ever",
		provoke:  func(e *falconEnv) { e.throttle(time.Now().Add(2 * time.Second).UnixMilli()) },
		sdk:      func(e *falconEnv) error { return recoversIn(e, 24*time.Hour, e.sdkGet(retrying(2))) },
		jurymast: func(e *falconEnv) error { return recoversIn(e, 24*time.Hour, e.get()) },
	},
	{
		name: "B5 a low X-Ratelimit-Remaining slows every later call, with no expiry",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails("/devices", 200, 1, hostAnswer, "X-Ratelimit-Remaining", "3"))
			e.srv.Faults().Add(fails("/devices", 200, 0, hostAnswer))
		},
		sdk:      func(e *falconEnv) error { return forgetsScarcity(e, e.sdkGet()) },
		jurymast: func(e *falconEnv) error { return forgetsScarcity(e, e.get()) },
	},
	{
		name: "B6 an attempt that hangs uses up all attempts",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: "/devices", Count: 1})
		},
		sdk:      func(e *falconEnv) error { return survivesOneHang(e, e.sdkGet(retrying(5))) },
		jurymast: func(e *falconEnv) error { return survivesOneHang(e, e.get()) },
	},
	{
		name:    "B7 what the README says stops the retries does not",
		provoke: func(e *falconEnv) { e.srv.Faults().Add(fails("/devices", 503, 0, ``)) },
		sdk: func(e *falconEnv) error {
			ctx, cancel := context.WithCancel(e.building)
			e.building = ctx
			return stopsRetrying(e, e.sdkGet(retrying(0)), e.Context(), cancel)
		},
		jurymast: func(e *falconEnv) error { // the documented way is the call's own context
			ctx, cancel := context.WithCancel(e.Context())
			return stopsRetrying(e, e.get(), ctx, cancel)
		},
	},
	{
		name:     "B8 a certificate that is not trusted is tried again",
		provoke:  func(e *falconEnv) { e.outside.cloud = distrusting(e.srv.Client(), &e.dials) },
		sdk:      func(e *falconEnv) error { return shakesHandsOnce(e, e.sdkGet(retrying(4))) },
		jurymast: func(e *falconEnv) error { return shakesHandsOnce(e, e.get()) },
	},
	{
		name: "B9 Retry-After is ignored",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fails("/devices", 429, 1, ``, "Retry-After", "10"))
		},
		sdk:      func(e *falconEnv) error { return waitsAsTold(e, e.sdkGet(retrying(3)), 10*time.Second) },
		jurymast: func(e *falconEnv) error { return waitsAsTold(e, e.get(), 10*time.Second) },
	},
	{
		name:     "B9 a 408 is not tried again",
		provoke:  func(e *falconEnv) { e.srv.Faults().Add(fails("/devices", 408, 1, ``)) },
		sdk:      func(e *falconEnv) error { return survives(e, e.sdkGet(retrying(3))) },
		jurymast: func(e *falconEnv) error { return survives(e, e.get()) },
	},
	{
		name:    "B10 a transport that sends a request again multiplies its headers",
		provoke: func(e *falconEnv) { e.srv.Faults().Add(fails("/devices", 503, 2, ``)) },
		sdk: func(e *falconEnv) error {
			return keepsHeaders(e, e.sdkGet(func(c *gofalcon.ApiConfig) {
				c.TransportDecorator = func(rt http.RoundTripper) http.RoundTripper { return &again{rt} }
			}))
		},
		jurymast: func(e *falconEnv) error {
			return keepsHeaders(e, e.get(func(c *falcon.Config) {
				c.HTTPClient = &http.Client{Transport: &again{e.http.Transport}}
			}))
		},
	},
}

const (
	iocPath    = "/iocs/entities/indicators/v1"
	hostAnswer = `{"meta":{"query_time":0,"trace_id":"t"},"errors":[],"resources":[{"device_id":"` + firstHost + `","cid":"c","hostname":"ws-000"}]}`
)

// throttle answers the next API call 429 until the epoch given.
func (e *falconEnv) throttle(epoch int64) {
	e.srv.Faults().Add(fails("/devices", 429, 1, ``, "X-Ratelimit-Retryafter", fmt.Sprint(epoch)))
}

func createIOC(service ioc.ClientService) call {
	return func(ctx context.Context) error {
		p := ioc.NewIndicatorCreateV1ParamsWithContext(ctx)
		p.Body = &models.APIIndicatorCreateReqsV1{}
		_, err := service.IndicatorCreateV1(p)
		return err
	}
}

// sendsEffectOnce counts what reached the cloud. It has no indicators and
// answers 404, which does not matter here.
func sendsEffectOnce(e *falconEnv, c call) error {
	e.strike()
	_, _ = c.within(e.Context(), time.Minute)
	if n := e.requests(iocPath); n != 1 {
		return wrong("one call to create an indicator sent it %d times", n)
	}
	return nil
}

// reportsContainment asks for the truth about a host that was contained.
func reportsContainment(e *falconEnv, c call) error {
	e.strike()
	_, err := c.within(e.Context(), time.Minute)
	if n := len(e.srv.Effects()); n != 1 {
		return fmt.Errorf("%d effects, not 1", n)
	}
	if err != nil {
		return wrong("the host was contained by a call that failed with %s", statusIn(err))
	}
	return nil
}

// statusIn is the status in the text of one of gofalcon's typed errors.
func statusIn(err error) string {
	_, rest, _ := strings.Cut(err.Error(), "][")
	status, _, _ := strings.Cut(rest, "]")
	return "HTTP " + status
}

// explains asks that an error, or gofalcon's ErrorExplain, tells all of words. A
// call that worked has nothing to explain.
func explains(e *falconEnv, c call, words ...string) error {
	e.strike()
	_, err := c.within(e.Context(), time.Minute)
	if err == nil {
		return nil
	}
	text := gofalcon.ErrorExplain(err)
	if missing := slices.DeleteFunc(words, func(w string) bool { return strings.Contains(text, w) }); len(missing) > 0 {
		return wrong("the error does not tell %s: %s", strings.Join(missing, ", "), cause(err))
	}
	return nil
}

// recoversIn asks that one throttled call is forgotten after a while.
func recoversIn(e *falconEnv, while time.Duration, c call) error {
	e.strike()
	_, _ = c.within(e.Context(), 10*time.Second)
	time.Sleep(while)
	before := len(e.srv.Requests())
	if _, err := c.within(e.Context(), 10*time.Second); err != nil {
		return wrong("after %v a call to a healthy cloud failed, having sent %d requests", while, len(e.srv.Requests())-before)
	}
	return nil
}

// forgetsScarcity asks that a call is not slowed by what was said an hour ago.
func forgetsScarcity(e *falconEnv, c call) error {
	e.strike()
	e.works(c)
	time.Sleep(20 * time.Minute) // the token is still good
	took, err := c.within(e.Context(), 10*time.Second)
	if err != nil {
		return err
	}
	if took > 0 {
		return wrong("a call waited %v because of a header of 20 minutes ago", took)
	}
	return nil
}

// survivesOneHang asks that the second attempt gets a share of the deadline.
func survivesOneHang(e *falconEnv, c call) error {
	e.strike()
	if _, err := c.within(e.Context(), 25*time.Second); err != nil {
		n := len(e.srv.Requests()) - e.requests(tokenPath)
		return wrong("of 5 attempts %d was made in 25s: %v", n, cause(err))
	}
	return nil
}

// stopsRetrying cancels half a second into the call, and asks for its end.
func stopsRetrying(e *falconEnv, c call, ctx context.Context, cancel func()) error {
	e.works(c)
	e.strike()
	done := c.background(ctx)
	time.Sleep(500 * time.Millisecond)
	cancel()
	select {
	case <-done:
		return nil
	case <-time.After(time.Minute):
		return wrong("the call went on for more than a minute after the cancellation")
	}
}

// shakesHandsOnce asks it of a client that has no token yet either.
func shakesHandsOnce(e *falconEnv, c call) error {
	e.strike()
	_, err := c.within(e.Context(), time.Minute)
	return onlyHandshake(e.dials.Load(), err)
}

// waitsAsTold asks that nothing is sent before the time the server asked for.
func waitsAsTold(e *falconEnv, c call, told time.Duration) error {
	e.strike()
	if _, err := c.within(e.Context(), time.Minute); err != nil {
		return err
	}
	var throttled time.Time
	for _, r := range e.srv.Requests() {
		switch {
		case r.Path == tokenPath:
		case r.Status == http.StatusTooManyRequests:
			throttled = r.Time
		case !throttled.IsZero() && r.Time.Sub(throttled) < told:
			return wrong("told to wait %v, the client sent the next request sooner", told)
		}
	}
	return nil
}

// survives asks for an answer in spite of one bad one.
func survives(e *falconEnv, c call) error {
	e.strike()
	if _, err := c.within(e.Context(), 10*time.Second); err != nil {
		return wrong("one bad answer failed the call: %v", cause(err))
	}
	return nil
}

// again is a plain retrying transport: it sends the same request up to three
// times.
type again struct{ http.RoundTripper }

func (a *again) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	for range 3 {
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		if resp, err = a.RoundTripper.RoundTrip(req); err != nil || resp.StatusCode < 500 {
			return resp, err
		}
		_ = resp.Body.Close()
	}
	return resp, err
}

func keepsHeaders(e *falconEnv, c call) error {
	e.strike()
	e.works(c)
	requests := e.srv.Requests()
	for name, values := range requests[len(requests)-1].Header {
		if len(values) > 1 {
			return wrong("the third attempt carried %s %d times", name, len(values))
		}
	}
	return nil
}
