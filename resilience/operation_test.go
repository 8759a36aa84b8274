package resilience

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// lasting is a call that takes d and succeeds.
func lasting(d time.Duration) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) { return 0, sleep(ctx, d) }
}

var read = Call{Name: "read", Kind: Read, Attempts: 1}

// warm teaches a policy that reads take 10 ms.
func warm(t *testing.T, p *Policy) {
	t.Helper()
	for range 40 {
		if _, err := Do(t.Context(), p, read, lasting(10*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
}

// A breaker that learns from ended calls only lets a black hole hold every
// caller for a whole attempt timeout (facts/resilience.md 3.5).
func TestBlackHoleIsLeftBeforeTheFirstTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{OpenFor: time.Minute}})
		warm(t, p)
		hang := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		ctx, cancel := context.WithCancel(t.Context())
		held, refused := 0, 0
		begin := time.Now()
		done := make(chan error)
		for refused < 5 && held < 1000 {
			go func() { _, err := Do(WithBackup(ctx), p, read, hang); done <- err }()
			synctest.Wait()
			select {
			case err := <-done:
				if !errors.Is(err, ErrOpen) || asError(t, err).Sent != NotSent {
					t.Errorf("got %v", err)
				}
				refused++
			default:
				held++
			}
			time.Sleep(time.Millisecond)
		}
		if held > 45 || time.Since(begin) > 100*time.Millisecond {
			t.Errorf("%d callers held, %v until the first was refused", held, time.Since(begin))
		}
		// Whoever has no backup still gets through.
		go func() { _, err := Do(ctx, p, read, hang); done <- err }()
		synctest.Wait()
		cancel()
		for range held + 1 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// Nobody trips on latency: ten times as slow, and nothing ever fails.
func TestSlowDependencyIsLeftByThoseWhoHaveABackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{OpenFor: time.Second, Probes: 2}})
		warm(t, p)
		slow := lasting(100 * time.Millisecond)
		calls := 0
		var err error
		for ; err == nil && calls < 100; calls++ {
			_, err = Do(WithBackup(t.Context()), p, read, slow)
		}
		if calls > stallCalls+2 || !errors.Is(err, ErrOpen) {
			t.Errorf("%v after %d slow calls", err, calls)
		}
		if _, err := Do(t.Context(), p, read, slow); err != nil {
			t.Errorf("without a backup a slow answer is better than none: %v", err)
		}
		// One caller at a time tries; while it is slow the others stay away longer.
		probes := 0
		for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
			if _, err := Do(WithBackup(t.Context()), p, read, slow); err == nil {
				probes++
			}
		}
		if probes < 10 || probes > 18 {
			t.Errorf("%d probes in ten seconds", probes)
		}
		// Healed: back after two good probes.
		begin := time.Now()
		for range 2 {
			for {
				if _, err := Do(WithBackup(t.Context()), p, read, lasting(10*time.Millisecond)); err == nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
		if _, err := Do(WithBackup(t.Context()), p, read, lasting(10*time.Millisecond)); err != nil {
			t.Errorf("%v, %v after healing", err, time.Since(begin))
		}
	})
}

// A long tail is not a slow dependency, and neither is a pause of our own.
func TestSomeSlowCallsAreNoReasonToLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		warm(t, p)
		for i := range 1000 {
			d := 10 * time.Millisecond
			if i%3 == 0 {
				d = 200 * time.Millisecond
			}
			if _, err := Do(WithBackup(t.Context()), p, read, lasting(d)); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		// Twenty calls at once after a long silence: nothing is stale yet.
		time.Sleep(time.Hour)
		done := make(chan error)
		for range 20 {
			go func() { _, err := Do(WithBackup(t.Context()), p, read, lasting(10*time.Millisecond)); done <- err }()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// What stays slow becomes the usual.
func TestTheUsualIsLearnedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		warm(t, p)
		slow := lasting(100 * time.Millisecond)
		begin, good := time.Now(), 0
		for good < 100 && time.Since(begin) < time.Hour {
			if _, err := Do(WithBackup(t.Context()), p, read, slow); err != nil {
				good = 0
				time.Sleep(time.Second)
			} else {
				good++
			}
		}
		if took := time.Since(begin); took < time.Minute || took > 30*time.Minute {
			t.Errorf("accepted as usual after %v", took)
		}
	})
}

// One operation's slowness says nothing of another's.
func TestOperationsAreTimedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{})
		warm(t, p)
		for range 100 {
			if _, err := Do(WithBackup(t.Context()), p, Call{Name: "report", Kind: Read}, lasting(2*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// failsafe-go: the losers of a race count as failures, and open the breaker of
// whoever was asked second. When all are slow, that leaves nobody to ask: being
// overtaken never opens the breaker. Those who have a backup leave a provider
// that was slow all the same.
func TestBeingOvertakenIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overtaken := func(p *Policy, after time.Duration) error {
			ctx, cancel := context.WithCancelCause(WithBackup(t.Context()))
			time.AfterFunc(after, func() { cancel(ErrOvertaken) })
			_, err := Do(ctx, p, read, lasting(time.Hour))
			if errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			return err
		}
		quick, slow := policy(t, Config{}), policy(t, Config{})
		warm(t, quick)
		warm(t, slow)
		left := 0
		for range 500 {
			if err := overtaken(quick, 5*time.Millisecond); !errors.Is(err, ErrOvertaken) {
				t.Fatal(err)
			}
			if err := overtaken(slow, 50*time.Millisecond); errors.Is(err, ErrOpen) {
				left++
			}
		}
		if quick.State() != Closed || slow.State() != Closed {
			t.Errorf("quick: %v, slow: %v", quick.State(), slow.State())
		}
		// Ten were overtaken, then one tries now and then.
		if left < 450 {
			t.Errorf("%d of 500 callers with a backup left the slow one", left)
		}
		if _, err := Do(t.Context(), slow, read, lasting(time.Second)); err != nil {
			t.Errorf("without a backup a slow answer is better than none: %v", err)
		}
	})
}
