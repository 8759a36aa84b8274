package edr

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// What was asked of a vendor counts over what it shows, until it shows it, and not for
// ever.
func TestOverlay(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	fresh, old := now.Add(-settleTime+1), now.Add(-settleTime)
	for name, tc := range map[string]struct {
		e           Entry
		shown, want State
	}{
		"accepted, not shown":           {Entry{Verb: VerbContain, Outcome: failover.Accepted, At: fresh}, NotContained, ContainPending},
		"done, not shown":               {Entry{Verb: VerbContain, Outcome: failover.Applied, At: fresh}, NotContained, ContainPending},
		"accepted, shown":               {Entry{Verb: VerbContain, Outcome: failover.Accepted, At: fresh}, Contained, Contained},
		"accepted long ago":             {Entry{Verb: VerbContain, Outcome: failover.Accepted, At: old}, NotContained, NotContained},
		"was shown, and is no more":     {Entry{Verb: VerbContain, Outcome: failover.Applied, At: fresh, Proven: fresh}, NotContained, NotContained},
		"perhaps":                       {Entry{Verb: VerbContain, Outcome: failover.Unknown, At: fresh}, NotContained, StateUnknown},
		"perhaps, and shown":            {Entry{Verb: VerbContain, Outcome: failover.Unknown, At: fresh}, ContainPending, ContainPending},
		"release accepted, not shown":   {Entry{Verb: VerbRelease, Outcome: failover.Accepted, At: fresh}, Contained, ReleasePending},
		"release accepted, shown":       {Entry{Verb: VerbRelease, Outcome: failover.Accepted, At: fresh}, NotContained, NotContained},
		"release accepted long ago":     {Entry{Verb: VerbRelease, Outcome: failover.Accepted, At: old}, Contained, Contained},
		"release owed":                  {Entry{Verb: VerbRelease, Outcome: failover.Unknown, At: fresh}, Contained, Contained},
		"nothing is known of its state": {Entry{Verb: VerbContain, Outcome: failover.Accepted, At: fresh}, StateUnknown, StateUnknown},
	} {
		r := Record{State: tc.shown}
		tc.e.overlay(&r, now)
		if r.State != tc.want || r.FromLedger != (tc.shown != tc.want) {
			t.Errorf("%s: %v, from the ledger %v, want %v", name, r.State, r.FromLedger, tc.want)
		}
	}
}

// A vendor whose lists are behind does not make a host look free that was contained just
// now, or held that was released just now.
func TestReadYourWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(1)...)
		f := toyFleet(t, v)
		states := func() (out []State) {
			found, err := f.Find(t.Context(), Hostname("host-0"))
			s, err2 := f.State(t.Context(), Hostname("host-0"))
			hosts, err3 := f.Hosts(t.Context())
			if err := errors.Join(err, err2, err3); err != nil {
				t.Fatal(err)
			}
			return []State{found.Value.Records[0].State, s.Value.State, hosts.Value[0].Records[0].State}
		}
		all := func(s State) []State { return []State{s, s, s} }
		if _, err := f.Contain(t.Context(), Hostname("host-0"), toyIntent); err != nil {
			t.Fatal(err)
		}
		v.set("id-0", NotContained) // as a list that is behind
		if got := states(); !slices.Equal(got, all(ContainPending)) {
			t.Errorf("just contained: %v", got)
		}
		time.Sleep(settleTime)
		if got := states(); !slices.Equal(got, all(NotContained)) {
			t.Errorf("and it is not: %v", got)
		}
		v.set("id-0", Contained)
		if _, err := f.Release(t.Context(), Hostname("host-0"), toyIntent); err != nil {
			t.Fatal(err)
		}
		v.set("id-0", Contained)
		if got := states(); !slices.Equal(got, all(ReleasePending)) {
			t.Errorf("just released: %v", got)
		}
	})
}

// The state of a host is that of the vendor that holds it, whichever calls begin with;
// and if that one cannot be asked, it is what the ledger knows, and since when.
func TestStateIsThatOfTheHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newToy("first", toyHosts(1)...), newToy("second", toyHosts(1)...)
		f := toyFleetOf(t, Config{Volatile: true, MinIdentity: Weak}, first, second)
		host := Hostname("host-0")
		begun := time.Now()
		if _, err := f.Contain(failover.WithOnly(t.Context(), "second"), host, toyIntent); err != nil {
			t.Fatal(err)
		}
		state := func() (failover.Result[Record], Record) {
			t.Helper()
			s, err := f.State(t.Context(), host)
			if err != nil {
				t.Fatal(err)
			}
			return s, s.Value
		}
		if s, r := state(); s.By() != "second" || r.State != Contained || r.FromLedger {
			t.Errorf("%+v", s)
		}
		second.down = true
		if s, r := state(); s.By() != "" || r.Provider != "second" || r.State != ContainPending || !r.FromLedger || !r.AsOf.Equal(begun) || len(s.Gaps) != 1 {
			t.Errorf("accepted, and not seen since: %+v", s)
		}
		second.down = false
		time.Sleep(time.Minute)
		seen := time.Now()
		if _, err := f.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		second.down = true
		time.Sleep(time.Hour)
		if s, r := state(); r.State != Contained || !r.FromLedger || !r.AsOf.Equal(seen) || len(s.Gaps) != 1 {
			t.Errorf("%+v", s)
		}
		// The other one holds it too, and says so.
		first.set("id-0", Contained)
		if _, err := f.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, r := state(); s.By() != "first" || r.State != Contained || r.FromLedger {
			t.Errorf("%+v", s)
		}
		// It lets the host go, and the second still holds it.
		second.down = false
		first.set("id-0", NotContained)
		if s, r := state(); s.By() != "second" || r.State != Contained {
			t.Errorf("%+v", s)
		}
		second.down = true
		// What was to be released, and perhaps was not, is not known to be free.
		if _, err := f.Release(t.Context(), host, toyIntent); !errors.Is(err, ErrReleaseDebt) {
			t.Fatal(err)
		}
		if s, r := state(); r.Provider != "second" || r.State != StateUnknown || !r.FromLedger {
			t.Errorf("%+v", s)
		}
	})
}

func TestContainEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newToy("first", toyHosts(2)...), newToy("second", toyHosts(2)...)
		third := newToy("third") // does not know it
		f := toyFleetOf(t, Config{Volatile: true, MinIdentity: Weak, Guards: Guards{Protected: func(h Host) string {
			if h.Name == "host-1" {
				return "domain controller"
			}
			return ""
		}}}, first, second, third)
		res, err := f.ContainEverywhere(t.Context(), Hostname("host-0"), toyIntent)
		if err != nil || len(res.Served) != 2 || !res.Complete() || len(res.Value.Holding()) != 2 || first.held() != 1 || second.held() != 1 {
			t.Errorf("%+v, %v", res, err)
		}
		if _, err := f.Release(t.Context(), Hostname("host-0"), toyIntent); err != nil || first.held()+second.held() != 0 {
			t.Errorf("%d and %d are held, %v", first.held(), second.held(), err)
		}
		if _, err := f.ContainEverywhere(t.Context(), Hostname("host-1"), toyIntent); !errors.Is(err, ErrGuard) || first.held()+second.held() != 0 {
			t.Errorf("%v", err)
		}
		second.failed = errors.New("down")
		res, err = f.ContainEverywhere(t.Context(), Hostname("host-0"), toyIntent)
		if err != nil || res.By() != "first" || len(res.Gaps) != 1 || res.Gaps[0].Provider != "second" || !res.Value.Outcome.OK() {
			t.Errorf("%+v, %v", res, err)
		}
		first.failed = second.failed
		if res, err = f.ContainEverywhere(t.Context(), Hostname("host-0"), toyIntent); err == nil || res.Value.Outcome != failover.NotSent || len(res.Gaps) != 2 {
			t.Errorf("%+v, %v", res, err)
		}
		if _, err := f.ContainEverywhere(t.Context(), Query{}, toyIntent); err == nil {
			t.Error("no error for no host")
		}
	})
}

// A plan tells what Contain does next, and does nothing.
func TestPlanTellsWhatContainDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newToy("first", toyHosts(3)...), newToy("second", toyHosts(2)...)
		f := toyFleetOf(t, Config{Volatile: true, MinIdentity: Weak, Guards: Guards{MaxHosts: 1, Protected: func(h Host) string {
			if h.Name == "host-1" {
				return "domain controller"
			}
			return ""
		}}}, first, second)
		plan := func(q Query, providers, held string) {
			t.Helper()
			p, err := f.Plan(t.Context(), q)
			if err != nil || strings.Join(p.Value.Providers, ",") != providers || strings.Join(p.Value.Held, ",") != held {
				t.Errorf("%s: %+v, %v", q, p, err)
			}
		}
		plan(Hostname("host-0"), "first,second", "")
		plan(Native("second", "id-0"), "second", "")
		plan(Hostname("host-2"), "first", "")
		if _, err := f.Plan(t.Context(), Hostname("host-1")); !errors.Is(err, ErrGuard) {
			t.Error(err)
		}
		if _, err := f.Plan(t.Context(), Hostname("nobody")); !errors.Is(err, ErrHostNotFound) {
			t.Error(err)
		}
		second.set("id-0", Contained)
		plan(Hostname("host-0"), "second,first", "second")
		if len(first.sent)+len(second.sent) != 0 || first.held() != 0 {
			t.Error("a plan contained something")
		}
		if _, err := f.Contain(t.Context(), Hostname("host-2"), toyIntent); err != nil {
			t.Fatal(err)
		}
		var full *GuardError
		if _, err := f.Plan(t.Context(), Hostname("host-0")); !errors.As(err, &full) || full.Guard != GuardRadius || full.Host != "host-0" {
			t.Error(err)
		}
	})
}
