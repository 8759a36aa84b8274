// Package fault scripts what goes wrong between a client and a server: it is
// how Jurymast's tests, drills and simulators make the other side fail.
//
// A [Plan] holds rules. The same plan drives a client ([Plan.RoundTripper]), a
// server ([Plan.Handler], [Plan.Listener]) and a dialer ([Plan.Dialer]), so one
// script can say "refuse the connection" and "do the work, lose the answer".
// Rules are decided in the order they were added; the first that matches acts.
// Random choices come from the plan's seed, never from the clock.
package fault

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what goes wrong.
type Kind uint8

// The kinds of fault. The comment says whether the server did the work.
const (
	None         Kind = iota
	Refuse            // connection refused; no work
	Blackhole         // connected or not, nothing ever answers; no work
	Latency           // the answer comes Delay later; work done
	Status            // the answer is Rule.Status; no work
	Reset             // the connection breaks before the answer; no work
	LoseResponse      // work done, then the connection breaks (after Delay) without an answer
	Truncate          // work done, the body ends half way; without a body all of the answer is lost
)

var kindNames = [...]string{
	"none", "refuse", "blackhole", "latency", "status",
	"reset", "lose_response", "truncate",
}

// String returns the kind's name, as used in drill scripts and records.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("fault.Kind(%d)", uint8(k))
}

// Rule is one scripted fault. Empty match fields match everything.
type Rule struct {
	Kind Kind

	Host   string // host name without port
	Method string // HTTP method
	Path   string // prefix of the URL path
	// Query are parameters that the URL must have, as in "action_name=contain": some
	// vendors tell their operations apart by nothing else.
	Query string

	Status int           // for Status; default 503
	Header http.Header   // for Status: added to the answer, such as Retry-After
	Body   string        // for Status; default empty
	Delay  time.Duration // for Latency and LoseResponse

	Rate  float64       // share of the matching requests hit, 0 < Rate < 1; 0 means all
	Count int           // stop after this many hits; 0 means never
	Start time.Duration // begin this long after Add
	For   time.Duration // stop this long after the beginning; 0 means never
}

// everyConnection reports whether the rule, while it lasts, refuses all there is.
func (r *Rule) everyConnection() bool { return r.Kind == Refuse && r.Host == "" && r.connection() }

// connection reports whether the rule strikes before a request can be read.
func (r *Rule) connection() bool {
	return (r.Kind == Refuse || r.Kind == Blackhole) && r.Method == "" && r.Path == "" && r.Query == "" && r.Rate == 0 && r.Count == 0
}

// inQuery reports whether the URL has every parameter of the rule.
func (r *Rule) inQuery(u *url.URL) bool {
	if r.Query == "" {
		return true
	}
	wanted, err := url.ParseQuery(r.Query)
	if err != nil {
		return false
	}
	there := u.Query()
	for name, values := range wanted {
		for _, v := range values {
			if !slices.Contains(there[name], v) {
				return false
			}
		}
	}
	return true
}

type active struct {
	Rule
	from, until time.Time // until zero: no end
	hits        int
	begin       *time.Timer // nil, or strikes when the rule begins
}

// Plan is a set of rules in force. The zero value is not usable; call [NewPlan].
// It is safe for concurrent use.
type Plan struct {
	mu     sync.Mutex
	rules  []*active
	rng    *rand.Rand
	struck []func() // called, outside the lock, when every connection begins to be refused
}

// NewPlan returns a plan without rules whose random choices follow from seed.
func NewPlan(seed uint64) *Plan {
	return &Plan{rng: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15))}
}

// Add puts a rule in force and returns a function that takes it out again.
func (p *Plan) Add(r Rule) (remove func()) {
	a := &active{Rule: r, from: time.Now().Add(r.Start)}
	if r.For > 0 {
		a.until = a.from.Add(r.For)
	}
	p.mu.Lock()
	p.rules = append(p.rules, a)
	if r.everyConnection() && r.Start > 0 {
		a.begin = time.AfterFunc(r.Start, p.strike)
	}
	p.mu.Unlock()
	if r.everyConnection() && r.Start <= 0 {
		p.strike()
	}
	return func() { p.remove(a) }
}

// Heal takes every rule out.
func (p *Plan) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.rules {
		a.stop()
	}
	p.rules = nil
}

// OnRefuse registers f to be called when a rule that refuses every connection
// begins: a server uses it to cut the connections it already has. A rule for one
// host does not call f, because a server's other hosts share its connections.
func (p *Plan) OnRefuse(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.struck = append(p.struck, f)
}

func (p *Plan) strike() {
	p.mu.Lock()
	struck := p.struck
	p.mu.Unlock()
	for _, f := range struck {
		f()
	}
}

func (a *active) stop() {
	if a.begin != nil {
		a.begin.Stop()
	}
}

func (p *Plan) remove(a *active) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.rules {
		if r == a {
			a.stop()
			p.rules = append(p.rules[:i:i], p.rules[i+1:]...)
			return
		}
	}
}

// Request decides what happens to a request; the rule's Kind is None if nothing.
func (p *Plan) Request(r *http.Request) Rule {
	host := r.URL.Hostname()
	if host == "" {
		host = hostname(r.Host)
	}
	return p.decide(func(a *active) bool {
		return (a.Host == "" || strings.EqualFold(a.Host, host)) &&
			(a.Method == "" || a.Method == r.Method) &&
			strings.HasPrefix(r.URL.Path, a.Path) && a.inQuery(r.URL)
	})
}

// Connect decides what happens to a new connection to host, or to one whose host
// is not known (""), as when a server accepts it: then only rules for all hosts
// can strike. Rules with a Method, Path, Query, Rate or Count strike requests only.
func (p *Plan) Connect(host string) Rule {
	host = hostname(host)
	return p.decide(func(a *active) bool {
		return a.connection() && (a.Host == "" || strings.EqualFold(a.Host, host))
	})
}

func (p *Plan) decide(match func(*active) bool) Rule {
	if p == nil {
		return Rule{}
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.rules {
		if now.Before(a.from) || (!a.until.IsZero() && !now.Before(a.until)) || !match(a) {
			continue
		}
		if a.Count > 0 && a.hits >= a.Count {
			continue
		}
		if a.Rate > 0 && p.rng.Float64() >= a.Rate {
			continue
		}
		a.hits++
		return a.Rule
	}
	return Rule{}
}

func hostname(hostport string) string {
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && !strings.HasSuffix(hostport, "]") {
		hostport = hostport[:i]
	}
	return strings.Trim(hostport, "[]")
}
