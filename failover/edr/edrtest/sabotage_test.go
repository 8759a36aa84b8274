package edrtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

// recorder is a test that is watched: what it reports is kept.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	skipped  bool
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}
func (r *recorder) Error(args ...any)                 { r.Errorf("%s", fmt.Sprint(args...)) }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }
func (r *recorder) Skipf(string, ...any)              { r.skipped = true; runtime.Goexit() }
func (r *recorder) Logf(string, ...any)               {}

// watch runs a check and returns what it reported.
func watch(t *testing.T, c check, vendor func() Vendor) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.on(r, vendor)
	}()
	<-done
	return r
}

// The ways to break a driver. What stays nil works.
type badIsolator struct {
	edr.Isolator
	state            func(ctx context.Context, id string) (edr.State, error)
	isolate, release effect
}

func (i badIsolator) State(ctx context.Context, id string) (edr.State, error) {
	if i.state != nil {
		return i.state(ctx, id)
	}
	return i.Isolator.State(ctx, id)
}

func (i badIsolator) Isolate(ctx context.Context, id string, in edr.Intent) (failover.Outcome, error) {
	if i.isolate != nil {
		return i.isolate(ctx, id)
	}
	return i.Isolator.Isolate(ctx, id, in)
}

func (i badIsolator) Release(ctx context.Context, id string, in edr.Intent) (failover.Outcome, error) {
	if i.release != nil {
		return i.release(ctx, id)
	}
	return i.Isolator.Release(ctx, id, in)
}

type (
	finderFunc func(context.Context, edr.Query) iter.Seq2[edr.Record, error]
	holderFunc func(context.Context) iter.Seq2[edr.Record, error]
	proberFunc func(context.Context) error
	scanFunc   effect
)

func (f finderFunc) Find(ctx context.Context, q edr.Query) iter.Seq2[edr.Record, error] {
	return f(ctx, q)
}
func (f holderFunc) Held(ctx context.Context) iter.Seq2[edr.Record, error] { return f(ctx) }
func (f proberFunc) Probe(ctx context.Context) error                       { return f(ctx) }
func (f scanFunc) Scan(ctx context.Context, id string, _ edr.ScanKind, _ edr.Intent) (failover.Outcome, error) {
	return f(ctx, id)
}

type list = iter.Seq2[edr.Record, error]

// onEach changes the items of a list.
func onEach(l list, change func(edr.Record, error) (edr.Record, error, bool)) list {
	return func(yield func(edr.Record, error) bool) {
		for r, err := range l {
			r, err, keep := change(r, err)
			if keep && !yield(r, err) {
				return
			}
		}
	}
}

// broken is a Fake and its driver, to be broken.
type broken struct {
	f *Fake
	*edr.Driver
	good edr.Driver
	t    *testing.T
}

// finds breaks Find; holds breaks Held.
func (b broken) finds(change func(q edr.Query, l list) list) {
	b.Find = finderFunc(func(ctx context.Context, q edr.Query) list { return change(q, b.good.Find.Find(ctx, q)) })
}

func (b broken) holds(change func(l list) list) {
	b.Held = holderFunc(func(ctx context.Context) list { return change(b.good.Held.Held(ctx)) })
}

// acts breaks both effects on isolation.
func (b broken) acts(change func(verb edr.Verb, do effect) effect) {
	b.Isolate = badIsolator{
		Isolator: b.good.Isolate,
		isolate: change(edr.VerbContain, func(ctx context.Context, id string) (failover.Outcome, error) {
			return b.good.Isolate.Isolate(ctx, id, intent)
		}),
		release: change(edr.VerbRelease, func(ctx context.Context, id string) (failover.Outcome, error) {
			return b.good.Isolate.Release(ctx, id, intent)
		}),
	}
}

func (b broken) scans(change func(do effect) effect) {
	b.Scan = scanFunc(change(func(ctx context.Context, id string) (failover.Outcome, error) {
		return b.good.Scan.Scan(ctx, id, edr.QuickScan, intent)
	}))
}

// everything breaks all effects.
func (b broken) everything(change func(verb edr.Verb, do effect) effect) {
	b.acts(change)
	b.scans(func(do effect) effect { return change(edr.VerbScan, do) })
}

func (b broken) states(state func(ctx context.Context, id string) (edr.State, error)) {
	b.Isolate = badIsolator{Isolator: b.good.Isolate, state: state}
}

var counter atomic.Int64

// sabotages are what drivers have got wrong, or might, and the checks that see it.
var sabotages = []struct {
	name   string
	caught string // checks that must see it, others may too: the beginnings of their names, by "|"
	do     func(broken)
}{
	{"a provider's id that changes", "the provider", func(b broken) { b.Provider = fmt.Sprint("fake/", counter.Add(1)) }},
	{"no provider's id", "the provider|a fleet", func(b broken) { b.Provider = "" }},
	{"a limit that no containment fits", "a fleet", func(b broken) { b.Limits = []edr.Limit{{}} }},
	{"names are compared with their case", "a host is found by its name|a host is found by its full name", func(b broken) {
		b.finds(func(q edr.Query, l list) list {
			return onEach(l, func(r edr.Record, err error) (edr.Record, error, bool) {
				return r, err, q.Name == "" || q.Name == r.Hostname
			})
		})
	}},
	{"an unknown host is an error", "an unknown name|an unknown id", func(b broken) {
		b.finds(func(_ edr.Query, l list) list {
			return func(yield func(edr.Record, error) bool) {
				n := 0
				for r, err := range l {
					if n++; !yield(r, err) {
						return
					}
				}
				if n == 0 {
					yield(edr.Record{}, errors.New("not found"))
				}
			}
		})
	}},
	{"every host answers to every name and id", "an unknown name", func(b broken) {
		b.Find = finderFunc(func(ctx context.Context, q edr.Query) list {
			return onEach(b.good.Find.Find(ctx, edr.Query{}), func(r edr.Record, err error) (edr.Record, error, bool) {
				if q.Name != "" {
					r.Hostname, r.FQDN = q.Name, ""
				}
				return r, err, true
			})
		})
	}},
	{"an unknown id yields an empty record", "an unknown id", func(b broken) {
		b.finds(func(q edr.Query, l list) list {
			return func(yield func(edr.Record, error) bool) {
				n := 0
				for r, err := range l {
					if n++; !yield(r, err) {
						return
					}
				}
				if n == 0 && q.ID != "" {
					yield(edr.Record{}, nil)
				}
			}
		})
	}},
	{"the last page is lost", "the empty query", func(b broken) {
		b.finds(func(q edr.Query, l list) list {
			return onEach(l, func(r edr.Record, err error) (edr.Record, error, bool) {
				return r, err, q != edr.Query{} || r.ID != "id-b"
			})
		})
	}},
	{"a page comes twice", "the empty query|a host is found by its id", func(b broken) {
		b.finds(func(_ edr.Query, l list) list {
			return func(yield func(edr.Record, error) bool) {
				for range 2 {
					for r, err := range l {
						if !yield(r, err) {
							return
						}
					}
				}
			}
		})
	}},
	{"a list goes on after it was broken off", "a list that is broken off", func(b broken) {
		b.finds(func(_ edr.Query, l list) list {
			return func(yield func(edr.Record, error) bool) {
				for r, err := range l {
					yield(r, err)
				}
			}
		})
	}},
	{"a list that fails is an empty one", "a list that fails|held that fails", func(b broken) {
		drop := func(r edr.Record, err error) (edr.Record, error, bool) { return r, err, err == nil }
		b.finds(func(_ edr.Query, l list) list { return onEach(l, drop) })
		b.holds(func(l list) list { return onEach(l, drop) })
	}},
	{"a list goes on after an error", "a list that fails|held that fails", func(b broken) {
		again := func(l list) list {
			return func(yield func(edr.Record, error) bool) {
				for r, err := range l {
					if !yield(r, err) || err != nil && !yield(edr.Record{ID: "id-b", Hostname: "ws-002"}, nil) {
						return
					}
				}
			}
		}
		b.finds(func(_ edr.Query, l list) list { return again(l) })
		b.holds(again)
	}},
	{"a state that cannot be read is not contained", "a state that cannot be read", func(b broken) {
		b.states(func(ctx context.Context, id string) (edr.State, error) {
			if s, err := b.good.Isolate.State(ctx, id); err == nil {
				return s, nil
			}
			return edr.NotContained, nil
		})
	}},
	{"records say that nothing is contained", "the state of a record", func(b broken) {
		b.finds(func(_ edr.Query, l list) list {
			return onEach(l, func(r edr.Record, err error) (edr.Record, error, bool) {
				r.State = edr.NotContained
				return r, err, true
			})
		})
	}},
	{"already, and nothing was done", "isolate holds|release lets|scan is asked", func(b broken) {
		b.everything(func(edr.Verb, effect) effect {
			return func(context.Context, string) (failover.Outcome, error) { return failover.Already, nil }
		})
	}},
	{"done, and nothing was", "isolate holds|release during", func(b broken) {
		b.everything(func(edr.Verb, effect) effect {
			return func(context.Context, string) (failover.Outcome, error) { return failover.Applied, nil }
		})
	}},
	{"another host is isolated", "isolate holds|release lets|scan is asked", func(b broken) {
		b.everything(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				return do(ctx, map[string]string{"id-a": "id-b", "id-b": "id-a"}[id])
			}
		})
	}},
	{"another host is isolated as well", "isolate holds", func(b broken) {
		b.acts(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				_, _ = do(ctx, "id-b")
				return do(ctx, id)
			}
		})
	}},
	{"sends without looking first", "isolate again|release again|release of a host|a containment made elsewhere", func(b broken) {
		b.acts(func(verb edr.Verb, _ effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				d := fakeDriver{b.f}
				if err := d.reach(ctx); err != nil {
					return failover.Unset, resilience.BeforeSending(err)
				}
				return d.send(verb, id)
			}
		})
	}},
	{"sends, and says already if it was so", "isolate again|release again|release of a host", func(b broken) {
		b.acts(func(verb edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				if o == failover.Already {
					_, _ = b.f.carryOut(verb, id)
				}
				return o, err
			}
		})
	}},
	{"sends again when the answer is lost", "isolate whose answer|release whose answer|scan whose answer", func(b broken) {
		b.everything(func(verb edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				if resilience.Of(err).Class == resilience.Broken {
					_, _ = b.f.carryOut(verb, id)
				}
				return o, err
			}
		})
	}},
	{"not sent, after sending", "isolate whose answer|release whose answer|scan whose answer", func(b broken) {
		b.everything(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				return o, resilience.BeforeSending(err)
			}
		})
	}},
	{"a lost answer is a refusal", "isolate whose answer|release whose answer|scan whose answer", func(b broken) {
		b.everything(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				if resilience.Of(err).Class == resilience.Broken {
					err = b.f.errorOf(resilience.Broken, resilience.Answered, "refused")
				}
				return o, err
			}
		})
	}},
	{"an outcome of failure without an error", "isolate whose answer|release whose answer|scan whose answer|isolate that fails|release that fails|scan that fails", func(b broken) {
		b.everything(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				if err != nil {
					return failover.Unknown, nil
				}
				return o, nil
			}
		})
	}},
	{"errors that do not say what was sent", "isolate that fails|release that fails|scan that fails|isolate of an unknown|a context that has ended|a vendor that hangs", func(b broken) {
		b.everything(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				switch {
				case ctx.Err() != nil:
					err = ctx.Err()
				case err != nil:
					err = errors.New(err.Error())
				}
				return o, err
			}
		})
	}},
	{"an unknown host is contained already", "isolate of an unknown", func(b broken) {
		b.acts(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				if resilience.Of(err).Class == resilience.NotFound {
					return failover.Already, nil
				}
				return o, err
			}
		})
	}},
	{"release during an isolation has nothing to do", "release during", func(b broken) {
		b.acts(func(verb edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				if verb == edr.VerbRelease && resilience.Of(err).Class == resilience.Conflict {
					return failover.Already, nil
				}
				return o, err
			}
		})
	}},
	{"release during an isolation is wrong", "release during", func(b broken) {
		b.acts(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				o, err := do(ctx, id)
				if resilience.Of(err).Class == resilience.Conflict {
					err = b.f.errorOf(resilience.Rejected, resilience.Answered, "bad request")
				}
				return o, err
			}
		})
	}},
	{"knows only the containments that it made", "a containment made elsewhere", func(b broken) {
		b.states(func(ctx context.Context, id string) (edr.State, error) {
			s, err := b.good.Isolate.State(ctx, id)
			if b.f.Effects(id).Isolated == 0 && err == nil {
				s = edr.NotContained
			}
			return s, err
		})
	}},
	{"held lists only what is done", "held lists", func(b broken) {
		b.holds(func(l list) list {
			return onEach(l, func(r edr.Record, err error) (edr.Record, error, bool) {
				return r, err, err != nil || r.State == edr.Contained
			})
		})
	}},
	{"held lists one", "held lists", func(b broken) {
		b.holds(func(l list) list {
			return func(yield func(edr.Record, error) bool) {
				for r, err := range l {
					yield(r, err)
					return
				}
			}
		})
	}},
	{"held lists all", "held lists", func(b broken) {
		b.Held = holderFunc(func(ctx context.Context) list { return b.good.Find.Find(ctx, edr.Query{}) })
	}},
	{"held lists what the API contained", "a containment made elsewhere", func(b broken) {
		b.holds(func(l list) list {
			return onEach(l, func(r edr.Record, err error) (edr.Record, error, bool) {
				return r, err, err != nil || b.f.Effects(r.ID).Isolated > 0
			})
		})
	}},
	{"a probe that is always well", "probe tells", func(b broken) {
		b.Probe = proberFunc(func(context.Context) error { return nil })
	}},
	{"a probe that never is", "probe tells", func(b broken) {
		b.Probe = proberFunc(func(context.Context) error { return errors.New("no permission") })
	}},
	{"effects do not look at their context", "a context that has ended|a vendor that hangs", func(b broken) {
		b.everything(func(_ edr.Verb, do effect) effect {
			return func(ctx context.Context, id string) (failover.Outcome, error) {
				return do(context.WithoutCancel(ctx), id)
			}
		})
	}},
	{"reads do not look at their context", "a context that has ended|a vendor that hangs", func(b broken) {
		b.Find = finderFunc(func(ctx context.Context, q edr.Query) list { return b.good.Find.Find(context.WithoutCancel(ctx), q) })
		b.Held = holderFunc(func(ctx context.Context) list { return b.good.Held.Held(context.WithoutCancel(ctx)) })
		b.Probe = proberFunc(func(ctx context.Context) error { return b.good.Probe.Probe(context.WithoutCancel(ctx)) })
		b.states(func(ctx context.Context, id string) (edr.State, error) {
			return b.good.Isolate.State(context.WithoutCancel(ctx), id)
		})
	}},
	{"one call at a time", "calls at the same time", func(b broken) {
		var busy atomic.Int32
		b.states(func(ctx context.Context, id string) (edr.State, error) {
			defer busy.Add(-1)
			if busy.Add(1) > 1 {
				return edr.StateUnknown, errors.New("busy")
			}
			time.Sleep(time.Millisecond)
			return b.good.Isolate.State(ctx, id)
		})
	}},
	{"a goroutine is left behind by every call", "no goroutine", func(b broken) {
		stop := make(chan struct{})
		b.t.Cleanup(func() { close(stop) })
		b.states(func(ctx context.Context, id string) (edr.State, error) {
			go func() { <-stop }()
			return b.good.Isolate.State(ctx, id)
		})
	}},
}

// vendorOf is a Fake whose actions take a second, as it is or broken.
func vendorOf(t *testing.T, sabotage func(broken)) Vendor {
	hosts := [2]edr.Record{{ID: "id-a", Hostname: "ws-001", FQDN: "ws-001.corp.example"}, {ID: "id-b", Hostname: "ws-002"}}
	f := NewFake("fake/1", hosts[:]...)
	f.SetActionTime(time.Second)
	d := f.Driver()
	if sabotage != nil {
		sabotage(broken{f: f, Driver: &d, good: d, t: t})
	}
	return Vendor{
		Driver: d, Hosts: hosts,
		Down: f.Down, LoseAnswers: f.LoseAnswers, Hang: f.Hang, Contain: f.Contain, Held: f.Held, Effects: f.Effects,
	}
}

// A suite that cannot fail proves nothing: each way to break a driver is seen by the
// checks that are meant for it, and each check sees something.
func TestTheSuiteSeesDriversThatAreBroken(t *testing.T) {
	sees := map[string]bool{}
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) {
			var caught []string
			for _, c := range checks {
				synctest.Test(t, func(t *testing.T) {
					r := watch(t, c, func() Vendor { return vendorOf(t, s.do) })
					if len(r.failures) > 0 {
						t.Logf("%s: %s", c.name, r.failures[0])
						caught = append(caught, c.name)
						sees[c.name] = true
					}
				})
			}
			for want := range strings.SplitSeq(s.caught, "|") {
				if !slices.ContainsFunc(caught, func(name string) bool { return strings.HasPrefix(name, want) }) {
					t.Errorf("not seen by %q", want)
				}
			}
		})
	}
	for _, c := range checks {
		if !sees[c.name] {
			t.Errorf("the check %q never failed", c.name)
		}
	}
}

// As Defender does it: asked twice, it does it twice, and the host stays held.
func TestFakeCarriesOutWhatIsSoAlready(t *testing.T) {
	f := NewFake("fake", edr.Record{ID: "x", State: edr.Contained})
	f.SetActionTime(time.Hour)
	if pending, err := f.carryOut(edr.VerbContain, "x"); pending || err != nil || !f.Held("x") || f.Effects("x").Isolated != 1 {
		t.Errorf("%v, %v, held %v", pending, err, f.Held("x"))
	}
}

// What a Vendor does not offer is skipped, and everything else still runs.
func TestTheSuiteSkipsWhatIsNotThere(t *testing.T) {
	skipped := 0
	for _, c := range checks {
		synctest.Test(t, func(t *testing.T) {
			r := watch(t, c, func() Vendor {
				v := vendorOf(t, nil)
				v.Driver = edr.Driver{Provider: v.Driver.Provider, Find: v.Driver.Find, Isolate: v.Driver.Isolate}
				v.Hosts[0].FQDN = ""
				return Vendor{Driver: v.Driver, Hosts: v.Hosts}
			})
			if len(r.failures) > 0 {
				t.Errorf("%s: %s", c.name, r.failures)
			}
			if r.skipped {
				skipped++
			}
		})
	}
	if want := 15; skipped != want {
		t.Errorf("%d checks skipped, want %d", skipped, want)
	}
}
