package siem

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover/siem/spool"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// Gap is a part of a feed that did not arrive, or may not have: the spool lost it, no
// sink took it in time, or the source could not read it. It is kept until it is
// closed, across restarts, and closed ones for 90 days.
type Gap struct {
	ID string `json:"id"`
	// Source and Feed are as the source calls them. Empty: nothing is left to tell
	// whose events they were.
	Source string `json:"source,omitempty"`
	Feed   string `json:"feed,omitempty"`
	// First and Last are offsets, both included; as those have holes, fewer events may
	// be missing. First 0 means that the beginning is not known, Last 0 that neither is.
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	// From and To are the times of the events around it. Zero: not known.
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	Reason string    `json:"reason"`
	Opened time.Time `json:"opened"`
	Closed time.Time `json:"closed,omitzero"` // zero: it is open
	// Proof is what was found when the gap was filled. A gap with a Proof that is not
	// Complete is not tried again: it stays open until [Pump.CloseGap].
	Proof *Proof `json:"proof,omitempty"`
}

// Proof says how a gap was filled.
type Proof struct {
	// By is what was read again, such as "event stream".
	By string `json:"by"`
	// First and Last are the offsets of the first and the last event that came, and
	// Count how many were put into the spool.
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	Count uint64 `json:"count"`
	// Complete says that nothing of the gap is missing any more.
	Complete bool `json:"complete"`
	// Feed is where the events were put, with offsets PutFirst to PutLast of that feed:
	// if the spool loses them there, the gap is opened again.
	Feed     string `json:"feed,omitempty"`
	PutFirst uint64 `json:"put_first,omitempty"`
	PutLast  uint64 `json:"put_last,omitempty"`
	Note     string `json:"note,omitempty"`
}

// Filler is a Source that can read gaps again.
type Filler interface {
	Source
	// Fill puts the events of gaps into the spool, under the ids that they had and in
	// another feed: in their own the cursor is past them. A spool has at most 1,024
	// feeds, so that one such feed serves for all gaps of a feed, with new offsets.
	//
	// It returns proofs by Gap.ID, with an error also of those that it got done. A
	// Proof that is not Complete is the best there will ever be; gaps without one are
	// asked for again, minutes later and from their beginning. There is one Fill of a
	// source at a time, beside its Read.
	Fill(ctx context.Context, gaps []Gap, in *Intake) (map[string]Proof, error)
}

// Why gaps are opened by the pump.
const (
	reasonDamage = "the spool is damaged"
	reasonAge    = "Config.MaxAge: no sink took it in time"
)

// Gaps returns the gaps that are known, the oldest first: open ones, and those that
// were closed in the last 90 days.
func (p *Pump) Gaps() []Gap { return p.gaps.list() }

// CloseGap closes a gap by hand, with the reason for it: of some gaps nothing can
// prove that they are filled. Closing a closed one changes nothing.
func (p *Pump) CloseGap(ctx context.Context, id, note string) error {
	return p.gaps.change(ctx, id, func(g *Gap) bool {
		if !g.Closed.IsZero() {
			return false
		}
		if g.Proof == nil {
			g.Proof = &Proof{By: "hand"}
		}
		g.Closed, g.Proof.Note = time.Now().UTC(), strings.TrimPrefix(g.Proof.Note+"; "+note, "; ")
		return true
	})
}

// Gap notes what the source could not read: Feed, Reason, and what is known of First,
// Last, From and To; the rest is set here. It returns after the gap is durable. A
// gap that lies within one that is known, or in time is the same, is not noted again.
func (in *Intake) Gap(ctx context.Context, feed string, gap Gap) error {
	switch {
	case feed == "" || gap.Reason == "":
		return resilience.Misusef("siem: Intake.Gap needs a feed and a Gap.Reason")
	case gap.First > gap.Last:
		return resilience.Misusef("siem: Intake.Gap: First is %d, above Last, %d", gap.First, gap.Last)
	}
	gap.Source, gap.Feed, gap.Proof, gap.Closed = in.source, feed, nil, time.Time{}
	_, err := in.pump.gaps.open(ctx, gap, "")
	return err
}

// sourceFeed is a feed of the spool as its source knows it.
func sourceFeed(name string) (source, feed string) {
	source, feed, _ = strings.Cut(name, ":")
	return source, feed
}

// lost notes what the spool cannot read any more.
func (p *Pump) lost(ctx context.Context, gap *spool.GapError) {
	if gap.Feed == "" {
		// Where the gap begins depends on what is delivered, where it ends does not.
		p.note(ctx, Gap{Reason: reasonDamage + ": " + gap.Error()}, fmt.Sprintf("positions up to %d", gap.Last))
		return
	}
	p.insist(ctx, func() error { return p.gaps.damaged(ctx, gap) })
}

// expired reports that a chunk has waited too long, and notes it. It sees every chunk,
// in order, and so knows what is around a gap.
func (p *Pump) expired(ctx context.Context, c *spool.Chunk, spooled time.Time) bool {
	p.gaps.around(ctx, c)
	if p.config.MaxAge == 0 || time.Since(spooled) <= p.config.MaxAge {
		p.gaps.passed(c)
		return false
	}
	source, feed := sourceFeed(c.Feed)
	gap := Gap{Source: source, Feed: feed, First: c.First, Last: c.Last, From: c.MinTime, To: c.MaxTime, Reason: reasonAge}
	if _, err := p.gaps.open(ctx, gap, ""); err != nil {
		p.config.Logger.WarnContext(ctx, "siem: a gap cannot be stored, so that its events are still sent", "feed", c.Feed, "error", err)
		return false
	}
	return true
}

// recovered notes what the spool found damaged when it was opened.
func (p *Pump) recovered(ctx context.Context) {
	found := p.spool.Recovered()
	for i := range found.Gaps {
		p.lost(ctx, &found.Gaps[i])
		p.gaps.apart(found.Gaps[i].Feed)
	}
	for _, cut := range found.Cuts {
		if cut.Promised {
			where := fmt.Sprintf("%s at byte %d", cut.Segment, cut.At)
			p.note(ctx, Gap{Reason: reasonDamage + ": what was stored last is lost, in " + where +
				"; its sources read it again, as far as they still have it"}, where)
		}
	}
}

// note opens a gap of which no feed is known.
func (p *Pump) note(ctx context.Context, gap Gap, key string) {
	p.insist(ctx, func() error {
		_, err := p.gaps.open(ctx, gap, key)
		return err
	})
}

// insist tries until it succeeds or ctx ends. Nothing is delivered meanwhile: what
// comes behind a gap that is not noted would hide it for good.
func (p *Pump) insist(ctx context.Context, try func() error) {
	for delay := time.Second; ; delay = min(2*delay, time.Minute) {
		err := try()
		if err == nil {
			return
		}
		p.health.stuck(ctx, err)
		p.config.Logger.ErrorContext(ctx, "siem: a gap cannot be stored", "error", err, "again_in", delay)
		if wait.For(ctx, delay) != nil {
			return
		}
	}
}
