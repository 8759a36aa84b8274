package failover

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Cordon keeps calls away from a provider, because somebody said so.
type Cordon struct {
	Provider string    `json:"provider"`
	Reason   string    `json:"reason"`
	Who      string    `json:"who"` // a person or a program
	Since    time.Time `json:"since"`
}

// ErrCordoned is matched by the gap of a provider that was not asked because of a
// [Cordon].
var ErrCordoned = errors.New("cordoned")

// CordonedError says who keeps calls away from a provider, and why.
type CordonedError struct{ Cordon Cordon }

// Error names who, why and since when.
func (e *CordonedError) Error() string {
	return fmt.Sprintf("cordoned by %s since %s: %s", e.Cordon.Who, e.Cordon.Since.Format(time.RFC3339), e.Cordon.Reason)
}

// Is matches ErrCordoned.
func (e *CordonedError) Is(target error) bool { return target == ErrCordoned }

// Failure makes CordonedError Classified.
func (e *CordonedError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Open, Sent: resilience.NotSent}
}

// Cordon keeps calls away from a provider until Uncordon, whatever its state, for
// the reason that somebody gives: a vendor whose answers are not to be trusted, an
// exercise. A call that has to happen there all the same says so by
// Call.EvenCordoned. A second Cordon replaces the first. It lasts as long as the
// process.
func (g *Group[P]) Cordon(provider, reason, who string) error {
	switch {
	case !slices.ContainsFunc(g.members, func(m Member[P]) bool { return m.ID == provider }):
		return resilience.Misusef("failover: group %s has no provider %q: it has %v", g.cfg.Capability, provider, g.ids(len(g.members)))
	case reason == "" || who == "":
		return resilience.Misusef("failover: a cordon of %s needs a reason and who wants it", provider)
	}
	c := Cordon{Provider: provider, Reason: reason, Who: who, Since: time.Now()}
	g.cordons.mu.Lock()
	defer g.cordons.mu.Unlock()
	g.cordons.byID[provider] = c
	g.cfg.Logger.Warn("cordoned", string(keyCapability), g.cfg.Capability, string(keyProvider), provider, "reason", reason, "who", who)
	return nil
}

// Uncordon lets calls to a provider again and reports whether it was cordoned.
func (g *Group[P]) Uncordon(provider string) bool {
	g.cordons.mu.Lock()
	defer g.cordons.mu.Unlock()
	_, was := g.cordons.byID[provider]
	if delete(g.cordons.byID, provider); was {
		g.cfg.Logger.Warn("uncordoned", string(keyCapability), g.cfg.Capability, string(keyProvider), provider)
	}
	return was
}

// Cordons lists the cordons in force, in order of preference.
func (g *Group[P]) Cordons() []Cordon {
	var out []Cordon
	for _, m := range g.members {
		if c, ok := g.cordons.of(m.ID); ok {
			out = append(out, c)
		}
	}
	return out
}

// cordons are those of a group and of all groups made from it.
type cordons struct {
	mu   sync.Mutex
	byID map[string]Cordon
}

func (c *cordons) of(provider string) (Cordon, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cordon, ok := c.byID[provider]
	return cordon, ok
}
