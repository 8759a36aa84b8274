package siem

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/siem/spool"
	"github.com/jurymast/jurymast/resilience"
)

// gaps is the ledger of them, in the pump's state; memory holds a copy.
type gaps struct {
	pump   *Pump
	store  kv.Store
	opened chan struct{} // there may be something to fill

	mu      sync.Mutex
	known   map[string]*gapRecord
	growing map[string]*gapRecord // by feed of the spool: the chunk before was of it too
	before  map[string]time.Time  // by feed of the spool: the last time before a gap
	tries   map[string]tries
}

type gapRecord struct {
	Gap
	rev uint64
}

const (
	gapPrefix = "gap/"
	keepGaps  = 90 * 24 * time.Hour // of closed ones
	maxClosed = 10_000
)

func openGaps(ctx context.Context, p *Pump) (*gaps, error) {
	g := &gaps{
		pump: p, store: p.state, opened: make(chan struct{}, 1), known: map[string]*gapRecord{},
		growing: map[string]*gapRecord{}, before: map[string]time.Time{}, tries: map[string]tries{},
	}
	for e, err := range g.store.Scan(ctx, gapPrefix) {
		r := &gapRecord{rev: e.Rev}
		key := e.Key
		if corrupt, ok := errors.AsType[*kv.CorruptError](err); ok && corrupt.Key != "" {
			key, r.rev = corrupt.Key, 0
		} else if err != nil {
			return nil, err
		}
		if err == nil {
			err = json.Unmarshal(e.Value, &r.Gap)
		}
		if err != nil {
			var mended error
			if r, mended = g.mend(ctx, key, r.rev, err); mended != nil {
				return nil, mended
			}
		}
		g.known[r.ID] = r
	}
	return g, g.prune(ctx)
}

// mend puts a gap of which nothing is known in the place of a record that cannot be
// read: it may have been an open one.
func (g *gaps) mend(ctx context.Context, key string, rev uint64, why error) (*gapRecord, error) {
	if err := g.store.Delete(ctx, key, rev); err != nil {
		return nil, err
	}
	r := &gapRecord{Gap: Gap{
		ID: strings.TrimPrefix(key, gapPrefix), Opened: time.Now().UTC(),
		Reason: "the record of this gap cannot be read: " + why.Error(),
	}}
	return r, g.save(ctx, r, r.Gap)
}

// list returns the gaps, the oldest first.
func (g *gaps) list() []Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Gap, 0, len(g.known))
	for _, r := range g.known {
		gap := r.Gap
		if gap.Proof != nil {
			proof := *gap.Proof
			gap.Proof = &proof
		}
		out = append(out, gap)
	}
	slices.SortFunc(out, func(a, b Gap) int { return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID)) })
	return out
}

// open notes a gap unless it is known: the same damage is met at every start until
// what is behind it is delivered. key tells gaps without a feed from each other.
func (g *gaps) open(ctx context.Context, gap Gap, key string) (known bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.openLocked(ctx, gap, key)
}

func (g *gaps) openLocked(ctx context.Context, gap Gap, key string) (known bool, err error) {
	name := gap.Source + ":" + gap.Feed
	gap.From, gap.To = gap.From.UTC(), gap.To.UTC()
	if r := g.find(&gap); r != nil {
		g.growing[name] = r
		if r.From.IsZero() && !gap.From.IsZero() && r.Closed.IsZero() {
			earlier := r.Gap
			earlier.From = gap.From
			return true, g.save(ctx, r, earlier)
		}
		return true, nil
	}
	if r := g.growing[name]; r != nil && gap.Feed != "" && r.grows(&gap) {
		grown := r.Gap
		grown.Last, grown.To = gap.Last, gap.To
		return true, g.save(ctx, r, grown)
	}
	gap.ID, gap.Opened = gap.identity(key), time.Now().UTC()
	if g.known[gap.ID] != nil {
		return true, nil
	}
	r := &gapRecord{}
	if err := g.save(ctx, r, gap); err != nil {
		return false, err
	}
	g.known[gap.ID] = r
	g.growing[name] = r
	g.pump.config.Logger.WarnContext(ctx, "siem: gap", "id", gap.ID, "source", gap.Source, "feed", gap.Feed,
		"first", gap.First, "last", gap.Last, "from", gap.From, "to", gap.To, "reason", gap.Reason)
	signal(g.opened)
	return false, g.prune(ctx)
}

// identity is the same whenever the gap is met, also if what is around it is not.
func (gap *Gap) identity(key string) string {
	if key == "" {
		key = fmt.Sprintf("%q %q %d %d", gap.Source, gap.Feed, gap.First, gap.Last)
		if gap.Reason != reasonDamage {
			key = fmt.Sprintf("%s %s %s %s", key, gap.From, gap.To, gap.Reason)
		}
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// find returns the gap within which another lies.
func (g *gaps) find(gap *Gap) *gapRecord {
	if gap.Feed == "" || gap.Last == 0 {
		return nil
	}
	for _, r := range g.known {
		if r.Source != gap.Source || r.Feed != gap.Feed {
			continue
		}
		if r.First <= gap.First && gap.Last <= r.Last && gap.First > 0 || gap.First == 0 && gap.Last == r.Last {
			return r
		}
	}
	return nil
}

// grows reports whether another gap is a part of this one, because nothing that could
// be read was between them.
func (r *gapRecord) grows(next *Gap) bool {
	return r.Closed.IsZero() && r.Proof == nil && r.Reason == next.Reason && next.First > r.Last && r.Last > 0 &&
		(r.Reason == reasonDamage || r.Reason == reasonAge)
}

// damaged notes offsets that the spool has lost. If they were those of a gap that was
// filled, that one is open again.
func (g *gaps) damaged(ctx context.Context, gap *spool.GapError) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	source, feed := sourceFeed(gap.Feed)
	again := false
	for _, r := range g.known {
		p := r.Proof
		if r.Source != source || p == nil || p.Feed != feed || p.PutLast == 0 || p.PutLast < gap.First || p.PutFirst > gap.Last {
			continue
		}
		again = true
		open := r.Gap
		open.Closed, open.Proof = time.Time{}, nil
		if err := g.save(ctx, r, open); err != nil {
			return err
		}
		delete(g.tries, r.ID)
		signal(g.opened)
	}
	if again {
		return nil
	}
	_, err := g.openLocked(ctx, Gap{
		Source: source, Feed: feed, First: gap.First, Last: gap.Last, From: g.before[gap.Feed], Reason: reasonDamage,
	}, "")
	return err
}

// around learns from a chunk when the events around a gap happened.
func (g *gaps) around(ctx context.Context, c *spool.Chunk) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.growing[c.Feed]
	if r == nil || r.Reason != reasonDamage || !r.To.IsZero() || c.First <= r.Last {
		return
	}
	later := r.Gap
	later.To = c.MinTime.UTC()
	signal(g.opened)
	if err := g.save(ctx, r, later); err != nil {
		g.pump.config.Logger.WarnContext(ctx, "siem: the end of a gap is not noted", "id", r.ID, "error", err)
	}
}

// apart says that the next gap of a feed is another one.
func (g *gaps) apart(feed string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.growing, feed)
}

// passed says that a chunk could be read, and is not given up: a gap behind it is
// another one.
func (g *gaps) passed(c *spool.Chunk) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.growing, c.Feed)
	g.before[c.Feed] = c.MaxTime.UTC()
}

// change changes a gap, unless do does not want to.
func (g *gaps) change(ctx context.Context, id string, do func(*Gap) bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.known[id]
	if r == nil {
		return resilience.Misusef("siem: there is no gap %q", id)
	}
	changed := r.Gap
	if changed.Proof != nil {
		proof := *changed.Proof
		changed.Proof = &proof
	}
	if !do(&changed) {
		return nil
	}
	return g.save(ctx, r, changed)
}

// save makes a gap durable. The caller holds g.mu, or is the only one.
func (g *gaps) save(ctx context.Context, r *gapRecord, gap Gap) error {
	value, err := json.Marshal(gap)
	if err != nil {
		return fmt.Errorf("siem: gap %s: %w", gap.ID, err)
	}
	rev, err := g.store.Put(ctx, gapPrefix+gap.ID, value, r.rev)
	if err != nil {
		// A write that failed may have been kept: the next one must know its revision.
		if e, got := g.store.Get(ctx, gapPrefix+gap.ID); got == nil {
			r.rev = e.Rev
		}
		return fmt.Errorf("siem: gap %s: %w", gap.ID, err)
	}
	r.rev, r.Gap = rev, gap
	return nil
}

// prune drops closed gaps that are old, or too many. The caller holds g.mu, or is the
// only one.
func (g *gaps) prune(ctx context.Context) error {
	var closed []*gapRecord
	for _, r := range g.known {
		if !r.Closed.IsZero() {
			closed = append(closed, r)
		}
	}
	slices.SortFunc(closed, func(a, b *gapRecord) int { return b.Closed.Compare(a.Closed) })
	for i, r := range closed {
		if i < maxClosed && time.Since(r.Closed) < keepGaps {
			continue
		}
		if err := g.store.Delete(ctx, gapPrefix+r.ID, r.rev); err != nil && !errors.Is(err, kv.ErrNotFound) {
			return fmt.Errorf("siem: gap %s: %w", r.ID, err)
		}
		delete(g.known, r.ID)
	}
	return nil
}
