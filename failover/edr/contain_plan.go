package edr

import (
	"context"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// Plan is what Contain would do with a host.
type Plan struct {
	Host      Host
	Providers []string // who would be asked, in this order, each only if those before did nothing
	Held      []string // who holds the host already, as far as is known
}

// Plan finds a host and tells what Contain would do with it: a dry run. It sends
// nothing, and asks the vendors for the host only. Its error is the one that Contain
// would give before anything is sent, but for Guards.Approve, which is not asked.
func (f *Fleet) Plan(ctx context.Context, q Query) (failover.Result[Plan], error) {
	found, err := f.Find(ctx, q)
	out := failover.Result[Plan]{Served: found.Served, Gaps: found.Gaps}
	out.Value.Host = found.Value
	if err == nil {
		err = f.certain(found.Value)
	}
	if err == nil {
		err = f.mayContain(ctx, found.Value)
	}
	if err != nil {
		return out, describe(q, err)
	}
	for _, r := range found.Value.Records {
		if r.State.Holds() {
			out.Value.Held = append(out.Value.Held, r.Provider)
		}
	}
	named := q.Provider
	if named == "" {
		named = f.holder(ctx, found.Value)
	}
	// Asking nobody in the order in which they would be asked.
	_, _ = failover.Do(ctx, f.group.From(named), failover.Call{Name: "plan", Kind: resilience.Effect}, func(_ context.Context, d Driver) (struct{}, error) {
		if _, known := found.Value.Record(d.Provider); known && !hasGap(found.Gaps, d.Provider) {
			out.Value.Providers = append(out.Value.Providers, d.Provider)
		}
		return struct{}{}, elsewhere{errNotEnrolled}
	})
	return out, nil
}
