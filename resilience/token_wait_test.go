package resilience_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// noToken is the failure of a call that waited for its token until its caller left.
type noToken struct{ error }

func (e noToken) Unwrap() error { return e.error }

func (noToken) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Credential, Sent: resilience.NotSent}
}

// Callers who leave because no token comes say nothing of the dependency, however
// long they waited.
func TestCallersWhoLeaveATokenBehindOpenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := resilience.New("x", resilience.Config{})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
			_, err := resilience.Do(ctx, p, resilience.Call{Name: "get", Kind: resilience.Read}, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, noToken{context.Cause(ctx)}
			})
			if cancel(); err == nil {
				t.Fatal("no error")
			}
		}
		if p.State() != resilience.Closed {
			t.Error(p.Explain())
		}
	})
}
