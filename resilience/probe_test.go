package resilience

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// prober is a dependency that is sick until heal, and its probe.
type prober struct {
	probes atomic.Int32
	sick   atomic.Bool
	took   atomic.Int64
}

func (d *prober) probe(ctx context.Context) error {
	d.probes.Add(1)
	if err := sleep(ctx, time.Duration(d.took.Load())); err != nil {
		return err
	}
	if d.sick.Load() {
		return fail(Unavailable, MaybeSent)
	}
	return nil
}

// running runs p beside the test and returns how to end it.
func running(t *testing.T, p *Policy) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
}

func open(t *testing.T, p *Policy) {
	t.Helper()
	for range 10 {
		_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
	}
	if p.State() != Opened {
		t.Fatal(p.Explain())
	}
}

// With Run no caller tries a dependency that may still be sick, and it is back
// without any caller.
func TestRunProbesInTheCallersPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &prober{}
		p := policy(t, Config{Probe: d.probe})
		stop := running(t, p)
		defer stop()
		time.Sleep(time.Hour)
		if n := d.probes.Load(); n != 0 {
			t.Errorf("%d probes while all was well", n)
		}
		d.sick.Store(true)
		open(t, p)
		reached := 0
		for range 60 { // a caller every second, while the open time is over again and again
			time.Sleep(time.Second)
			n, err := try(t.Context(), p, read)
			reached += n
			if !errors.Is(err, ErrOpen) {
				t.Errorf("got %v", err)
			}
		}
		if n := d.probes.Load(); reached != 0 || n < 8 || n > 15 {
			t.Errorf("%d callers reached the sick dependency, %d probes did", reached, n)
		}
		d.sick.Store(false)
		for p.State() != Closed {
			time.Sleep(time.Second)
		}
		if n, err := try(t.Context(), p, read); n != 1 || err != nil {
			t.Errorf("after healing: %d, %v", n, err)
		}
	})
}

// A probe that hangs is bounded as any attempt, and a caller's probe from before
// Run is waited for.
func TestRunOutlastsAHungProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &prober{}
		d.took.Store(int64(time.Hour))
		p := policy(t, Config{Probe: d.probe})
		stop := running(t, p)
		defer stop()
		open(t, p)
		time.Sleep(time.Minute)
		if n := d.probes.Load(); n < 3 {
			t.Errorf("%d probes in a minute of hanging ones", n)
		}
		d.took.Store(0)
		time.Sleep(30 * time.Second)
		if p.State() != Closed {
			t.Error(p.Explain())
		}
	})
}

// Those who hold all places wait for a dependency that never answers: the probe
// must not wait behind them.
func TestRunNeedsNoPlaceUnderTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &prober{}
		p := policy(t, Config{Probe: d.probe, Concurrency: 1})
		stop := running(t, p)
		defer stop()
		open(t, p)
		p.limit <- struct{}{}
		time.Sleep(10 * time.Second)
		if p.State() != Closed {
			t.Error(p.Explain())
		}
	})
}

// A quota that is used up refuses the probe too: Run must not spin, and callers,
// who are kept away for it, not wait for ever.
func TestRunWaitsForTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &prober{}
		p := policy(t, Config{Probe: d.probe, Breaker: Breaker{LastFailed: 1}, Quota: mustQuota(t, Window{1, time.Hour})})
		stop := running(t, p)
		defer stop()
		_ = once(t.Context(), p, fail(Unavailable, MaybeSent))
		if p.State() != Opened {
			t.Fatal(p.Explain())
		}
		begin := time.Now()
		own := Call{Name: "x", Kind: Read, Attempts: 1, Quota: mustQuota(t, Window{600, time.Minute})}
		for time.Since(begin) < 10*time.Minute { // a spinning Run would never let the clock move
			time.Sleep(time.Second)
			if n, _ := try(t.Context(), p, own); n > 0 {
				break
			}
		}
		if waited := time.Since(begin); waited < 30*time.Second || waited > 40*time.Second {
			t.Errorf("a caller tried after %v", waited)
		}
		if d.probes.Load() != 0 {
			t.Error("the quota was overdrawn")
		}
	})
}

func TestRunNeedsAProbe(t *testing.T) {
	if err := policy(t, Config{}).Run(t.Context()); Of(err).Class != Misuse || !strings.Contains(err.Error(), "Config.Probe") {
		t.Error(err)
	}
}

// In gobreaker the late result of a call from before the opening announces a half
// open breaker, with nobody probing.
func TestHalfOpenIsToldWhenAProbeGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []State
		p := policy(t, Config{OnStateChange: func(c StateChange) { told = append(told, c.To) }})
		late := make(chan error)
		for range 2 {
			go func() {
				_, _ = Do(t.Context(), p, read, func(context.Context) (int, error) { return 0, <-late })
			}()
		}
		synctest.Wait()
		open(t, p)
		time.Sleep(3 * time.Second)
		late <- nil
		time.Sleep(1500 * time.Millisecond) // gobreaker's own open time is over
		late <- fail(Unavailable, MaybeSent)
		synctest.Wait()
		if !slices.Equal(told, []State{Opened}) || p.State() != Opened {
			t.Errorf("told %v, is %v", told, p.State())
		}
		time.Sleep(3 * time.Second)
		_ = once(t.Context(), p, nil)
		_ = once(t.Context(), p, nil)
		if want := []State{Opened, HalfOpen, Closed}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

// gobreaker #91: a breaker that learns from ended calls only lets a black hole
// hold as many callers as come within a timeout.
func TestInFlightOpensBeforeTheFirstTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{InFlight: 20}})
		hold := func(call Call) {
			go func() { _, _ = Do(t.Context(), p, call, lasting(time.Hour)) }()
		}
		begin := time.Now()
		for p.State() == Closed && time.Since(begin) < time.Minute {
			hold(read)
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begin); took < 5*time.Second || took > 5200*time.Millisecond {
			t.Errorf("opened after %v: %v", took, p.Explain())
		}
		if got := p.Explain().Reason; !strings.Contains(got, "calls were under way and none had ended for 5s") {
			t.Error(got)
		}
		time.Sleep(4500 * time.Millisecond) // some of them still hang when it has healed
		for range 2 {
			for once(t.Context(), p, nil) != nil {
				time.Sleep(100 * time.Millisecond)
			}
		}
		if err := once(t.Context(), p, nil); err != nil || p.State() != Closed {
			t.Errorf("healed: %v, %v", err, p.Explain())
		}
		time.Sleep(time.Minute)
	})
}

func TestInFlightLeavesBusyAndLongCallsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, Config{Breaker: Breaker{InFlight: 20}})
		for range 30 { // streams
			go func() { _, _ = Do(t.Context(), p, Call{Name: "stream", Kind: Read, Timeout: -1}, lasting(time.Hour)) }()
		}
		for range 100 { // a burst after a pause, as slow as can be, but answered
			time.Sleep(time.Minute)
			for range 30 {
				go func() { _, _ = Do(t.Context(), p, read, lasting(4*time.Second)) }()
			}
			time.Sleep(3 * time.Second)
			if err := once(t.Context(), p, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
	})
}
