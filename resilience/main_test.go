package resilience

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// policy returns a policy, failing the test if the Config is refused.
func policy(t testing.TB, cfg Config) *Policy {
	t.Helper()
	p, err := New("dep", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// failing is an error of a class with what is known of the request.
type failing struct{ f Failure }

func (e *failing) Error() string    { return "failing: " + e.f.Class.String() }
func (e *failing) Failure() Failure { return e.f }

func fail(c Class, s Sent) error { return &failing{Failure{Class: c, Sent: s}} }

// try runs a call that returns the given errors in turn (nil and beyond: success)
// and returns how often it ran.
func try(ctx context.Context, p *Policy, call Call, errs ...error) (int, error) {
	n := 0
	_, err := Do(ctx, p, call, func(context.Context) (int, error) {
		n++
		if n <= len(errs) {
			return 0, errs[n-1]
		}
		return n, nil
	})
	return n, err
}

func asError(t testing.TB, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %T %v, want *Error", err, err)
	}
	return e
}
