package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"

	"github.com/jurymast/jurymast/resilience"
)

// Read yields the chunks that sink has not acknowledged, oldest first, and waits
// for new ones until ctx ends. A [*GapError] tells of chunks that are lost, and
// the iteration goes on; any other error, such as that of ctx or [ErrClosed], is
// the last. Start again to repeat what was not acknowledged. The body of the loop
// may use the spool.
func (s *Spool) Read(ctx context.Context, sink string) iter.Seq2[Chunk, error] {
	return s.read(ctx, sink, func() (uint64, error) { return 0, nil })
}

// ReadFrom is [Spool.Read] with the chunks behind the position after in place of
// those that sink has not acknowledged: live delivery and what was left behind can
// so be read side by side. It changes no cursor, and Ack still says that all up to
// a position is delivered. after is a misuse above [Stats].Durable. Below the
// cursor of sink, chunks may be gone because all sinks acknowledged them: that too
// is told as a [*GapError], as they cannot be read any more.
func (s *Spool) ReadFrom(ctx context.Context, sink string, after uint64) iter.Seq2[Chunk, error] {
	return s.read(ctx, sink, func() (uint64, error) {
		if durable := s.Stats().Durable; after > durable {
			return 0, resilience.Misusef("spool: sink %q: position %d is not in the spool yet, which ends at %d", sink, after, durable)
		}
		return after + 1, nil
	})
}

// read reads from a position on; 0 is what the sink has not acknowledged.
func (s *Spool) read(ctx context.Context, sink string, from func() (uint64, error)) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		k := s.sinks[sink]
		if k == nil {
			yield(Chunk{}, resilience.Misusef("spool: sink %q is not in Config.Sinks", sink))
			return
		}
		start, err := from()
		if err != nil {
			yield(Chunk{}, err)
			return
		}
		r := reader{s: s, sink: k, from: start}
		defer r.leave()
		for {
			c, err := r.next(ctx)
			var gap *GapError
			if !yield(c, err) || err != nil && !errors.As(err, &gap) {
				return
			}
		}
	}
}

type reader struct {
	s       *Spool
	sink    *sink
	started bool
	from    uint64 // positions below it are not asked for
	behind  bool   // it began with what the sink had acknowledged
	base    uint64 // of the segment it is in; 0 before the first
	walk    walker
	known   chain
	gaps    []*GapError // still to be told
}

// leave closes the file: as long as it is open, a removed segment gives no room back.
func (r *reader) leave() {
	if r.walk.f != nil {
		_ = r.walk.f.Close()
		r.walk.f = nil
	}
}

func (r *reader) next(ctx context.Context) (Chunk, error) {
	for {
		if ctx.Err() != nil {
			return Chunk{}, fmt.Errorf("spool: read: %w", ctx.Err())
		}
		if r.s.isClosed() {
			return Chunk{}, ErrClosed
		}
		if len(r.gaps) > 0 {
			gap := r.gaps[0]
			r.gaps = r.gaps[1:]
			return Chunk{}, gap
		}
		here, later, grown := r.look()
		if r.walk.at > 0 && r.walk.at < here {
			r.walk.end = here
			c, ok, err := r.record()
			if r.walk.at >= here {
				r.leave() // before the caller keeps it waiting, or the stream
			}
			if err != nil {
				return Chunk{}, fmt.Errorf("spool: read %s: %w", segmentName(r.base), err)
			}
			if ok {
				return c, nil
			}
			continue
		}
		if later != nil {
			if err := r.enter(*later); err != nil {
				return Chunk{}, fmt.Errorf("spool: read %s: %w", segmentName(later.base), err)
			}
			continue
		}
		if err := r.s.wait(ctx, grown); err != nil {
			return Chunk{}, err
		}
	}
}

// look returns how far the segment it is in can be read, and the one to go to next.
func (r *reader) look() (here int64, later *segment, grown <-chan struct{}) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.started {
		r.started = true
		if r.from == 0 {
			r.from = r.sink.acked + 1
		}
		r.behind = r.from <= r.sink.acked
		if len(s.segments) > 0 && s.segments[0].after >= r.from {
			r.gaps = append(r.gaps, &GapError{First: r.from, Last: s.segments[0].after})
		}
	}
	here = r.walk.end
	for i, seg := range s.segments {
		if seg.base == r.base {
			here = seg.size
		}
		if seg.base > r.base && (later == nil || seg.base <= r.from) {
			later = &s.segments[i]
		}
	}
	if later != nil {
		next := *later
		later = &next
	}
	return here, later, s.grown
}

// enter goes to a segment. What its header says was there before must have been seen.
func (r *reader) enter(seg segment) error {
	r.leave()
	first := r.base == 0
	r.base, r.walk = seg.base, walker{pos: seg.base}
	f, err := r.s.files.open(segmentName(seg.base), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // acknowledged and removed, or the next segment tells
	}
	if err != nil {
		r.base = seg.base - 1
		return err
	}
	h, newer, ok, err := readSegment(f, seg.base, seg.size)
	if err == nil && newer {
		err = errors.New("written by a newer release")
	}
	if err != nil || !ok {
		return errors.Join(err, f.Close()) // if it is rotten, the next segment tells
	}
	r.walk = walker{f: f, salt: h.salt, at: h.start, end: seg.size, pos: seg.base}
	if r.known == nil {
		r.known = chain{}
	}
	r.s.mu.Lock()
	past := r.sink.acked >= seg.after && !r.behind
	r.s.mu.Unlock()
	for _, feed := range slices.Sorted(maps.Keys(h.cursors)) {
		gap := r.known.expect(feed, h.cursors[feed])
		if gap != nil && !first && !past {
			r.gaps = append(r.gaps, gap)
		}
	}
	return nil
}

// record reads the next record of the segment. ok is false if it is none to yield.
func (r *reader) record() (Chunk, bool, error) {
	if r.walk.f == nil {
		f, err := r.s.files.open(segmentName(r.base), false)
		if errors.Is(err, fs.ErrNotExist) {
			r.walk.at = r.walk.end // acknowledged and removed, or the next segment tells
			return Chunk{}, false, nil
		}
		if err != nil {
			return Chunk{}, false, err
		}
		r.walk.f = f
	}
	h, at, ok, err := r.walk.next()
	if err != nil {
		return Chunk{}, false, err
	}
	if !ok {
		r.walk.at = r.walk.end // a record, if one follows, begins exactly there
		return Chunk{}, false, nil
	}
	if h.pos < r.from {
		r.known.add(&h)
		return Chunk{}, false, nil
	}
	if h.hasPrevious {
		if gap := r.known.expect(h.feed, h.previous); gap != nil {
			r.gaps = append(r.gaps, gap)
		}
	}
	r.known.add(&h)
	body, ok, err := r.walk.body(&h, at)
	if err != nil {
		return Chunk{}, false, err
	}
	if !ok {
		r.gaps = append(r.gaps, &GapError{Feed: h.feed, First: h.first, Last: h.last})
		return Chunk{}, false, nil
	}
	if len(r.gaps) > 0 { // they come first
		r.walk.at, r.walk.pos = at-recordHeader-int64(len(h.feed)), h.pos
		return Chunk{}, false, nil
	}
	r.s.mu.Lock()
	r.sink.got(&h)
	r.s.mu.Unlock()
	return h.chunk(body), true, nil
}
