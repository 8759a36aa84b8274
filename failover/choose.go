package failover

import "context"

type (
	onlyKey       struct{}
	noFailoverKey struct{}
)

// WithOnly limits the calls made with a context to one provider of the group, by
// its id, whichever is current. A group that has none of this id fails with
// ErrNoProvider.
func WithOnly(ctx context.Context, provider string) context.Context {
	return context.WithValue(ctx, onlyKey{}, provider)
}

// WithoutFailover lets the calls made with a context ask the current provider
// ([Group.Current]) only: its failure is the call's. Reads that merge several
// providers, and effects that must happen everywhere, are not concerned.
func WithoutFailover(ctx context.Context) context.Context {
	return context.WithValue(ctx, noFailoverKey{}, true)
}

// choose is the group as a call may use it, and the gaps of those that it may not.
// passed: the preferred provider is among them.
func (g *Group[P]) choose(ctx context.Context, call Call) (chosen *Group[P], gaps []Gap, passed bool) {
	only, limited := ctx.Value(onlyKey{}).(string)
	out := *g
	out.members = make([]Member[P], 0, len(g.members))
	for _, m := range g.members {
		if limited && m.ID != only {
			continue
		}
		if c, ok := g.cordons.of(m.ID); ok && !call.EvenCordoned {
			passed = passed || len(out.members) == 0
			gaps = append(gaps, Gap{m.ID, &CordonedError{c}})
			continue
		}
		out.members = append(out.members, m)
	}
	return &out, gaps, passed
}

// stays reports that a call made with ctx is not to fail over.
func stays(ctx context.Context) bool {
	alone, _ := ctx.Value(noFailoverKey{}).(bool)
	return alone
}

// elsewhereFirst puts those that share the plane of a provider that has failed
// behind the others: what took it down may have taken them too.
func elsewhereFirst[P any](rest []Member[P], plane string) []Member[P] {
	if plane == "" {
		return rest
	}
	var others, same []Member[P]
	for _, m := range rest {
		if m.Plane == plane {
			same = append(same, m)
		} else {
			others = append(others, m)
		}
	}
	return append(others, same...)
}
