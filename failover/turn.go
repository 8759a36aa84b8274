package failover

import (
	"context"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// turn is what one call has to do with the preference: it begins where the
// preference says, and tells it what came of that.
type turn struct {
	p       *preference
	tel     *telemetry
	counts  bool   // what the call sees moves the preference
	left    bool   // it does not begin with the most preferred of its providers
	top     string // that one
	trial   int    // the provider that is tried first, or none
	wait    bool   // the trial was no success: no other for a while
	learned bool
}

// begin puts the members in the order in which the call asks them. They must be the
// call's own. End the turn with end.
func (g *Group[P]) begin(ctx context.Context, call Call) turn {
	t := turn{p: g.preference, tel: g.tel, trial: none}
	t.counts = !call.speculative()
	if len(g.members) == 0 {
		return t
	}
	t.top = g.members[0].ID
	some := make([]int, 0, 8)
	for _, m := range g.members {
		some = append(some, g.preference.rank[m.ID])
	}
	if g.has(g.named) {
		g.toFront(g.preference.rank[g.named])
	} else {
		var lead int
		lead, t.trial = g.preference.begin(some, call.Kind == resilience.Read && t.counts && !stays(ctx), time.Now())
		t.left = lead != some[0]
		t.wait = t.trial != none
		g.toFront(lead)
		if t.trial != none {
			g.toFront(t.trial)
		}
	}
	if stays(ctx) {
		g.members = g.members[:1]
	}
	return t
}

// toFront moves a member to the front; the others keep their order.
func (g *Group[P]) toFront(rank int) {
	for k, m := range g.members {
		if m.ID == g.preference.ids[rank] {
			copy(g.members[1:k+1], g.members[:k])
			g.members[0] = m
			return
		}
	}
}

// served notes a success and reports whether it is owed to a provider that calls
// turned to since the most preferred one failed.
func (t *turn) served(id string) (left bool) {
	if i := t.p.rank[id]; t.counts {
		if i == t.trial {
			t.p.proved(i)
			t.learned, t.wait = true, false
			t.endTrial()
		} else {
			t.p.answered(i)
		}
	}
	return t.left && id != t.top
}

// failed notes a failure, which may say nothing of the provider.
func (t *turn) failed(ctx context.Context, id string, err error) {
	f, i := resilience.Of(err), t.p.rank[id]
	switch {
	case !t.counts:
		return
	case speaksAgainst(ctx, f):
		t.p.failed(i, f.Class, err.Error(), time.Now())
		t.learned = true
	case f.Status != 0 || f.Sent == resilience.Answered:
		t.p.answered(i)
	}
	if i == t.trial {
		t.wait = f.Class != resilience.NotFound // who does not know it has not failed
		t.endTrial()
	}
}

func (t *turn) endTrial() {
	if t.trial != none {
		t.p.endTrial(time.Now(), t.wait)
		t.trial = none
	}
}

// end lets the preference change, also when the call panicked.
func (t *turn) end(ctx context.Context) {
	t.endTrial()
	if !t.learned {
		return
	}
	t.learned = false
	if s, ok := t.p.reconsider(time.Now()); ok {
		t.tel.switched(ctx, s)
	}
}
