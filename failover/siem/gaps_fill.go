package siem

import (
	"context"
	"errors"
	"time"

	"github.com/jurymast/jurymast/internal/safe"
	"github.com/jurymast/jurymast/internal/wait"
)

// tries is how often a gap could not be filled, and when to try again.
type tries struct {
	failed int
	next   time.Time
}

const (
	lookEvery = 5 * time.Minute
	fillFirst = time.Minute // after one that failed
	fillMost  = time.Hour
	// fillTime bounds one Fill: Falcon may keep a name taken for half an hour.
	fillTime = 2 * time.Hour
)

// run fills gaps until ctx ends, one at a time.
func (g *gaps) run(ctx context.Context) error {
	for {
		g.fillAll(ctx)
		look := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
		case <-g.opened:
		case <-look.C:
		}
		look.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (g *gaps) fillAll(ctx context.Context) {
	fillers := map[string]Filler{}
	for _, s := range g.pump.config.Sources {
		if f, ok := s.(Filler); ok {
			fillers[s.Name()] = f
		}
	}
	for _, gap := range g.list() {
		f := fillers[gap.Source]
		if f == nil || !gap.Closed.IsZero() || gap.Proof != nil || gap.Reason == reasonAge || g.early(gap.ID) {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		g.fill(ctx, f, gap)
	}
}

func (g *gaps) early(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.tries[id].next)
}

var errGrown = errors.New("the gap has grown meanwhile")

// fill lets a source fill a gap, and notes the proof.
func (g *gaps) fill(ctx context.Context, f Filler, gap Gap) {
	in := &Intake{pump: g.pump, source: f.Name(), filling: true}
	proof, err := func() (proof Proof, err error) {
		defer safe.Catch(&err, "Filler.Fill")
		limited, cancel := context.WithTimeout(ctx, fillTime)
		defer cancel()
		return f.Fill(limited, gap, in)
	}()
	if err == nil {
		err = g.filled(ctx, gap, proof)
	}
	log := g.pump.config.Logger.With("id", gap.ID, "source", gap.Source, "feed", gap.Feed, "first", gap.First, "last", gap.Last)
	if err == nil {
		log.WarnContext(ctx, "siem: gap read again", "complete", proof.Complete, "by", proof.By, "count", proof.Count, "note", proof.Note)
		return
	}
	if ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	t := g.tries[gap.ID]
	t.failed++
	delay := wait.Jitter(min(fillFirst<<min(t.failed-1, 10), fillMost))
	t.next = time.Now().Add(delay)
	g.tries[gap.ID] = t
	g.mu.Unlock()
	log.WarnContext(ctx, "siem: gap not filled", "error", err, "again_in", delay)
}

// filled notes the proof. A gap that has grown since is another one.
func (g *gaps) filled(ctx context.Context, gap Gap, proof Proof) error {
	grown := false
	err := g.change(ctx, gap.ID, func(now *Gap) bool {
		if grown = now.First != gap.First || now.Last != gap.Last; grown || !now.Closed.IsZero() {
			return false
		}
		now.Proof = &proof
		if proof.Complete {
			now.Closed = time.Now().UTC()
		}
		return true
	})
	if err == nil && grown {
		err = errGrown
	}
	return err
}
