package siem

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/siem/spool"
	"github.com/jurymast/jurymast/internal/safe"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// Run reads and delivers until ctx ends, whose error it returns. Sources and sinks
// that fail do not end it; a disk that fails does. When it returns nothing is under way
// and no goroutine is left; what is not delivered is in the spool.
func (p *Pump) Run(ctx context.Context) error {
	if !p.busy.CompareAndSwap(false, true) {
		return resilience.Misusef("siem: Run is running already")
	}
	defer p.busy.Store(false)
	defer p.lease.giveBack(ctx)
	return p.run(ctx)
}

func (p *Pump) run(ctx context.Context) error {
	p.recovered(ctx)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() { p.lease.keep(ctx, p.readAll) })
	d := delivery{pump: p, queue: newQueue(), take: make(chan struct{}, 1)}
	for _, part := range []func(context.Context) error{d.run, p.routes.run, p.gaps.run, p.watch.run, p.tidy} {
		wg.Go(func() {
			if err := part(ctx); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (p *Pump) readAll(ctx context.Context) {
	defer p.watch.reading()()
	var wg sync.WaitGroup
	for _, s := range p.config.Sources {
		wg.Go(func() { p.read(ctx, s) })
	}
	wg.Wait()
}

// read keeps a source reading.
func (p *Pump) read(ctx context.Context, s Source) {
	in := &Intake{pump: p, source: s.Name()}
	delay := time.Second
	for ctx.Err() == nil {
		begun := time.Now()
		err := func() (err error) {
			defer safe.Catch(&err, "Source.Read")
			return s.Read(ctx, in)
		}()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = fmt.Errorf("its Read ended")
		}
		if time.Since(begun) > time.Minute {
			delay = time.Second // it was well for a while
		}
		p.watch.failed(s.Name(), err)
		p.config.Logger.WarnContext(ctx, "siem: a source is started again", "source", s.Name(), "error", err, "again_in", delay)
		_ = wait.For(ctx, max(wait.Jitter(delay), min(resilience.Of(err).RetryAfter, time.Hour)))
		delay = min(2*delay, time.Minute)
	}
}

const (
	tidyEvery = 10 * time.Second
	tidyFrom  = 256 << 10
)

// tidy gives the spool's last segment back after a backlog, when it is quiet.
func (p *Pump) tidy(ctx context.Context) error {
	var before uint64
	for {
		if err := wait.For(ctx, tidyEvery); err != nil {
			return err
		}
		st := p.spool.Stats()
		if st.Durable == before && st.Bytes > tidyFrom {
			if err := p.spool.Trim(); err != nil && !errors.Is(err, spool.ErrFull) {
				return fmt.Errorf("siem: %w", err)
			}
		}
		before = st.Durable
	}
}
