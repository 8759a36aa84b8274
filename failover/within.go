package failover

import (
	"slices"
	"time"
)

// Within returns the group with another Config.Total, for calls that take longer
// than most.
func (g *Group[P]) Within(total time.Duration) *Group[P] {
	out := *g
	out.cfg.Total = total
	return &out
}

// From returns the group with one provider before all others, for calls in which
// the caller named it. A group without it stays as it is.
func (g *Group[P]) From(provider string) *Group[P] {
	out := *g
	out.members = slices.Clone(g.members)
	slices.SortStableFunc(out.members, func(a, b Member[P]) int {
		switch {
		case a.ID == b.ID:
			return 0
		case a.ID == provider:
			return -1
		case b.ID == provider:
			return 1
		}
		return 0
	})
	return &out
}
