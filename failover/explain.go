package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Explanation is what [Group.Explain] tells: a value for status pages, and by
// String a text for people. The texts of failures are the providers' own, cut
// short, and may quote the other side.
type Explanation struct {
	Capability string     `json:"capability"`
	Current    string     `json:"current"`             // calls begin there; "" if all are cordoned
	Since      time.Time  `json:"since,omitzero"`      // the last switch; zero: never
	Providers  []Standing `json:"providers"`           // in order of preference
	Switches   []Switch   `json:"switches"`            // the latest eight, the newest last
	Failback   *Failback  `json:"failback,omitempty"`  // nil while there is none to wait for
	HeldUntil  time.Time  `json:"held_until,omitzero"` // no switch before, if that is to come
}

// Standing is how one provider stands.
type Standing struct {
	Provider string       `json:"provider"`
	Plane    string       `json:"plane,omitempty"`
	Current  bool         `json:"current"`
	Cordon   *Cordon      `json:"cordon,omitempty"`
	Failures int          `json:"failures"` // in a row, that speak against its health
	Last     *LastFailure `json:"last,omitempty"`
	Good     int          `json:"good"` // probes and trials in a row, since the last switch
}

// LastFailure is the latest failure that spoke against a provider.
type LastFailure struct {
	At    time.Time        `json:"at"`
	Class resilience.Class `json:"class"`
	Text  string           `json:"text"` // 300 bytes of it at most
}

// Switch is a change of the provider that calls begin with.
type Switch struct {
	From string    `json:"from"`
	To   string    `json:"to"`
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
}

// Failback is what has to happen before calls begin with a more preferred provider
// again.
type Failback struct {
	To        []string  `json:"to"`         // any of these, in order of preference
	Good      int       `json:"good"`       // probes or trials that it needs in a row
	NotBefore time.Time `json:"not_before"` // Config.Hold after the last switch
	Probed    bool      `json:"probed"`     // by a Run; otherwise reads try
}

// Current returns the id of the provider that calls begin with: the most preferred
// one, unless it has failed ([Config].SwitchAfter) and has not proved itself since.
// A cordoned provider is not current: the next below it stands in until Uncordon. ""
// if all are cordoned.
func (g *Group[P]) Current() string {
	p := g.preference
	p.mu.Lock()
	defer p.mu.Unlock()
	return g.current()
}

// current is Current; the preference's mu is held.
func (g *Group[P]) current() string {
	i := g.preference.lead(func(i int) bool { return g.has(g.preference.ids[i]) && g.preference.usable(i) })
	if i == none {
		return ""
	}
	return g.preference.ids[i]
}

func (g *Group[P]) has(id string) bool {
	return slices.ContainsFunc(g.members, func(m Member[P]) bool { return m.ID == id })
}

// Explain tells which provider is current and why, how each stands, and what has to
// happen for a failback.
func (g *Group[P]) Explain() Explanation {
	p := g.preference
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Explanation{Capability: g.cfg.Capability, Current: g.current(), Since: p.moved, Switches: slices.Clone(p.switches)}
	if p.held(time.Now()) {
		e.HeldUntil = p.moved.Add(p.hold)
	}
	var above []string
	passed := false
	for _, m := range g.members {
		h := p.health[p.rank[m.ID]]
		s := Standing{Provider: m.ID, Plane: m.Plane, Current: m.ID == e.Current, Failures: h.failures, Good: h.good}
		if c, ok := p.cordons.of(m.ID); ok {
			s.Cordon = &c
		}
		if !h.last.At.IsZero() {
			s.Last = &h.last
		}
		passed = passed || s.Current
		if !passed && s.Cordon == nil {
			above = append(above, m.ID)
		}
		e.Providers = append(e.Providers, s)
	}
	if len(above) > 0 && e.Current != "" {
		e.Failback = &Failback{To: above, Good: p.back, NotBefore: p.moved.Add(p.hold), Probed: p.probing > 0}
	}
	return e
}

// String tells it one thing a line.
func (e Explanation) String() string {
	var b strings.Builder
	if e.Current == "" {
		fmt.Fprintf(&b, "%s: no provider is left", e.Capability)
	} else {
		fmt.Fprintf(&b, "%s: calls begin with %s", e.Capability, e.Current)
	}
	if !e.Since.IsZero() {
		fmt.Fprintf(&b, "; the last switch was at %s", clock(e.Since))
	}
	if d := time.Until(e.HeldUntil); d > 0 {
		fmt.Fprintf(&b, "; no other for %v", d.Round(time.Millisecond))
	}
	for _, s := range e.Providers {
		fmt.Fprintf(&b, "\n  %s", s)
	}
	if f := e.Failback; f != nil {
		who := "reads try it, one at a time"
		if f.Probed {
			who = "it is being probed"
		}
		fmt.Fprintf(&b, "\n  back to %s after %d good answers in a row, not before %s: %s", strings.Join(f.To, " or "), f.Good, clock(f.NotBefore), who)
	}
	for _, s := range e.Switches {
		fmt.Fprintf(&b, "\n  %s", s)
	}
	return b.String()
}

// String tells it in a line.
func (s Standing) String() string {
	var b strings.Builder
	b.WriteString(s.Provider)
	if s.Plane != "" {
		fmt.Fprintf(&b, " (%s)", s.Plane)
	}
	b.WriteString(":")
	if s.Current {
		b.WriteString(" current;")
	}
	if s.Cordon != nil {
		fmt.Fprintf(&b, " cordoned by %s since %s: %s;", s.Cordon.Who, clock(s.Cordon.Since), s.Cordon.Reason)
	}
	fmt.Fprintf(&b, " failures in a row: %d", s.Failures)
	if s.Good > 0 {
		fmt.Fprintf(&b, ", good probes: %d", s.Good)
	}
	if s.Last != nil {
		fmt.Fprintf(&b, "; the last failure was at %s: %s: %s", clock(s.Last.At), s.Last.Class, s.Last.Text)
	}
	return b.String()
}

// String tells it in a line.
func (s Switch) String() string {
	return fmt.Sprintf("%s switched from %s to %s: %s", clock(s.At), s.From, s.To, s.Why)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000Z") }
