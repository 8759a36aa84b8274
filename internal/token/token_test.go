package token

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/resilience"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a token service whose answers the test writes.
type service struct {
	mu      sync.Mutex
	fetches int
	delay   time.Duration
	fail    error
	life    time.Duration
}

func (v *service) fetch(ctx context.Context) (Token, error) {
	v.mu.Lock()
	v.fetches++
	n, delay, fail, life := v.fetches, v.delay, v.fail, v.life
	v.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	if fail != nil {
		return Token{}, fail
	}
	return Token{Value: fmt.Sprint("token-", n), Expires: time.Now().Add(life)}, nil
}

func (v *service) set(change func()) { v.mu.Lock(); defer v.mu.Unlock(); change() }

func (v *service) count() int { v.mu.Lock(); defer v.mu.Unlock(); return v.fetches }

func source(t *testing.T, v *service) *Source {
	t.Helper()
	p, err := resilience.New("auth", resilience.Config{Attempt: 5 * time.Second, Total: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return New(p, v.fetch)
}

func bubble(t *testing.T, v *service, f func(t *testing.T, s *Source)) {
	synctest.Test(t, func(t *testing.T) {
		if v.life == 0 {
			v.life = 30 * time.Minute
		}
		s := source(t, v)
		f(t, s)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Falcon A1, A2 and Microsoft T1: waiters ignore their own deadlines.
func TestWaitersKeepTheirOwnDeadlines(t *testing.T) {
	v := &service{delay: time.Hour}
	bubble(t, v, func(t *testing.T, s *Source) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				begin := time.Now()
				if _, err := s.Get(ctx); err == nil || time.Since(begin) != 500*time.Millisecond {
					t.Errorf("returned after %v with %v", time.Since(begin), err)
				}
			})
		}
		wg.Wait()
		if v.count() != 1 {
			t.Errorf("%d fetches for 20 waiters", v.count())
		}
	})
}

// Microsoft T2: each waiter replays the whole failure, one after another.
func TestFailureIsShared(t *testing.T) {
	v := &service{fail: &refusal{401}}
	bubble(t, v, func(t *testing.T, s *Source) {
		for range 20 {
			_, err := s.Get(t.Context())
			if f := resilience.Of(err); f.Class != resilience.Credential || f.Sent != resilience.NotSent {
				t.Errorf("got %+v", f)
			}
		}
		if v.count() != 1 {
			t.Errorf("a refused credential was tried %d times", v.count())
		}
		time.Sleep(refusedHold + time.Second)
		v.set(func() { v.fail = nil })
		if _, err := s.Get(t.Context()); err != nil {
			t.Errorf("after the hold: %v", err)
		}
	})
}

type refusal struct{ status int }

func (r *refusal) Error() string               { return fmt.Sprint("refused: ", r.status) }
func (r *refusal) Failure() resilience.Failure { return resilience.OfStatus(r.status) }

// Microsoft T4: the refresh is paid for by an unlucky request.
func TestRefreshIsBesideTheCaller(t *testing.T) {
	v := &service{}
	bubble(t, v, func(t *testing.T, s *Source) {
		if _, err := s.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Minute)
		v.set(func() { v.delay = 4 * time.Second })
		begin := time.Now()
		tok, err := s.Get(t.Context())
		if err != nil || tok.Value != "token-1" || time.Since(begin) != 0 {
			t.Errorf("got %v, %v after %v", tok, err, time.Since(begin))
		}
		time.Sleep(5 * time.Second)
		if tok, _ := s.Get(t.Context()); tok.Value != "token-2" {
			t.Errorf("not renewed: %v", tok)
		}
	})
}

// A token outage shorter than the token's life is a non-event.
func TestServedUntilItExpires(t *testing.T) {
	v := &service{}
	bubble(t, v, func(t *testing.T, s *Source) {
		if _, err := s.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		v.set(func() { v.fail = errors.New("down") })
		for range 29 {
			time.Sleep(time.Minute)
			if _, err := s.Get(t.Context()); err != nil {
				t.Fatalf("with a good token at hand: %v", err)
			}
		}
		time.Sleep(time.Minute)
		if tok, err := s.Get(t.Context()); err == nil {
			t.Errorf("an expired token was served: %v", tok)
		}
	})
}

// Falcon A4 and Microsoft 1.3: a revoked token is used until its own expiry.
// And the opposite: a storm of 401 must not become a storm of token requests.
func TestRevokedTokenIsReplacedOnce(t *testing.T) {
	v := &service{}
	bubble(t, v, func(t *testing.T, s *Source) {
		first, _ := s.Get(t.Context())
		s.Accepted(first.Value)
		if !s.Rejected(first.Value) {
			t.Fatal("a token that had worked and was revoked is worth a new one")
		}
		second, _ := s.Get(t.Context())
		if second.Value == first.Value {
			t.Fatal("the same token again")
		}
		if !s.Rejected(first.Value) {
			t.Error("a late 401 for the old token: there is a new one to try")
		}
		for range 50 {
			if s.Rejected(second.Value) {
				t.Fatal("a new token that never worked was thrown away at once")
			}
			_, _ = s.Get(t.Context())
		}
		if v.count() != 2 {
			t.Errorf("%d fetches", v.count())
		}
		time.Sleep(refusedHold + time.Second)
		if !s.Rejected(second.Value) {
			t.Error("never tried again")
		}
	})
}

// Microsoft T5: a panic in the credential wedges every later call.
func TestPanicIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := resilience.New("auth", resilience.Config{})
		n := 0
		s := New(p, func(context.Context) (Token, error) {
			if n++; n == 1 {
				panic("boom")
			}
			return Token{Value: "x", Expires: time.Now().Add(time.Hour)}, nil
		})
		if _, err := s.Get(t.Context()); err == nil {
			t.Fatal("no error")
		}
		time.Sleep(2 * time.Second)
		if _, err := s.Get(t.Context()); err != nil {
			t.Errorf("wedged: %v", err)
		}
		_ = s.Close(t.Context())
	})
}

func TestRunKeepsItWarm(t *testing.T) {
	v := &service{}
	bubble(t, v, func(t *testing.T, s *Source) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(3 * time.Hour)
		if n := v.count(); n < 17 || n > 19 {
			t.Errorf("%d fetches in three hours, want one each ten minutes", n)
		}
		if left := time.Until(s.Expires()); left < 19*time.Minute {
			t.Errorf("only %v left", left)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	v := &service{delay: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		s := source(t, v)
		go func() { _, _ = s.Get(t.Context()) }()
		run := make(chan error, 1)
		synctest.Wait()
		go func() { run <- s.Run(t.Context()) }()
		synctest.Wait()
		begin := time.Now()
		if err := s.Close(t.Context()); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if err := <-run; !errors.Is(err, resilience.ErrClosed) {
			t.Errorf("Run returned %v", err)
		}
		if _, err := s.Get(t.Context()); !errors.Is(err, resilience.ErrClosed) {
			t.Errorf("Get returned %v", err)
		}
	})
}

// A fetch that began before the API demanded claims gives a token without them:
// it is given up, and those who wait for it get the other one.
func TestDemandDropsTheFetchUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := resilience.New("auth", resilience.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var s *Source
		var asked []string
		s = New(p, func(ctx context.Context) (Token, error) {
			claims, _ := s.Asked()
			asked = append(asked, claims)
			n := len(asked)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return Token{}, ctx.Err()
			}
			return Token{Value: fmt.Sprint(n, claims), Expires: time.Now().Add(time.Hour)}, nil
		})
		waited := make(chan Token, 1)
		go func() {
			tok, err := s.Get(t.Context())
			if err != nil {
				t.Error(err)
			}
			waited <- tok
		}()
		time.Sleep(time.Second / 2)
		begin := time.Now()
		tok, err := s.GetFor(t.Context(), "A")
		if err != nil || tok.Value != "2A" || time.Since(begin) != time.Second {
			t.Errorf("got %v, %v after %v", tok, err, time.Since(begin))
		}
		if tok := <-waited; tok.Value != "2A" {
			t.Errorf("who waited got %v", tok)
		}
		s.Accepted("2A")
		// Many hear of the same challenge; it is one token.
		for range 5 {
			if !s.Demand("2A", "B") {
				t.Error("not worth a try")
			}
			if tok, err := s.Get(t.Context()); err != nil || tok.Value != "3B" {
				t.Errorf("got %v, %v", tok, err)
			}
		}
		if s.Demand("3B", "B") {
			t.Error("a token that has the claims and never worked is worth no other")
		}
		if tok, _ := s.GetFor(t.Context(), "B"); tok.Value != "3B" {
			t.Errorf("a second token for one challenge: %v", tok)
		}
		time.Sleep(refusedHold + time.Second)
		if !s.Demand("3B", "B") {
			t.Error("never tried again")
		}
		if tok, _ := s.Get(t.Context()); tok.Value != "4B" {
			t.Errorf("got %v", tok)
		}
		s.Accepted("4B")
		if !s.Demand("4B", "B") {
			t.Error("it worked, and is challenged again: worth a try")
		}
		if tok, _ := s.Get(t.Context()); tok.Value != "5B" {
			t.Errorf("got %v", tok)
		}
		time.Sleep(refusedHold + time.Second)
		_ = s.Demand("3B", "B")
		if tok, _ := s.Get(t.Context()); tok.Value != "5B" {
			t.Errorf("a late answer to an old token cost another: %v", tok)
		}
		// The claims are of one token: the next one is as any other.
		time.Sleep(21 * time.Minute)
		_, _ = s.Get(t.Context())
		time.Sleep(2 * time.Second)
		if tok, _ := s.Get(t.Context()); tok.Value != "6" {
			t.Errorf("renewed as %v", tok)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
