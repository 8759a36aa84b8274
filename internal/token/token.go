// Package token keeps one access token fresh, as a failure domain of its own.
//
// When the token service fails: the token at hand is served until it really
// expires; callers who need a new one wait together, each no longer than its
// own context, and share one failure; a refusal of the credentials is not asked
// again for a while. The token policy has its own breaker and deadline, and its
// failures never count against the API they are for.
package token

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/safe"
	"github.com/jurymast/jurymast/resilience"
)

// Token is an access token.
type Token struct {
	Value   string
	Expires time.Time
}

// Error is a failure to get a token: nothing of the call itself was sent.
type Error struct{ Err error }

// Error tells the cause.
func (e *Error) Error() string { return "no access token: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Failure makes it a Credential failure of the call that needed the token. Its
// own class is that of the cause.
func (e *Error) Failure() resilience.Failure {
	cause := resilience.Of(e.Err)
	return resilience.Failure{
		Class: resilience.Credential, Sent: resilience.NotSent,
		RequestID: cause.RequestID, RetryAfter: cause.RetryAfter,
	}
}

// Holds after a failed fetch, during which the failure is served from memory.
const (
	refusedHold   = 30 * time.Second // the service said no: it will say no again
	transientHold = time.Second
	// expiryMargin keeps a token from expiring on its way to the server.
	expiryMargin = 5 * time.Second
)

// Source gives out one token and renews it. It is safe for concurrent use.
type Source struct {
	// Lazy makes Run wait for the first fetch instead of beginning with it.
	Lazy bool
	// Spare, if set before the first call, is how long lies between two uses of a
	// token that the API rejected though it was fresh: some vendors count those, and
	// shut out the address that they come from.
	Spare time.Duration

	policy *resilience.Policy
	fetch  func(context.Context) (Token, error)

	mu        sync.Mutex
	current   Token
	previous  string // the value before it
	fetched   time.Time
	renew     time.Time // when to fetch the next one although this is still good
	accepted  bool      // the API took the current token at least once
	spared    time.Time // when a token that is rejected may be tried again, zero if it is not
	claims    string    // what the API demands of the next token, see Demand
	met       string    // the demand that the current token was fetched for
	refused   string    // the token that the API answered 401 to last
	flight    *flight
	failure   error // the last fetch's, until failedTil
	failedTil time.Time
	closed    bool
	changed   chan struct{} // closed when a flight lands, for Run
	flights   sync.WaitGroup
}

// flight is one fetch that several callers wait for.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	claims  string // what it was started for
	dropped bool   // its token would not do any more: whoever waits for it asks again
	token   Token
	err     error
}

// Policy returns a policy for token requests: quicker than one for an API,
// because a call waits for the token before it can begin.
func Policy(name string, cfg resilience.Config) (*resilience.Policy, error) {
	if cfg.Attempt == 0 && cfg.Total == 0 {
		cfg.Attempt, cfg.Total = 4*time.Second, 8*time.Second
	}
	return resilience.New(name, cfg)
}

// New returns a source that fetches under policy. It does no I/O.
func New(policy *resilience.Policy, fetch func(context.Context) (Token, error)) *Source {
	return &Source{policy: policy, fetch: fetch, changed: make(chan struct{})}
}

// Get returns a token that has not expired. A third into its life it starts to
// fetch the next one beside the caller.
func (s *Source) Get(ctx context.Context) (Token, error) {
	for {
		t, f, err := s.ask(ctx)
		if f == nil {
			return t, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return Token{}, &Error{fmt.Errorf("waiting for it: %w", context.Cause(ctx))}
		}
		switch {
		case f.dropped:
		case f.err != nil:
			return Token{}, &Error{f.err}
		default:
			return f.token, nil
		}
	}
}

// GetFor returns a token that was fetched with claims: what Get and Demand are
// to those who know the token that did not have them.
func (s *Source) GetFor(ctx context.Context, claims string) (Token, error) {
	s.mu.Lock()
	s.demand(claims)
	s.mu.Unlock()
	return s.Get(ctx)
}

// ask returns the token at hand, or the failure that is remembered, or the flight
// to wait for.
func (s *Source) ask(ctx context.Context) (Token, *flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Token{}, nil, resilience.ErrClosed
	}
	now := time.Now()
	held := s.failure != nil && now.Before(s.failedTil)
	if s.current.Value != "" && now.Before(s.current.Expires.Add(-expiryMargin)) {
		if wait := s.spared.Sub(now); wait > 0 {
			return Token{}, nil, &Error{&rejected{wait}}
		}
		if !s.spared.IsZero() {
			s.spared = now.Add(s.Spare) // this caller tries it
		}
		if !now.Before(s.renew) && !held && s.flight == nil {
			s.start(ctx)
		}
		return s.current, nil, nil
	}
	if held {
		return Token{}, nil, &Error{s.failure}
	}
	if s.flight == nil {
		s.start(ctx)
	}
	return Token{}, s.flight, nil
}

// start begins a flight; s.mu is held. It outlives the caller that started it,
// because others may wait for it too, but not the source.
func (s *Source) start(ctx context.Context) {
	ctx, cancel := context.WithCancel(resilience.WithoutBackup(context.WithoutCancel(ctx)))
	f := &flight{done: make(chan struct{}), cancel: cancel, claims: s.claims}
	s.flight = f
	s.flights.Go(func() {
		defer cancel()
		f.token, f.err = resilience.Do(ctx, s.policy, resilience.Call{Name: "token", Kind: resilience.Idempotent}, s.fetchSafely)
		s.land(f)
	})
}

// fetchSafely keeps a panicking credential from taking the process down.
func (s *Source) fetchSafely(ctx context.Context) (t Token, err error) {
	defer safe.Catch(&err, "the credential")
	return s.fetch(ctx)
}

func (s *Source) land(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.dropped {
		close(f.done)
		return
	}
	now := time.Now()
	s.flight = nil
	if f.err != nil {
		held := hold(f.err)
		s.failure, s.failedTil = f.err, now.Add(held)
		if held == refusedHold {
			s.claims = "" // perhaps it was these: if not, the API demands them again
		}
	} else {
		s.failure, s.accepted, s.claims, s.met = nil, false, "", f.claims
		if s.current.Value != "" {
			s.previous = s.current.Value
		}
		s.current, s.fetched = f.token, now
		s.renew = now.Add(f.token.Expires.Sub(now) / 3)
	}
	close(f.done)
	close(s.changed)
	s.changed = make(chan struct{})
}

func hold(err error) time.Duration {
	f := resilience.Of(err)
	switch f.Class {
	case resilience.Credential, resilience.Denied, resilience.Rejected, resilience.NotFound, resilience.Misuse:
		return refusedHold
	}
	return max(transientHold, f.RetryAfter)
}

// Accepted notes that the API took the token.
func (s *Source) Accepted(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Value == value {
		s.accepted, s.spared = true, time.Time{}
	}
}

// Has reports whether value is the token at hand or the one before it.
func (s *Source) Has(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return value != "" && (s.current.Value == value || s.previous == value)
}

// Rejected notes that the API answered 401 to the token and reports whether a
// new one is worth a try: not if a fresh token was rejected without ever having
// worked, because then the next one will be too, for a while.
func (s *Source) Rejected(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Value != value {
		return true // somebody already fetched another
	}
	s.refused = value
	worth := s.accepted || time.Since(s.fetched) > refusedHold
	if worth {
		s.drop()
	} else if s.Spare > 0 {
		s.spared = time.Now().Add(s.Spare)
	}
	return worth
}

// drop forgets the current token; s.mu is held.
func (s *Source) drop() {
	if s.current.Value != "" {
		s.previous, s.current = s.current.Value, Token{}
	}
}

// Demand notes that the API answered 401 to the token and asked for one with these
// claims, and reports whether that is worth a try: not if the token was fetched
// for the same demand a moment ago and has never worked.
func (s *Source) Demand(value, claims string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = value
	if s.current.Value != value {
		if s.met != claims { // somebody fetched another, but not for this
			s.demand(claims)
		}
		return true
	}
	if s.met == claims && !s.accepted && time.Since(s.fetched) <= refusedHold {
		return false
	}
	s.met = ""
	s.demand(claims)
	return true
}

// demand makes the next token one with claims, and a new one, unless the current
// one was fetched for them just now; s.mu is held. A fetch under way for
// less is given up.
func (s *Source) demand(claims string) {
	if s.current.Value != "" && s.met == claims && time.Since(s.fetched) <= refusedHold {
		return
	}
	s.claims = claims
	s.drop()
	if f := s.flight; f != nil && f.claims != claims {
		f.dropped = true
		f.cancel()
		s.flight = nil
	}
}

// Asked is what a fetch must heed: the claims that the API demands of the token, and
// the token that it answered 401 to last, which will not do.
func (s *Source) Asked() (claims, refused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims, s.refused
}

// rejected is the failure of a call that is not made because the API rejects the
// token.
type rejected struct{ wait time.Duration }

func (e *rejected) Error() string {
	return fmt.Sprintf("the API answered 401 to a fresh one; it is tried again in %v", e.wait.Round(time.Millisecond))
}

// Failure says when another try is worth it.
func (e *rejected) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Credential, Sent: resilience.NotSent, RetryAfter: e.wait}
}

// Run keeps the token warm until ctx ends: it fetches the first one at once and
// the next a third into each one's life. It returns the context's error, or
// resilience.ErrClosed.
func (s *Source) Run(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return resilience.ErrClosed
		}
		at, changed := s.renew, s.changed
		if s.failure != nil && s.failedTil.After(at) {
			at = s.failedTil
		}
		wait := time.Until(at)
		switch {
		case s.Lazy && s.fetched.IsZero() && s.failure == nil:
			wait = time.Hour
		case wait <= 0 && s.flight == nil:
			s.start(ctx)
		}
		s.mu.Unlock()
		timer := time.NewTimer(max(wait, time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Expires is when the token at hand expires; zero if there is none.
func (s *Source) Expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.Expires
}

// Close ends a fetch under way and waits for it, no longer than ctx.
func (s *Source) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.changed)
		s.changed = make(chan struct{})
	}
	if s.flight != nil {
		s.flight.cancel()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.flights.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
