package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// preference is the provider that calls begin with, and what it takes to change
// it. It owns that decision: calls and probes tell it what they saw and then ask
// whether it is time for a change. Providers are numbers here, the preferred one 0.
type preference struct {
	ids     []string
	planes  []string
	rank    map[string]int // of an id
	cordons *cordons

	after int           // failures in a row that make the current one unfit
	back  int           // good probes in a row that a failback needs
	hold  time.Duration // at least, between two changes

	mu       sync.Mutex
	current  int
	moved    time.Time // the last change; zero: never
	health   []health
	trial    int // the provider that a read is trying; none: -1
	probing  int // so many Runs probe in the reads' place
	switches []Switch
}

// health is what is known of one provider.
type health struct {
	failures int // that speak against it, in a row
	last     LastFailure
	good     int       // probes and trials in a row, since the last change
	trialAt  time.Time // no trial before
}

const (
	none         = -1
	keptSwitches = 8   // for Explain
	keptText     = 300 // bytes of an error
)

func newPreference(cfg Config, c *cordons) *preference {
	return &preference{
		rank: map[string]int{}, cordons: c, trial: none,
		after: cfg.SwitchAfter, back: cfg.FailbackAfter, hold: cfg.Hold,
	}
}

func (p *preference) add(id, plane string) {
	p.rank[id] = len(p.ids)
	p.ids, p.planes, p.health = append(p.ids, id), append(p.planes, plane), append(p.health, health{})
}

// speaksAgainst reports whether a call's failure says something of the provider's
// health. One that does not know a host, or refuses a wrong request, is well; who
// leaves early says nothing.
func speaksAgainst(ctx context.Context, f resilience.Failure) bool {
	return f.Class.TryNext() && !resilience.CallerLeft(ctx)
}

// lead is with whom to begin, of those that can be asked: the current one, else the
// next below it, else the most preferred: those above the current one were left for
// a reason. mu is held.
func (p *preference) lead(can func(int) bool) int {
	for n := range p.ids {
		if i := (p.current + n) % len(p.ids); can(i) {
			return i
		}
	}
	return none
}

func (p *preference) usable(i int) bool {
	_, cordoned := p.cordons.of(p.ids[i])
	return !cordoned
}

// held: the last change is too young for another; mu is held.
func (p *preference) held(now time.Time) bool {
	return !p.moved.IsZero() && now.Sub(p.moved) < p.hold
}

// begin says with whom of some providers a call begins, and who is tried before
// that, if trials are wanted and one is due. A trial ends with endTrial.
func (p *preference) begin(some []int, trials bool, now time.Time) (lead, trial int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lead = p.lead(func(i int) bool { return slices.Contains(some, i) })
	if !trials || p.probing > 0 || p.trial != none || p.held(now) {
		return lead, none
	}
	for i := range lead {
		if slices.Contains(some, i) && p.usable(i) && !now.Before(p.health[i].trialAt) {
			p.trial = i
			return lead, i
		}
	}
	return lead, none
}

// endTrial lets the next trial be: at once, or of the same provider only after a
// while.
func (p *preference) endTrial(now time.Time, wait bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait {
		p.health[p.trial].trialAt = now.Add(p.hold)
	}
	p.trial = none
}

// failed notes what speaks against a provider.
func (p *preference) failed(i int, class resilience.Class, text string, now time.Time) {
	if len(text) > keptText {
		text = strings.ToValidUTF8(text[:keptText], "") + "..."
	}
	text = strings.Join(strings.Fields(text), " ") // on one line
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.health[i]
	h.failures++
	h.good = 0
	h.last = LastFailure{At: now, Class: class, Text: text}
}

// answered notes a sign of life, which need not be what was wanted.
func (p *preference) answered(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health[i].failures = 0
}

// proved notes a good probe or trial.
func (p *preference) proved(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health[i].failures = 0
	p.health[i].good++
}

// unfit says why calls should not begin with a provider, "" if they may; mu is held.
func (p *preference) unfit(i int) string {
	switch h := &p.health[i]; {
	case h.failures > 0 && h.last.Class == resilience.Open:
		return "its breaker refuses calls"
	case h.failures >= p.after:
		return fmt.Sprintf("failures in a row: %d, the last one: %s", h.failures, h.last.Class)
	}
	return ""
}

// reconsider changes the current provider if it is time to. It is asked after
// anything was learned.
func (p *preference) reconsider(now time.Time) (Switch, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := p.lead(p.usable)
	if from == none || p.held(now) {
		return Switch{}, false
	}
	to, why := p.better(from), ""
	if to != none {
		why = fmt.Sprintf("good %d times in a row", p.health[to].good)
	} else if why = p.unfit(from); why != "" {
		to = p.substitute(from, now)
	}
	if to == none {
		return Switch{}, false
	}
	p.current, p.moved = to, now
	for i := range p.health {
		p.health[i].good = 0 // what was proved before says little of now
	}
	s := Switch{From: p.ids[from], To: p.ids[to], Why: why, At: now}
	p.switches = append(p.switches, s)
	if n := len(p.switches) - keptSwitches; n > 0 {
		p.switches = slices.Delete(p.switches, 0, n)
	}
	return s, true
}

// better is the most preferred provider above the current one that has proved
// itself; mu is held.
func (p *preference) better(than int) int {
	for i := range than {
		if p.health[i].good >= p.back && p.usable(i) {
			return i
		}
	}
	return none
}

// substitute is the provider with the fewest failures in a row, unless all are as
// unfit; of several, one on another plane, and then the most preferred. Failures
// older than the hold say nothing any more. mu is held.
func (p *preference) substitute(of int, now time.Time) int {
	best, fewest := none, p.after
	for _, samePlane := range []bool{false, true} {
		for i := range p.ids {
			if i == of || samePlane != (p.planes[of] != "" && p.planes[i] == p.planes[of]) || !p.usable(i) {
				continue
			}
			n := 0
			if now.Sub(p.health[i].last.At) < p.hold {
				if n = p.health[i].failures; p.unfit(i) != "" {
					n = p.after
				}
			}
			if n < fewest {
				best, fewest = i, n
			}
		}
	}
	return best
}

// worthProbing reports whether a provider may be better than the current one.
func (p *preference) worthProbing(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return i < p.lead(p.usable) && p.usable(i)
}

// probes counts the Runs.
func (p *preference) probes(more int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probing += more
}
