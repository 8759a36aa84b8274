package edr

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// Every state that a vendor may tell, against every entry that the ledger may have.
func TestJudge(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	old, fresh := now.Add(-settleTime), now.Add(-settleTime+1)
	contain := func(o failover.Outcome, at, proven time.Time) Entry {
		return Entry{Verb: VerbContain, Outcome: o, At: at, Proven: proven}
	}
	release := func(o failover.Outcome, at time.Time) Entry { return Entry{Verb: VerbRelease, Outcome: o, At: at} }
	for name, tc := range map[string]struct {
		e Entry
		// by state: unknown, not contained, contain pending, contained, release pending
		want [5]finding
	}{
		"contained just now":          {contain(failover.Accepted, fresh, time.Time{}), [5]finding{unread, pending, proven, proven, pending}},
		"contained a while ago":       {contain(failover.Accepted, old, time.Time{}), [5]finding{unread, notDone, proven, proven, pending}},
		"perhaps contained just now":  {contain(failover.Unknown, fresh, time.Time{}), [5]finding{unread, pending, proven, proven, pending}},
		"perhaps contained long ago":  {contain(failover.Unknown, old, time.Time{}), [5]finding{unread, notDone, proven, proven, pending}},
		"contained, and seen":         {contain(failover.Applied, old, old), [5]finding{unread, ended, proven, proven, pending}},
		"released just now":           {release(failover.Accepted, fresh), [5]finding{unread, released, pending, pending, pending}},
		"released a while ago":        {release(failover.Accepted, old), [5]finding{unread, released, debt, debt, pending}},
		"perhaps released just now":   {release(failover.Unknown, fresh), [5]finding{unread, released, debt, debt, pending}},
		"release refused":             {release(failover.Refused, old), [5]finding{unread, released, debt, debt, pending}},
		"release that was never sent": {release(failover.NotSent, fresh), [5]finding{unread, released, debt, debt, pending}},
	} {
		for s, want := range tc.want {
			if got := judge(tc.e, State(s), now); got != want {
				t.Errorf("%s, the vendor says %v: %d, want %d", name, State(s), got, want)
			}
		}
	}
}

func toyHosts(n int) (out []Record) {
	for i := range n {
		out = append(out, Record{ID: fmt.Sprint("id-", i), Hostname: fmt.Sprint("host-", i), State: NotContained})
	}
	return out
}

var toyIntent = Intent{ID: "case-7", Actor: "soc", Reason: "malware"}

// Every minute the vendors are asked for what is not settled, and for nothing else.
func TestWhatIsSettledIsNotAskedForEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(3)...)
		f := toyFleet(t, v)
		for i := range 3 {
			if _, err := f.Contain(t.Context(), Hostname(fmt.Sprint("host-", i)), toyIntent); err != nil {
				t.Fatal(err)
			}
		}
		v.reads = 0
		if s, err := f.Sweep(t.Context()); err != nil || len(s.Value.Held) != 3 || v.reads != 0 {
			t.Errorf("the list of what it holds is enough: %+v, %v, %d reads", s.Value, err, v.reads)
		}
		if _, err := f.sweep(t.Context(), "settle", false); err != nil || v.reads != 0 {
			t.Errorf("%d reads, %v", v.reads, err)
		}
	})
}

// A sweep of many hosts takes the time it needs, not that of one call.
func TestASweepHasTimeForManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(100)...)
		f := toyFleet(t, v)
		for i := range 100 {
			if _, err := f.Contain(t.Context(), Hostname(fmt.Sprint("host-", i)), toyIntent); err != nil {
				t.Fatal(err)
			}
			v.set(fmt.Sprint("id-", i), NotContained) // and an analyst lets it go
		}
		time.Sleep(settleTime)
		v.takes = time.Second
		if s, err := f.Sweep(t.Context()); err != nil || len(s.Value.NotDone) != 100 {
			t.Errorf("%d of 100, gaps %v, %v", len(s.Value.NotDone), s.Gaps, err)
		}
	})
}

// A host that its vendor lets go is not adopted.
func TestWhatIsLetGoIsNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(1)...)
		v.set("id-0", ReleasePending)
		if s, err := toyFleet(t, v).Sweep(t.Context()); err != nil || len(s.Value.Adopted) != 0 {
			t.Errorf("%+v, %v", s.Value, err)
		}
	})
}

// What was read of a host before it was contained, or released, says nothing of it
// afterwards.
func TestAStateIsOfTheEntryItWasReadFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(1)...)
		f := toyFleet(t, v)
		if _, err := f.Contain(t.Context(), Hostname("host-0"), toyIntent); err != nil {
			t.Fatal(err)
		}
		before, _, err := f.ledger.get(t.Context(), "toy", "id-0")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(settleTime)
		if _, err := f.Release(t.Context(), Hostname("host-0"), toyIntent); err != nil {
			t.Fatal(err)
		}
		if _, found, err := f.settle(t.Context(), v.driver(), before, Contained); err != nil || found != released {
			t.Errorf("%d, %v", found, err)
		}
		// And it may be gone from the ledger by now.
		if _, found, err := f.settle(t.Context(), v.driver(), before, Contained); err != nil || found != pending {
			t.Errorf("%d, %v", found, err)
		}
	})
}

// The ledger names who contained a host first, and how long a release is owed.
func TestTheFirstIntentCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(1)...)
		f := toyFleet(t, v)
		second := Intent{ID: "case-8", Actor: "somebody else", Reason: "policy"}
		entry := func() Entry {
			e, _, err := f.ledger.get(t.Context(), "toy", "id-0")
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		begun := time.Now()
		for _, intent := range []Intent{toyIntent, second} {
			if _, err := f.Contain(t.Context(), Hostname("host-0"), intent); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if e := entry(); e.Intent != toyIntent || !e.At.Equal(begun) {
			t.Errorf("%+v", e)
		}
		v.failed = errors.New("down")
		begun = time.Now()
		for range 2 {
			if _, err := f.Release(t.Context(), Hostname("host-0"), second); !errors.Is(err, ErrReleaseDebt) {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if e := entry(); !e.Debt() || !e.At.Equal(begun) {
			t.Errorf("%+v", e)
		}
	})
}

// A vendor that does not know a host may call it free, as Defender does of a machine
// that has no actions: with other credentials over the same ledger that is no proof.
func TestAVendorThatDoesNotKnowTheHostProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(2)...)
		f := toyFleet(t, v)
		for i := range 2 {
			if _, err := f.Contain(t.Context(), Hostname(fmt.Sprint("host-", i)), toyIntent); err != nil {
				t.Fatal(err)
			}
		}
		v.failed = errDown
		if _, err := f.Release(t.Context(), Hostname("host-1"), toyIntent); !errors.Is(err, ErrReleaseDebt) {
			t.Fatal(err)
		}
		v.failed = nil
		time.Sleep(settleTime)
		other := newToy("toy") // of another tenant
		other.ghost = NotContained
		g := toyFleetOf(t, Config{Store: f.cfg.Store}, other)
		s, err := g.Sweep(t.Context())
		if err != nil && len(s.Value.Unread) != 2 || len(s.Value.Unread) != 2 || !errors.Is(s.Value.Unread[0].Err, ErrHostNotFound) {
			t.Errorf("%+v, %v", s, err)
		}
		if owed := s.Value.Owed(); len(owed) != 1 || owed[0].HostID != "id-1" {
			t.Errorf("owed: %+v", owed)
		}
		n := 0
		for range g.Ledger(t.Context()) {
			n++
		}
		if n != 2 {
			t.Errorf("%d entries are left", n)
		}
	})
}
