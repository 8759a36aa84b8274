package failover

import "time"

// Within returns the group with another Config.Total, for calls that take longer
// than most.
func (g *Group[P]) Within(total time.Duration) *Group[P] {
	out := *g
	out.cfg.Total = total
	return &out
}

// From returns the group whose calls begin with one provider, current or not, because
// the caller named it. A group that has none of this id stays as it is.
func (g *Group[P]) From(provider string) *Group[P] {
	out := *g
	if g.has(provider) {
		out.named = provider
	}
	return &out
}
