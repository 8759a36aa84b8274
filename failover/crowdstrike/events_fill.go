package crowdstrike

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/resilience"
)

// Fill implements siem.Filler. It reads the stream again, once for all gaps and under
// the AppID with "-fill" behind it, from the event before a gap: when that one, or the
// gap's first, still comes, Falcon has forgotten nothing of what follows. Of what it
// has forgotten only the detections are left, as alerts, and the proof says so. What
// comes is put into the feed "partition-fill".
func (s *events) Fill(ctx context.Context, gaps []siem.Gap, in *siem.Intake) (map[string]siem.Proof, error) {
	proofs := map[string]siem.Proof{}
	again := rereading{partitions: map[int]*reread{}}
	for _, gap := range gaps {
		n, err := strconv.Atoi(gap.Feed)
		if err != nil {
			proofs[gap.ID] = siem.Proof{By: "nothing", Note: fmt.Sprintf("feed %q is no partition of the stream", gap.Feed)}
			continue
		}
		p := again.partitions[n]
		if p == nil {
			p = &reread{in: in, feed: gap.Feed + fillSuffix}
			p.next, _ = in.Cursor(p.feed)
			p.next++
			again.partitions[n] = p
		}
		p.gaps = append(p.gaps, &filling{gap: gap, proof: siem.Proof{By: "event stream"}})
	}
	if err := again.stream(ctx, s); err != nil {
		return proofs, err
	}
	alerts := map[string]bool{} // of any partition: what was put for one gap serves for all
	for _, n := range slices.Sorted(maps.Keys(again.partitions)) {
		p := again.partitions[n]
		for _, f := range p.gaps {
			if p.judge(f); !f.proof.Complete {
				if err := p.alerts(ctx, s, f, alerts); err != nil {
					return proofs, err
				}
			}
			proofs[f.gap.ID] = f.proof
		}
	}
	return proofs, nil
}

// rereading is one reading of the stream for gaps.
type rereading struct {
	partitions map[int]*reread

	mu   sync.Mutex
	left int // partitions that are not read to their end
	stop context.CancelCauseFunc
}

// reread is a partition's part of it, in the goroutine that reads that.
type reread struct {
	in   *siem.Intake
	feed string
	next uint64 // offset in feed
	gaps []*filling
	last uint64 // of all gaps

	came   bool         // anything
	oldest falcon.Event // the first that came
	newest uint64       // offset
	beats  int          // heartbeats since the last event
	done   bool
}

// filling is a gap on its way.
type filling struct {
	gap   siem.Gap
	proof siem.Proof
}

var errReread = errors.New("all is read")

// stream reads each partition from before its first gap to the end of its last one, or
// to the end of the stream.
func (r *rereading) stream(ctx context.Context, s *events) error {
	after := map[int]int64{}
	for n, p := range r.partitions {
		first := uint64(math.MaxInt64)
		for _, f := range p.gaps {
			if f.gap.Last > 0 {
				first, p.last = min(first, f.gap.First), max(p.last, f.gap.Last)
			}
		}
		if p.done = p.last == 0; !p.done {
			after[n] = max(int64(first)-2, -1)
			r.left++
		}
	}
	if r.left == 0 {
		return nil
	}
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	err := s.c.Stream.Run(ctx, falcon.StreamConfig{
		AppID: s.cfg.AppID + fillSuffix, EventTypes: s.cfg.EventTypes, After: after,
		Newest: true, // the other partitions, which cannot be left out
		Handle: r.handle, Heartbeat: r.heartbeat,
	})
	if context.Cause(ctx) != errReread {
		return fmt.Errorf("crowdstrike: the stream cannot be read again: %w", err)
	}
	return nil
}

func (r *rereading) handle(ctx context.Context, events []falcon.Event) error {
	p := r.partitions[events[0].Partition]
	if p == nil || p.done {
		return nil
	}
	p.beats = 0
	if err := p.take(ctx, events); err != nil {
		return err
	}
	if p.newest >= p.last {
		r.finish(p)
	}
	return nil
}

// heartbeat: what Falcon has comes before it says that it has nothing. Twice, because
// one may have been under way.
func (r *rereading) heartbeat(partition int) {
	p := r.partitions[partition]
	if p == nil || p.done {
		return
	}
	if p.beats++; p.beats >= 2 {
		r.finish(p)
	}
}

func (r *rereading) finish(p *reread) {
	p.done = true
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left--; r.left == 0 {
		r.stop(errReread)
	}
}

// take puts the events that lie in gaps.
func (p *reread) take(ctx context.Context, events []falcon.Event) error {
	var g group
	for i := range events {
		e := &events[i]
		if e.Err != nil || e.Offset < 0 {
			continue // it was in the dead letters before the cursor passed it
		}
		if !p.came {
			p.came, p.oldest = true, *e
		}
		p.newest = uint64(e.Offset)
		wanted := false
		for _, f := range p.gaps {
			if p.newest < f.gap.First || p.newest > f.gap.Last {
				continue
			}
			wanted = true
			if f.proof.Count == 0 {
				f.proof.First = p.newest
			}
			f.proof.Last = p.newest
			p.count(f, p.next+uint64(len(g.events)))
		}
		if wanted {
			g.add(e)
		}
	}
	return p.put(ctx, g.events)
}

// count notes that an event of the gap is at an offset of the feed.
func (p *reread) count(f *filling, at uint64) {
	if f.proof.Count == 0 {
		f.proof.Feed, f.proof.PutFirst = p.feed, at
	}
	f.proof.PutLast = at
	f.proof.Count++
}

// put gives the events the next offsets of the feed.
func (p *reread) put(ctx context.Context, events []siem.Event) error {
	if len(events) == 0 {
		return nil
	}
	for i := range events {
		events[i].Offset = p.next
		p.next++
	}
	return p.in.Put(ctx, p.feed, events...)
}

// judge says what is proven.
func (p *reread) judge(f *filling) {
	oldest := uint64(max(p.oldest.Offset, 0))
	switch {
	case f.gap.Last == 0:
		f.proof.Note = "its offsets are not known"
	case !p.came:
		f.proof.Note = "Falcon has no event of it any more, and none after it"
	case f.gap.First == 0:
		f.proof.Note = fmt.Sprintf("where it begins is not known: what Falcon still has, from offset %d on, was read", oldest)
	case oldest > f.gap.First:
		f.proof.Note = fmt.Sprintf("the oldest event that Falcon still has is at offset %d", oldest)
	case p.newest < f.gap.Last:
		f.proof.Note = fmt.Sprintf("Falcon has no event at offset %d, nor behind it", f.gap.Last)
	default:
		f.proof.Complete = true
	}
}

// alertMargin is around a gap's times: the two services do not date an event alike.
const alertMargin = 5 * time.Minute

// alerts reads those that were raised in the time of which the stream has nothing.
func (p *reread) alerts(ctx context.Context, s *events, f *filling, put map[string]bool) error {
	from, to := f.gap.From, f.gap.To
	if to.IsZero() {
		to = f.gap.Opened
	}
	if p.came && uint64(p.oldest.Offset) > f.gap.First && p.oldest.Created.Before(to) {
		to = p.oldest.Created // from there on the stream had it
	}
	if from.IsZero() {
		f.note("when it happened is not known, so that alerts could not be read instead")
		return nil
	}
	count, err := p.instead(ctx, f, alerts(ctx, s.c, falcon.FQL{}, raised, from.Add(-alertMargin), to.Add(alertMargin)), put)
	switch {
	case err == nil:
	case resilience.Of(err).Class == resilience.Denied:
		f.note("alerts could not be read instead: " + err.Error())
		return nil
	default:
		return err
	}
	if f.proof.By += " and alerts"; f.proof.First == 0 {
		f.proof.By = "alerts"
	}
	f.note(fmt.Sprintf("%d alerts that were raised from %s to %s were read instead; events of other kinds are lost",
		count, from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)))
	return nil
}

// instead puts the alerts that were not put yet, and counts all.
func (p *reread) instead(ctx context.Context, f *filling, list iter.Seq2[siem.Change, error], put map[string]bool) (count int, err error) {
	var events []siem.Event
	for c, err := range list {
		switch {
		case err != nil:
			return count, err
		case c.Err != nil:
			if err := p.in.Unreadable(ctx, p.feed, 0, c.Raw, c.Err); err != nil {
				return count, err
			}
			continue
		}
		count++
		if e := c.Event(); !put[e.ID] {
			put[e.ID] = true
			p.count(f, p.next+uint64(len(events)))
			events = append(events, e)
		}
		if len(events) >= alertsPage {
			if err := p.put(ctx, events); err != nil {
				return count, err
			}
			events = nil
		}
	}
	return count, p.put(ctx, events)
}

func (f *filling) note(text string) {
	if f.proof.Note != "" {
		f.proof.Note += "; "
	}
	f.proof.Note += text
}
