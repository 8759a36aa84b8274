package conformance

import (
	"context"
	"time"

	gofalcon "github.com/crowdstrike/gofalcon/falcon"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/resilience/fault"
)

// falconAuth is what goes wrong between a client and the token endpoint.
var falconAuth = []row[*falconEnv]{
	{
		name: "A1 the token fetch ignores the call's deadline and the client's timeout",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.Latency, Path: tokenPath, Delay: 6 * time.Second})
		},
		sdk: func(e *falconEnv) error {
			timeout := 2 * time.Second
			return keepsDeadline(e, e.sdkGet(func(c *gofalcon.ApiConfig) { c.HttpTimeOutOverride = &timeout }))
		},
		jurymast: func(e *falconEnv) error { return keepsDeadline(e, e.get()) },
	},
	{
		name: "A2 one hung token fetch holds up every call beyond its deadline",
		provoke: func(e *falconEnv) {
			e.srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: tokenPath})
		},
		sdk:      func(e *falconEnv) error { return keepsDeadlines(e, e.sdkGet()) },
		jurymast: func(e *falconEnv) error { return keepsDeadlines(e, e.get()) },
		wall:     "callers wait for the mutex of oauth2.ReuseTokenSource: a bubble's clock stands still meanwhile",
	},
	{
		name: "A3 a context that bounded the client's construction ends its token refreshes",
		provoke: func(e *falconEnv) {
			ctx, cancel := context.WithTimeout(e.building, 10*time.Second)
			e.Cleanup(cancel)
			e.building = ctx
		},
		sdk: func(e *falconEnv) error {
			e.strike()
			return outlivesItsToken(e, e.sdkGet())
		},
		jurymast: func(e *falconEnv) error {
			e.strike()
			get := e.get()
			if err := get(e.building); err != nil { // New takes no context; the first call does
				return err
			}
			return outlivesItsToken(e, get)
		},
	},
	{
		name:     "A4 a revoked token is used until its own expiry",
		provoke:  func(e *falconEnv) { e.srv.RevokeTokens() },
		sdk:      func(e *falconEnv) error { return replacesToken(e, e.sdkGet(retrying(3))) },
		jurymast: func(e *falconEnv) error { return replacesToken(e, e.get()) },
	},
	{
		name:     "A5 a failed token request is sent twice, and again for each call",
		provoke:  func(e *falconEnv) { e.srv.Faults().Add(fails(tokenPath, 429, 0, ``)) },
		sdk:      func(e *falconEnv) error { return sparesTokenEndpoint(e, e.sdkGet()) },
		jurymast: func(e *falconEnv) error { return sparesTokenEndpoint(e, e.get()) },
	},
	{
		name:    "A6 wrong credentials are tried again",
		provoke: func(e *falconEnv) { e.secret = "wrong" },
		sdk: func(e *falconEnv) error {
			e.strike()
			return asksOnce(e, e.sdkGet(retrying(4)))
		},
		jurymast: func(e *falconEnv) error {
			e.strike()
			return asksOnce(e, e.get())
		},
	},
}

// keepsDeadline asks for a return within the deadline, whatever the answer.
func keepsDeadline(e *falconEnv, c call) error {
	e.strike()
	const deadline = time.Second
	if took, _ := c.within(e.Context(), deadline); took > deadline {
		return wrong("with a deadline of %v the call took %v", deadline, took.Round(time.Second))
	}
	return nil
}

// keepsDeadlines asks the same of many calls at once. The calls that are late
// are left to end with the cloud.
func keepsDeadlines(e *falconEnv, c call) error {
	e.strike()
	const calls, deadline, patience = 20, 100 * time.Millisecond, time.Second
	returned := make(chan struct{}, calls)
	for range calls {
		go func() {
			_, _ = c.within(e.Context(), deadline)
			returned <- struct{}{}
		}()
	}
	late := time.After(deadline + patience)
	for i := range calls {
		select {
		case <-returned:
		case <-late:
			return wrong("%d of %d calls were still blocked %v after their deadlines", calls-i, calls, patience)
		}
	}
	return nil
}

// outlivesItsToken asks for a new token when the first has expired.
func outlivesItsToken(e *falconEnv, c call) error {
	e.works(c)
	time.Sleep(31 * time.Minute)
	if _, err := c.within(e.Context(), 10*time.Second); err != nil {
		return wrong("when its first token had expired the client was dead: %v", cause(err))
	}
	return nil
}

// replacesToken asks for a new token when the old one is refused.
func replacesToken(e *falconEnv, c call) error {
	e.works(c)
	e.strike()
	const calls = 25
	refused := 0
	for range calls {
		time.Sleep(time.Minute)
		if _, err := c.within(e.Context(), 10*time.Second); err != nil {
			refused++
		}
	}
	if refused > 0 {
		return wrong("%d of %d calls, one a minute, got 401; token requests meanwhile: %d", refused, calls, e.requests(tokenPath)-1)
	}
	return nil
}

// sparesTokenEndpoint asks that an ailing endpoint is not asked more often than
// there are calls.
func sparesTokenEndpoint(e *falconEnv, c call) error {
	e.strike()
	const calls = 10
	for range calls {
		_, _ = c.within(e.Context(), 10*time.Second)
	}
	if n := e.requests(tokenPath); n > calls {
		return wrong("%d calls made %d requests to a token endpoint that answered 429", calls, n)
	}
	return nil
}

// asksOnce asks that a refusal of the credentials is final.
func asksOnce(e *falconEnv, c call) error {
	_, _ = c.within(e.Context(), time.Minute)
	if n := e.requests(tokenPath); n != 1 {
		return wrong("one call sent the credentials %d times", n)
	}
	return nil
}

// unpinned leaves the region to be learned.
func unpinned(c *falcon.Config) { c.Cloud = "" }
