package siem

import (
	"context"
	"errors"
	"slices"
	"sync"
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
	// gather is how long gaps wait for others: one Fill of all is better than one of
	// each, since after it Falcon may keep the name taken.
	gather    = 10 * time.Second
	fillFirst = time.Minute // after one that failed
	fillMost  = time.Hour
	// fillTime bounds one Fill: Falcon may keep a name taken for half an hour.
	fillTime = 2 * time.Hour
)

// run lets the sources fill their gaps until ctx ends.
func (g *gaps) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var wakes []chan struct{}
	for _, s := range g.pump.config.Sources {
		if f, ok := s.(Filler); ok {
			wake := make(chan struct{}, 1)
			wakes = append(wakes, wake)
			wg.Go(func() { g.keepFilling(ctx, f, wake) })
		}
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-g.opened:
			for _, wake := range wakes {
				signal(wake)
			}
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (g *gaps) keepFilling(ctx context.Context, f Filler, wake <-chan struct{}) {
	for wait.For(ctx, gather) == nil {
		if due := g.due(f.Name()); len(due) > 0 {
			g.fill(ctx, f, due)
		}
		look := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-look.C:
		}
		look.Stop()
	}
}

// due are the gaps of a source that are to be filled now.
func (g *gaps) due(source string) (due []Gap) {
	for _, gap := range g.list() {
		if gap.Source != source || !gap.Closed.IsZero() || gap.Proof != nil || gap.Reason == reasonAge || g.early(gap.ID) {
			continue
		}
		if gap.Reason == reasonDamage && (gap.From.IsZero() || gap.To.IsZero()) && time.Since(gap.Opened) < lookEvery {
			continue // delivery learns when it was as it goes on
		}
		due = append(due, gap)
	}
	return due
}

func (g *gaps) early(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.tries[id].next)
}

var (
	errGrown   = errors.New("the gap has grown meanwhile")
	errNoProof = errors.New("no proof of it came from Fill")
)

// fill lets a source fill gaps, and notes the proofs.
func (g *gaps) fill(ctx context.Context, f Filler, due []Gap) {
	in := &Intake{pump: g.pump, source: f.Name(), filling: true}
	var proofs map[string]Proof
	err := func() (err error) {
		defer safe.Catch(&err, "Filler.Fill")
		limited, cancel := context.WithTimeout(ctx, fillTime)
		defer cancel()
		proofs, err = f.Fill(limited, slices.Clone(due), in)
		return err
	}()
	if err == nil {
		err = errNoProof
	}
	for _, gap := range due {
		why := err
		proof, ok := proofs[gap.ID]
		if ok {
			why = g.filled(ctx, gap, proof)
		}
		log := g.pump.config.Logger.With("id", gap.ID, "source", gap.Source, "feed", gap.Feed, "first", gap.First, "last", gap.Last)
		switch {
		case ok && why == nil:
			log.WarnContext(ctx, "siem: gap read again", "complete", proof.Complete, "by", proof.By, "count", proof.Count, "note", proof.Note)
		case ctx.Err() == nil:
			log.WarnContext(ctx, "siem: gap not filled", "error", why, "again_in", g.later(gap.ID))
		}
	}
}

// later puts off the next try.
func (g *gaps) later(id string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tries[id]
	delay := wait.Jitter(min(fillFirst<<min(t.failed, 10), fillMost))
	g.tries[id] = tries{t.failed + 1, time.Now().Add(delay)}
	return delay
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
