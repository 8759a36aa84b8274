package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/jurymast/jurymast/internal/token"
	"github.com/jurymast/jurymast/resilience"
)

// CredentialFactory makes a new credential. It is called for every token
// request, so that no cached token stands in the way of a fresh one, and no scope
// waits for another. It must use the options it is given: they carry the
// transport, the cloud, and no retries.
//
// The tokens of a managed identity are cached by the process and by the machine
// all the same, until shortly before they expire: an outage of the machine's token
// service that begins then is felt when they do.
//
//	azure.Config{Credential: func(o azcore.ClientOptions) (azcore.TokenCredential, error) {
//		return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o})
//	}}
type CredentialFactory func(azcore.ClientOptions) (azcore.TokenCredential, error)

// ClientSecretCredential signs in with a client secret.
func ClientSecretCredential(tenantID, clientID string, clientSecret Secret) CredentialFactory {
	return func(o azcore.ClientOptions) (azcore.TokenCredential, error) {
		// Instance discovery asks a global endpoint before the first token: one
		// more thing that can be down. The authority is configured, not guessed.
		return azidentity.NewClientSecretCredential(tenantID, clientID, string(clientSecret),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: true})
	}
}

// DefaultCredential signs in with azidentity.DefaultAzureCredential. Where no
// managed identity answers it costs a second for each token; name the credential
// you use where you can.
func DefaultCredential(tenantID string) CredentialFactory {
	return func(o azcore.ClientOptions) (azcore.TokenCredential, error) {
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
			ClientOptions: o, TenantID: tenantID, DisableInstanceDiscovery: true,
		})
	}
}

// Plain uses a credential that already exists. Its own cache then decides when
// tokens are renewed, and its own retries count against AuthPolicy. After a 401 it
// is asked for a new token as after a challenge, which azidentity's caches heed.
func Plain(cred azcore.TokenCredential) CredentialFactory {
	return func(azcore.ClientOptions) (azcore.TokenCredential, error) { return cred, nil }
}

// tokens holds one source for each scope, so that a scope that hangs does not
// hold up the others (hazard T3).
type tokens struct {
	policy  *resilience.Policy
	factory CredentialFactory
	options azcore.ClientOptions
	first   string // the scope that is warm before its first use

	mu      sync.Mutex
	closed  bool
	sources map[audience]*token.Source
	runs    map[int]func(*token.Source) // start one under a Run
	ran     int
}

// audience is what a token is for.
type audience struct {
	scope  string
	tenant string // "" is the credential's own
}

func (t *tokens) source(a audience) (*token.Source, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	s, ok := t.sources[a]
	if !ok {
		s = token.New(t.policy, func(ctx context.Context) (token.Token, error) {
			claims, refused := s.Asked()
			return t.fetch(ctx, a, claims, refused)
		})
		s.Lazy = a != audience{scope: t.first}
		t.sources[a] = s
		for _, start := range t.runs {
			start(s)
		}
	}
	return s, nil
}

// run keeps all sources warm, also those that come later.
func (t *tokens) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	ended := make(chan error, 1)
	start := func(s *token.Source) {
		group.Go(func() {
			select {
			case ended <- s.Run(ctx):
			default:
			}
		})
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return ErrClosed
	}
	t.ran++
	id := t.ran
	t.runs[id] = start
	for _, s := range t.sources {
		start(s)
	}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.runs, id)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fresh are the claims of a token issued lately: what an API asks for after a
// revocation, and the one way past the caches of azidentity. The margin is for
// the clocks.
func fresh() string {
	return fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, time.Now().Add(-5*time.Minute).Unix())
}

// fetch asks a new credential for a token with claims, and for another one than
// refused.
func (t *tokens) fetch(ctx context.Context, a audience, claims, refused string) (token.Token, error) {
	cred, err := t.factory(t.options)
	if err != nil {
		return token.Token{}, &TokenError{Scope: a.scope, Hint: "check Config.Credential", err: err, status: http.StatusUnauthorized}
	}
	ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
	ctx = context.WithValue(ctx, notesKey{}, nil) // those of one caller: this is for all
	options := policy.TokenRequestOptions{Scopes: []string{a.scope}, TenantID: a.tenant, Claims: claims, EnableCAE: true}
	at, err := cred.GetToken(ctx, options)
	if err == nil && at.Token == refused {
		options.Claims = fresh()
		at, err = cred.GetToken(ctx, options)
	}
	if err != nil {
		return token.Token{}, newTokenError(a.scope, err)
	}
	return token.Token{Value: at.Token, Expires: at.ExpiresOn}, nil
}

// heard notes what an API answered to the token of an official client's request,
// and reports whether a new one is worth a try.
func (t *tokens) heard(req *http.Request, resp *http.Response) bool {
	value, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sources {
		if !s.Has(value) { // another scope's, or not one of ours
			continue
		}
		if resp.StatusCode != http.StatusUnauthorized {
			s.Accepted(value)
		} else if claims := challenge(resp.Header); claims != "" {
			return s.Demand(value, claims)
		} else {
			return s.Rejected(value)
		}
	}
	return false
}

func (t *tokens) close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	sources := make([]*token.Source, 0, len(t.sources))
	for _, s := range t.sources {
		sources = append(sources, s)
	}
	t.mu.Unlock()
	var errs []error
	for _, s := range sources {
		errs = append(errs, s.Close(ctx))
	}
	return errors.Join(errs...)
}

// TokenError is Entra ID's refusal, or its silence. Find it with errors.As.
type TokenError struct {
	Scope      string
	StatusCode int    // 0 if Entra did not answer
	Code       string // AADSTS7000215, "" if there is none
	RetryAfter time.Duration
	Hint       string // what to do, where that is known

	status int // by which to judge
	err    error
}

// Error names the scope, the code and what to do. Entra's own text is left out:
// it is long and repeats the request.
func (e *TokenError) Error() string {
	s := "Entra ID token for " + e.Scope
	if e.StatusCode != 0 {
		s += fmt.Sprintf(": HTTP %d", e.StatusCode)
	}
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Hint != "" {
		s += ": " + e.Hint
	} else if e.StatusCode == 0 {
		s += ": " + e.err.Error()
	}
	return s
}

// Unwrap gives azidentity's error.
func (e *TokenError) Unwrap() error { return e.err }

// Failure makes TokenError Classified: a 400 or 401 of Entra is about the
// credential, whatever its number.
func (e *TokenError) Failure() resilience.Failure {
	f := resilience.Failure{RetryAfter: e.RetryAfter}
	if e.status != 0 {
		f = resilience.OfStatus(e.status)
		f.RetryAfter = e.RetryAfter
		if f.Class == resilience.Rejected || f.Class == resilience.Denied {
			f.Class = resilience.Credential
		}
	}
	return f
}

var aadsts = regexp.MustCompile(`AADSTS\d+`)

// hints are for the codes that setups run into.
var hints = map[string]string{
	"AADSTS7000215": "the client secret is wrong: check Config.ClientSecret (its value, not its id)",
	"AADSTS7000222": "the client secret has expired: make a new one",
	"AADSTS700016":  "the app is not in this tenant: check Config.ClientID and Config.TenantID",
	"AADSTS90002":   "there is no such tenant: check Config.TenantID and Config.Cloud",
	"AADSTS700024":  "the assertion is outside its time: check this machine's clock",
	"AADSTS70011":   "the scope is not valid in this cloud: check Config.Cloud",
}

// newTokenError keeps what azidentity hides: its error has no chain (T6) and is
// no azcore.ResponseError (T7).
func newTokenError(scope string, err error) error {
	e := &TokenError{Scope: scope, err: err, Code: aadsts.FindString(err.Error())}
	e.Hint = hints[e.Code]
	failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err)
	if ok && failed.RawResponse != nil {
		e.StatusCode = failed.RawResponse.StatusCode
		e.status = e.StatusCode
		e.RetryAfter = retryAfter(failed.RawResponse.Header, time.Now())
	}
	return e
}
