package edr

import (
	"testing"
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
