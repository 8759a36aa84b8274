package conformance

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/jurymast/jurymast/azure"
)

// azureToken is what a sick token service does to azcore and azidentity.
var azureToken = []row[*azureEnv]{
	{
		name:     "T1 callers that wait for another's token fetch ignore their deadlines",
		provoke:  (*azureEnv).entraHangs,
		sdk:      func(e *azureEnv) error { return waiterKeepsDeadline(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return waiterKeepsDeadline(e, e.get()) },
	},
	{
		name:     "T2 a failed token fetch is replayed by each waiting caller, one after the other",
		provoke:  func(e *azureEnv) { e.srv.Faults().Add(fails(tokenURLPath, 503, 0, ``)) },
		sdk:      func(e *azureEnv) error { return sharesFailure(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return sharesFailure(e, e.get()) },
	},
	{
		name:     "T3 a token fetch for one scope holds up callers who have a token for another",
		provoke:  (*azureEnv).entraHangs,
		sdk:      func(e *azureEnv) error { return keepsScopesApart(e, e.sdkCredential()) },
		jurymast: func(e *azureEnv) error { return keepsScopesApart(e, e.jurymast().Credential()) },
		wall:     "callers wait for a mutex of azidentity's credential: a bubble's clock stands still meanwhile",
	},
	{
		name:     "T4 while the token is still good, refreshing it fails a call",
		provoke:  (*azureEnv).entraHangs,
		sdk:      func(e *azureEnv) error { return usesGoodToken(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return usesGoodToken(e, e.get()) },
	},
	{
		name:    "T5 a panicking credential blocks every later call for ever",
		provoke: func(e *azureEnv) { e.credential = &panicsOnce{next: e.sdkCredential()} },
		sdk: func(e *azureEnv) error {
			e.strike()
			return survivesPanic(e, e.sdkGet())
		},
		jurymast: func(e *azureEnv) error {
			e.strike()
			return survivesPanic(e, e.get())
		},
		wall: "the blocked goroutine never ends, which a bubble does not allow",
	},
	{
		name:     "T6 a credential that ran out of time does not say context.DeadlineExceeded",
		provoke:  (*azureEnv).entraHangs,
		sdk:      func(e *azureEnv) error { return showsDeadline(e, getToken(e.sdkCredential(), scope)) },
		jurymast: func(e *azureEnv) error { return showsDeadline(e, getToken(e.jurymast().Credential(), scope)) },
	},
	{
		name:    "T7 Entra's status and Retry-After are not where those of every other answer are",
		provoke: func(e *azureEnv) { e.srv.Faults().Add(fails(tokenURLPath, 429, 0, ``, "Retry-After", "90")) },
		sdk: func(e *azureEnv) error {
			return showsStatus(e, e.sdkGet(), "azcore.ResponseError", func(err error) (int, time.Duration) {
				if r, ok := errors.AsType[*azcore.ResponseError](err); ok {
					wait, _ := time.ParseDuration(r.RawResponse.Header.Get("Retry-After") + "s")
					return r.StatusCode, wait
				}
				return 0, 0
			})
		},
		jurymast: func(e *azureEnv) error {
			return showsStatus(e, e.get(), "azure.TokenError", func(err error) (int, time.Duration) {
				if t, ok := errors.AsType[*azure.TokenError](err); ok {
					return t.StatusCode, t.RetryAfter
				}
				return 0, 0
			})
		},
	},
	{
		name:     "T8 a token service that is down is asked for ten seconds before the caller hears of it",
		provoke:  func(e *azureEnv) { e.srv.Faults().Add(fails(tokenURLPath, 503, 0, ``)) },
		sdk:      func(e *azureEnv) error { return hearsSoon(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return hearsSoon(e, e.get()) },
	},
	{
		name:     "a 401 is answered with the same token until it expires",
		provoke:  func(e *azureEnv) { e.srv.RevokeTokens() },
		sdk:      func(e *azureEnv) error { return replacesRefusedToken(e, e.sdkGet()) },
		jurymast: func(e *azureEnv) error { return replacesRefusedToken(e, e.get()) },
	},
}

// waiterKeepsDeadline asks it of a caller that came second.
func waiterKeepsDeadline(e *azureEnv, c call) error {
	e.strike()
	go func() { _, _ = c.within(e.ctx, 6*time.Second) }()
	time.Sleep(100 * time.Millisecond)
	const deadline = 500 * time.Millisecond
	if took, _ := c.within(e.ctx, deadline); took > deadline {
		return wrong("with a deadline of %v the call took %v", deadline, took.Round(100*time.Millisecond))
	}
	return nil
}

// sharesFailure asks that many callers wait together, and not in a queue.
func sharesFailure(e *azureEnv, c call) error {
	e.strike()
	const calls = 20
	ended := make(chan error, calls)
	begin := time.Now()
	for range calls {
		go func() { ended <- c(e.ctx) }()
	}
	for range calls {
		<-ended
	}
	if n := e.requests(tokenURLPath); n > calls {
		return wrong("%d calls made %d token requests, one after the other, for more than %v", calls, n, time.Since(begin).Truncate(2*time.Minute))
	}
	return nil
}

// getToken asks the credential alone, as official clients do.
func getToken(cred azcore.TokenCredential, scope string) call {
	return func(ctx context.Context) error {
		_, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, EnableCAE: true})
		return err
	}
}

// keepsScopesApart asks for a token that is in the cache, while another scope's
// is being fetched.
func keepsScopesApart(e *azureEnv, cred azcore.TokenCredential) error {
	cached, hanging := getToken(cred, scope), getToken(cred, graphScope)
	e.works(cached)
	e.strike()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel() // ends the fetch
	before := len(e.srv.Requests())
	hanging.background(ctx)
	for len(e.srv.Requests()) == before {
		time.Sleep(time.Millisecond)
	}
	const deadline, patience = 100 * time.Millisecond, time.Second
	ended := call(func(ctx context.Context) error {
		_, err := cached.within(ctx, deadline)
		return err
	}).background(e.ctx)
	select {
	case <-time.After(deadline + patience):
		return wrong("the call for a cached token was still blocked %v after its deadline", patience)
	case err := <-ended:
		return err
	}
}

// usesGoodToken asks for an answer four minutes before the token expires.
func usesGoodToken(e *azureEnv, c call) error {
	e.works(c)
	time.Sleep(56 * time.Minute)
	e.strike()
	if took, err := c.within(e.ctx, 2*time.Second); err != nil {
		return wrong("with minutes left on its token the call failed after %v: %v", took, cause(err))
	}
	return nil
}

// panicsOnce is a credential with a bug.
type panicsOnce struct {
	next azcore.TokenCredential
	done atomic.Bool
}

func (p *panicsOnce) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if p.done.CompareAndSwap(false, true) {
		panic("a bug in a credential")
	}
	return p.next.GetToken(ctx, o)
}

// survivesPanic asks for a token after the credential has panicked.
func survivesPanic(e *azureEnv, c call) error {
	_ = panicked(func() { _, _ = c.within(e.ctx, 10*time.Second) })
	time.Sleep(2 * time.Second) // Jurymast remembers a failure for one
	const deadline, patience = 500 * time.Millisecond, time.Second
	ended := call(func(ctx context.Context) error {
		_, err := c.within(ctx, deadline)
		return err
	}).background(e.ctx)
	select {
	case <-time.After(deadline + patience):
		return wrong("the next call was still blocked %v after its deadline", patience)
	case err := <-ended:
		return err
	}
}

// showsDeadline asks what errors.Is knows of a deadline that passed.
func showsDeadline(e *azureEnv, c call) error {
	e.strike()
	if _, err := c.within(e.ctx, time.Second); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return wrong("after a deadline of 1s errors.Is(err, context.DeadlineExceeded) is false")
	}
	return nil
}

// showsStatus asks an error for what Entra answered, 429 and 90 seconds.
func showsStatus(e *azureEnv, c call, where string, read func(error) (int, time.Duration)) error {
	e.strike()
	_, err := c.within(e.ctx, time.Minute)
	if err == nil {
		return nil
	}
	if status, wait := read(err); status != 429 || wait != 90*time.Second {
		return wrong("errors.As finds no %s with the status and Retry-After that Entra answered", where)
	}
	return nil
}

// replacesRefusedToken asks for a new token when the old one is refused.
func replacesRefusedToken(e *azureEnv, c call) error {
	e.works(c)
	e.strike()
	const calls = 20
	refused := 0
	for range calls {
		time.Sleep(time.Minute)
		if _, err := c.within(e.ctx, 10*time.Second); err != nil {
			refused++
		}
	}
	if refused > 0 {
		return wrong("%d of %d calls, one a minute, got 401; token requests meanwhile: %d", refused, calls, e.requests(tokenURLPath)-1)
	}
	return nil
}
