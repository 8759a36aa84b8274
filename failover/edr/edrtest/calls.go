package edrtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

func probeTells(b *bench) {
	b.needsAbility("Probe", b.Driver.Probe != nil)
	if err := b.Driver.Probe.Probe(b.Context()); err != nil {
		b.Errorf("of a vendor that works: %v", err)
	}
	if b.Down != nil {
		b.breaks(b.Down, func() {
			if b.Driver.Probe.Probe(b.Context()) == nil {
				b.Error("no error of a vendor that fails")
			}
		})
	}
}

func scanOnce(b *bench) {
	b.needsAbility("Scan", b.Driver.Scan != nil)
	b.does("scan", b.scan, b.a().ID)
	b.carriedOut(b.a().ID, Effects{Scanned: 1})
	b.carriedOut(b.b().ID, Effects{})
	if s, err := b.Driver.Isolate.State(b.Context(), b.a().ID); err != nil || s != edr.NotContained {
		b.Errorf("a scan is no isolation: %v, %v", s, err)
	}
	if o, err := b.scan(b.Context(), b.stranger()); err == nil || resilience.Of(err).Sent == resilience.MaybeSent {
		b.Errorf("of an unknown id: %v, %v, want an error that says that nothing was done", o, err)
	}
}

func scanNotSent(b *bench) {
	b.needsAbility("Scan", b.Driver.Scan != nil)
	b.needs("Down", b.Down != nil)
	b.breaks(b.Down, func() {
		o, err := b.scan(b.Context(), b.a().ID)
		b.isNotSent("scan", o, err)
	})
	b.carriedOut(b.a().ID, Effects{})
}

func scanLost(b *bench) {
	b.needsAbility("Scan", b.Driver.Scan != nil)
	b.needs("LoseAnswers", b.LoseAnswers != nil)
	b.breaks(b.LoseAnswers, func() {
		o, err := b.scan(b.Context(), b.a().ID)
		b.maySent("scan", o, err)
	})
	b.works(b.a().ID)
	b.carriedOut(b.a().ID, Effects{Scanned: 1})
}

// promptly is how soon a call returns after its context has ended. It is far more than
// any driver takes.
const promptly = 5 * time.Second

// returns makes a call that must return soon, with the caller's own error.
func (b *bench) returns(ctx context.Context, c call, heal func()) {
	b.Helper()
	done := make(chan error, 1)
	go func() { done <- c.make(ctx) }()
	<-ctx.Done()
	late := time.NewTimer(promptly)
	defer late.Stop()
	var err error
	select {
	case err = <-done:
	case <-late.C:
		b.Errorf("%s: not back %v after its context ended", c.name, promptly)
		heal()
		<-done
		return
	}
	if !errors.Is(err, ctx.Err()) {
		b.Errorf("%s: %v, want an error that matches %v", c.name, err, ctx.Err())
	}
	if sent := resilience.Of(err).Sent; c.effect && sent != resilience.NotSent {
		b.Errorf("%s: the error says %s, want not_sent, for nothing was: %v", c.name, sent, err)
	}
}

func canceled(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	for _, c := range b.calls() {
		b.returns(ctx, c, func() {})
	}
	b.becomesFree(b.a().ID)
	b.carriedOut(b.a().ID, Effects{})
}

// The reads hang too, so no effect gets as far as being sent.
func hangs(b *bench) {
	b.needs("Hang", b.Hang != nil)
	for _, c := range b.calls() {
		heal := sync.OnceFunc(b.Hang())
		ctx, cancel := context.WithTimeout(b.Context(), 100*time.Millisecond)
		b.returns(ctx, c, heal)
		cancel()
		heal()
		b.works(b.a().ID)
	}
	b.becomesFree(b.a().ID)
	b.carriedOut(b.a().ID, Effects{})
}

// One goroutine isolates each host, as a Fleet does it; many read. The race detector
// sees more of it than the results do.
func concurrent(b *bench) {
	var wg sync.WaitGroup
	for _, h := range b.Hosts {
		wg.Go(func() {
			if o, err := b.isolate(b.Context(), h.ID); err != nil || !o.OK() {
				b.Errorf("isolate %s: %v, %v", h.ID, o, err)
			}
		})
	}
	for i := range 8 {
		wg.Go(func() {
			for _, c := range b.calls() {
				if c.effect {
					continue
				}
				if err := c.make(b.Context()); err != nil {
					b.Errorf("reader %d: %s: %v", i, c.name, err)
				}
			}
		})
	}
	wg.Wait()
	for _, h := range b.Hosts {
		b.becomesHeld(h.ID)
		b.carriedOut(h.ID, Effects{Isolated: 1})
	}
}

// Connections have goroutines of their own, so it is those that grow with the calls
// that count.
func noGoroutines(b *bench) {
	const rounds, few = 12, 8
	one := func() {
		for _, err := range b.Driver.Find.Find(b.Context(), edr.Query{}) {
			if err != nil {
				b.Error(err)
			}
			break
		}
		if _, err := b.Driver.Isolate.State(b.Context(), b.a().ID); err != nil {
			b.Error(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		for _, c := range b.calls() {
			_ = c.make(ctx)
		}
	}
	one()
	before := runtime.NumGoroutine()
	for range rounds {
		one()
	}
	b.eventually(fmt.Sprintf("about as many goroutines after %d rounds of calls as after one, which were %d", rounds, before), func() (bool, error) {
		now := runtime.NumGoroutine()
		return now <= before+few, fmt.Errorf("they are %d", now)
	})
}
