package resilience

import (
	"context"
	"time"
)

// probeDeadline is when a probe that never ended counts as failed.
const probeDeadline = 30 * time.Second

// mustWait reports that no probe may go now, and for how long at least; mu is held.
func (b *breaker) mustWait(now time.Time, background bool) (time.Duration, bool) {
	if now.Before(b.until) {
		return b.until.Sub(now), true
	}
	if b.probe != 0 && now.Sub(b.probeSince) < probeDeadline {
		return 0, true
	}
	// A Run probes in the callers' place, unless its probe hangs for ever.
	inTime := now.Before(laterOf(b.until, b.probeSince).Add(probeDeadline))
	return 0, !background && b.runs.Load() > 0 && inTime
}

// allowProbe makes the caller the one that tries, or says how long to wait.
func (b *breaker) allowProbe(now time.Time, background bool) (ticket, time.Duration, bool) {
	seq, hung, wait := b.claimProbe(now, background)
	if hung != nil {
		// It hangs for ever: it has failed, whatever it says later.
		hung(errFailed)
		b.deliver()
		seq, _, wait = b.claimProbe(now, background)
	}
	if seq == 0 {
		return ticket{}, wait, false
	}
	done, err := b.gb.Allow()
	b.mu.Lock()
	if err != nil {
		if b.probe == seq {
			b.probe = 0
		}
		wait = max(0, b.until.Sub(now))
	} else {
		b.probeDone = done
		if b.state() == Opened {
			b.turn(HalfOpen, now, "the open time is over")
		}
	}
	b.mu.Unlock()
	b.deliver()
	return ticket{done: done, probe: seq}, wait, err == nil
}

// claimProbe returns the number of the caller's probe; or 0 with how to end a
// probe that hangs, or with how long to wait.
func (b *breaker) claimProbe(now time.Time, background bool) (seq uint64, hung func(error), wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait, must := b.mustWait(now, background); must {
		return 0, nil, wait
	}
	if b.probe != 0 && b.probeDone != nil {
		hung = b.probeDone
		b.probe, b.probeDone = 0, nil
		return 0, hung, 0
	}
	b.probeSeq++
	b.probe, b.probeSince = b.probeSeq, now
	return b.probe, nil, 0
}

// endProbe reports whether the probe had not been given up.
func (b *breaker) endProbe(seq uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probe != seq {
		return false
	}
	b.probe, b.probeDone = 0, nil
	return true
}

type backgroundKey struct{}

// Run probes the dependency by Config.Probe while the breaker is open, so that
// no caller has to try one that may still be sick, until ctx ends; it returns
// the context's error. Without Run one caller at a time tries, with its own
// call. While the breaker is closed it does nothing. Run it once: a second adds
// nothing.
func (p *Policy) Run(ctx context.Context) error {
	if p.cfg.Probe == nil {
		return Misusef("resilience: policy %s: Run needs Config.Probe", p.name)
	}
	b := p.breaker
	b.runs.Add(1)
	defer b.runs.Add(-1)
	for {
		if p.State() == Closed {
			select {
			case <-ctx.Done():
			case <-b.opened:
			}
		} else if sleep(ctx, time.Until(b.nextProbe())) == nil {
			p.probe(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// probe makes one probe in the callers' place.
func (p *Policy) probe(ctx context.Context) {
	call := Call{Name: "probe", Kind: Read, Attempts: 1, Reserve: true}
	_, err := Do(context.WithValue(ctx, backgroundKey{}, true), p, call, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, p.cfg.Probe(ctx)
	})
	if err != nil && !time.Now().Before(p.breaker.nextProbe()) {
		// It did not move the breaker: the quota refused it, or a caller's probe is
		// still under way.
		_ = sleep(ctx, probePause)
	}
}

// probePause keeps a Run whose probes are refused from spinning.
const probePause = time.Second

func (b *breaker) nextProbe() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until
}

func isBackground(ctx context.Context) bool {
	background, _ := ctx.Value(backgroundKey{}).(bool)
	return background
}
