package edrtest

import (
	"slices"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

func isolateHolds(b *bench) {
	a, other := b.a().ID, b.b().ID
	b.does("isolate", b.isolate, a)
	b.becomes(a, "held", edr.State.Holds)
	b.becomesHeld(a)
	b.carriedOut(a, Effects{Isolated: 1})
	b.carriedOut(other, Effects{})
	if s, err := b.Driver.Isolate.State(b.Context(), other); err != nil || s != edr.NotContained {
		b.Errorf("the other host is %v, %v", s, err)
	}
	if b.Vendor.Held != nil && b.Held(other) {
		b.Error("the other host is cut off")
	}
}

func isolateTwice(b *bench) {
	id := b.a().ID
	b.does("isolate", b.isolate, id)
	b.isAlready("isolate, under way", b.isolate, id)
	b.becomesHeld(id)
	b.isAlready("isolate, done", b.isolate, id)
	b.carriedOut(id, Effects{Isolated: 1})
}

func isolateNotSent(b *bench) {
	b.needs("Down", b.Down != nil)
	id := b.a().ID
	b.breaks(b.Down, func() {
		o, err := b.isolate(b.Context(), id)
		b.isNotSent("isolate", o, err)
	})
	b.becomesFree(id)
	b.carriedOut(id, Effects{})
	b.does("isolate, healed", b.isolate, id)
}

func isolateLost(b *bench) {
	b.needs("LoseAnswers", b.LoseAnswers != nil)
	id := b.a().ID
	b.breaks(b.LoseAnswers, func() {
		o, err := b.isolate(b.Context(), id)
		b.maySent("isolate", o, err)
	})
	b.becomesHeld(id)
	b.carriedOut(id, Effects{Isolated: 1})
	b.isAlready("isolate, healed", b.isolate, id)
	b.carriedOut(id, Effects{Isolated: 1})
}

func isolateUnknown(b *bench) {
	o, err := b.isolate(b.Context(), b.stranger())
	if err == nil || resilience.Of(err).Sent == resilience.MaybeSent {
		b.Errorf("%v, %v, want an error that says that nothing was done", o, err)
	}
	for _, h := range b.Hosts {
		b.carriedOut(h.ID, Effects{})
	}
}

// held isolates a host and waits until it is held.
func (b *bench) held(id string) {
	b.Helper()
	b.does("isolate", b.isolate, id)
	b.becomesHeld(id)
}

func releaseLetsGo(b *bench) {
	a, other := b.a().ID, b.b().ID
	b.held(a)
	b.held(other)
	b.does("release", b.release, a)
	b.becomesFree(a)
	b.carriedOut(a, Effects{Isolated: 1, Released: 1})
	b.carriedOut(other, Effects{Isolated: 1})
	if s, err := b.Driver.Isolate.State(b.Context(), other); err != nil || s != edr.Contained {
		b.Errorf("the other host is %v, %v", s, err)
	}
	b.does("isolate again", b.isolate, a)
	b.becomesHeld(a)
}

func releaseTwice(b *bench) {
	id := b.a().ID
	b.held(id)
	b.does("release", b.release, id)
	b.isAlready("release, under way", b.release, id)
	b.becomesFree(id)
	b.isAlready("release, done", b.release, id)
	b.carriedOut(id, Effects{Isolated: 1, Released: 1})
}

func releaseNeverHeld(b *bench) {
	b.isAlready("release", b.release, b.a().ID)
	b.carriedOut(b.a().ID, Effects{})
}

func releaseNotSent(b *bench) {
	b.needs("Down", b.Down != nil)
	id := b.a().ID
	b.held(id)
	b.breaks(b.Down, func() {
		o, err := b.release(b.Context(), id)
		b.isNotSent("release", o, err)
	})
	b.becomesHeld(id)
	b.carriedOut(id, Effects{Isolated: 1})
}

func releaseLost(b *bench) {
	b.needs("LoseAnswers", b.LoseAnswers != nil)
	id := b.a().ID
	b.held(id)
	b.breaks(b.LoseAnswers, func() {
		o, err := b.release(b.Context(), id)
		b.maySent("release", o, err)
	})
	b.becomesFree(id)
	b.isAlready("release, healed", b.release, id)
	b.carriedOut(id, Effects{Isolated: 1, Released: 1})
}

// A vendor that refuses a release while the isolation is under way says so by
// resilience.Conflict, which is what a Fleet waits for.
func releaseDuringIsolation(b *bench) {
	id := b.a().ID
	b.does("isolate", b.isolate, id)
	end := time.Now().Add(patience)
	for {
		o, err := b.release(b.Context(), id)
		if err == nil && (o == failover.Accepted || o == failover.Applied) {
			break
		}
		if err == nil || resilience.Of(err).Class != resilience.Conflict || resilience.Of(err).Sent == resilience.MaybeSent || time.Now().After(end) {
			b.Fatalf("release: %v, %v, want accepted, applied, or the error that another action is under way", o, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.becomesFree(id)
	b.carriedOut(id, Effects{Isolated: 1, Released: 1})
}

func madeElsewhere(b *bench) {
	b.needs("Contain", b.Contain != nil)
	id := b.a().ID
	b.Contain(id)
	b.becomesHeld(id)
	if b.Driver.Held != nil {
		if got := b.heldNow(); !slices.Equal(got, []string{id}) {
			b.Errorf("held: %v", got)
		}
	}
	b.isAlready("isolate", b.isolate, id)
	b.does("release", b.release, id)
	b.becomesFree(id)
	b.carriedOut(id, Effects{Released: 1})
}

// heldNow lists what the driver says that it holds, of the two hosts.
func (b *bench) heldNow() []string {
	b.Helper()
	out := []string{}
	for r, err := range b.Driver.Held.Held(b.Context()) {
		switch {
		case err != nil:
			b.Fatalf("Held: %v", err)
		case r.ID != b.a().ID && r.ID != b.b().ID:
		case r.State.Holds():
			out = append(out, r.ID)
		case r.State != edr.ReleasePending:
			b.Errorf("Held lists %s as %s", r.ID, r.State)
		}
	}
	slices.Sort(out)
	return out
}

func heldIsExact(b *bench) {
	b.needsAbility("Held", b.Driver.Held != nil)
	a, other := b.a().ID, b.b().ID
	both := []string{a, other}
	slices.Sort(both)
	is := func(when string, want ...string) {
		b.Helper()
		if got := b.heldNow(); !slices.Equal(got, want) {
			b.Errorf("%s: held %v, want %v", when, got, want)
		}
	}
	is("at first")
	b.does("isolate", b.isolate, a)
	is("one is about to be", a)
	b.becomesHeld(a)
	is("one is", a)
	b.held(other)
	is("both are", both...)
	b.does("release", b.release, a)
	is("one is about to be let go", other)
	b.becomesFree(a)
	is("one was let go", other)
}

func heldFails(b *bench) {
	b.needsAbility("Held", b.Driver.Held != nil)
	b.needs("Down", b.Down != nil)
	b.held(b.a().ID)
	b.breaks(b.Down, func() { b.oneError("Held", b.Driver.Held.Held(b.Context())) })
}
