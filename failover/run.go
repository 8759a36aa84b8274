package failover

import (
	"context"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Run probes, while calls do not begin with the most preferred provider, those that
// are more preferred than the current one, so that no call has to find out whether
// they are well again: one after the other, each every so often, and nothing while
// all is well. Each probe has every as its time; it must end with its context. A
// cordoned provider is not probed, and a probe that panics has failed. Run returns
// the context's error when ctx ends and leaves no goroutine behind. Run it once:
// a second one probes as often again.
//
// Without Run the first to try a provider again is a call: see Config.Hold.
func (g *Group[P]) Run(ctx context.Context, probe func(context.Context, P) error, every time.Duration) error {
	switch {
	case probe == nil:
		return resilience.Misusef("failover: group %s: Run needs a probe: a cheap read that needs credentials", g.cfg.Capability)
	case every <= 0:
		return resilience.Misusef("failover: group %s: Run probes every %v: say how often, such as every 10 s", g.cfg.Capability, every)
	}
	g.preference.probes(1)
	defer g.preference.probes(-1)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		for _, m := range g.members {
			if i := g.preference.rank[m.ID]; g.preference.worthProbing(i) && ctx.Err() == nil {
				g.probe(ctx, m, i, probe, every)
			}
		}
	}
}

func (g *Group[P]) probe(ctx context.Context, m Member[P], i int, probe func(context.Context, P) error, within time.Duration) {
	pctx, cancel := context.WithTimeoutCause(ctx, within, resilience.ErrShare)
	defer cancel()
	_, err := safely(pctx, m, func(ctx context.Context, v P) (struct{}, error) { return struct{}{}, probe(ctx, v) })
	switch {
	case err == nil:
		g.preference.proved(i)
	case resilience.CallerLeft(ctx):
		return
	default:
		if pctx.Err() != nil {
			err = fmt.Errorf("%w: %w", resilience.ErrShare, err)
		}
		g.preference.failed(i, resilience.Of(err).Class, "probe: "+err.Error(), time.Now())
	}
	if s, ok := g.preference.reconsider(time.Now()); ok {
		g.tel.switched(ctx, s)
	}
}
