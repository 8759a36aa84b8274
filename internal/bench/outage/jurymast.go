package main

import (
	"context"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// jurymast is a policy for each provider and a group over both, whose reads may
// come from either.
func jurymast(primary, backup *provider) (client, error) {
	var members []failover.Member[dependency]
	for name, p := range map[string]*provider{"primary": primary, "backup": backup} {
		policy, err := resilience.New(name, resilience.Config{
			Attempt: attemptTimeout, Total: totalTimeout, Breaker: resilience.Breaker{OpenFor: openFor},
		})
		if err != nil {
			return nil, err
		}
		members = append(members, failover.Member[dependency]{ID: name, Value: dependency{policy, p}})
	}
	if members[0].ID != "primary" {
		members[0], members[1] = members[1], members[0]
	}
	group, err := failover.NewGroup(failover.Config{Capability: "outage", Total: totalTimeout}, members...)
	if err != nil {
		return nil, err
	}
	read := failover.Call{Name: "read", Kind: resilience.Read, Interchangeable: true}
	return func(ctx context.Context) (source, error) {
		res, err := failover.Do(ctx, group, read, func(ctx context.Context, g dependency) (source, error) {
			return resilience.Do(ctx, g.policy, resilience.Call{Name: "read", Kind: resilience.Read}, g.provider.read)
		})
		return res.Value, err
	}, nil
}

// dependency is a provider behind its policy.
type dependency struct {
	policy   *resilience.Policy
	provider *provider
}
