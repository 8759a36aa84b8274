package spool

import (
	"errors"
	"fmt"
	"slices"
)

// Recovered is what Open found damaged. All of it empty is a clean start.
type Recovered struct {
	Cuts []Cut
	// Gaps are chunks damaged in the middle of the newest segment, which later
	// chunks of the same feed keep the stream from replaying.
	Gaps []GapError
	// Sinks have no readable cursor, though a file for it: it is damaged, or a crash
	// came while it was made. They begin again with the oldest segment.
	Sinks []string
	// Dropped are files of quarantine/ that made way for newer ones, the oldest
	// first: Config.QuarantineBytes.
	Dropped []string
}

// Cut is a damaged end that Open cut off.
type Cut struct {
	Segment string // the file
	At      int64  // where it was cut; 0 if nothing of it could be read
	Bytes   int64  // what was cut off
	// Quarantine is the file in the spool's directory that keeps the bytes. It is
	// empty if there were none, if they are more than Config.QuarantineBytes, or if
	// the disk refused; then they stay in the segment until it is delivered, and do
	// no harm.
	Quarantine string
	// Promised says that synced, acknowledged chunks were among it: the disk is
	// failing. Otherwise it is what a crash leaves of a write under way, or no
	// sink's cursor is new enough to tell.
	Promised bool
}

// Recovered returns what Open found damaged.
func (s *Spool) Recovered() Recovered {
	r := &s.recovered
	return Recovered{slices.Clone(r.Cuts), slices.Clone(r.Gaps), slices.Clone(r.Sinks), slices.Clone(r.Dropped)}
}

func (s *Spool) recover() error {
	var mark, acked uint64
	var fresh []*sink
	for _, name := range s.config.Sinks {
		k := &sink{name: name}
		s.sinks[name] = k
		m, known, err := s.load(k)
		if err != nil {
			return fmt.Errorf("spool: cursor of sink %q: %w", name, err)
		}
		if !known {
			if k.file != nil {
				s.recovered.Sinks = append(s.recovered.Sinks, name)
			}
			fresh = append(fresh, k)
		}
		mark, acked = max(mark, m), max(acked, k.acked)
	}
	if err := s.find(); err != nil {
		return err
	}
	s.makeWay(0)
	s.next = max(s.next, acked+1, mark+1)
	var err error
	for checked := false; !checked && len(s.segments) > 0; {
		if checked, err = s.check(&s.segments[len(s.segments)-1], mark); err != nil {
			return err
		}
		if !checked {
			s.segments = s.segments[:len(s.segments)-1]
		}
	}
	oldest := s.next - 1
	if len(s.segments) == 0 {
		s.durable = oldest
	} else if oldest, err = s.before(&s.segments[0]); err != nil {
		return err
	}
	for _, k := range fresh {
		if err := s.create(k, oldest); err != nil {
			return err
		}
	}
	for _, k := range s.sinks {
		// On a full disk the sink may still read, and its slots are as good as they were.
		if err := s.settle(k); err != nil && !errors.Is(err, ErrFull) {
			return err
		}
	}
	return s.reclaim()
}

// create gives a sink its cursor file, both slots written.
func (s *Spool) create(k *sink, acked uint64) (err error) {
	if k.file == nil {
		k.file, err = s.files.open(ackName(k.name), true)
		if errors.Is(full(err), ErrFull) && s.spend() {
			k.file, err = s.files.open(ackName(k.name), true)
		}
		if err != nil {
			return fmt.Errorf("spool: cursor of sink %q: %w", k.name, full(err))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := errors.Join(s.save(k, acked), s.save(k, acked)); err != nil {
		return err
	}
	return s.files.sync(".")
}

// find lists the segments, and finds the reserve.
func (s *Spool) find() error {
	names, err := s.files.list(".")
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		base, ok := segmentBase(name)
		if !ok && name != reserveName {
			continue
		}
		f, err := s.files.open(name, false)
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		size, err := f.size()
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if !ok {
			s.reserve = size
			continue
		}
		s.segments = append(s.segments, segment{base: base, after: base - 1, size: size, disk: size})
	}
	return nil
}

// before returns the newest position that was durable before the oldest segment.
func (s *Spool) before(seg *segment) (uint64, error) {
	f, err := s.files.open(segmentName(seg.base), false)
	if err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	h, _, ok, err := readSegment(f, seg.base, seg.size)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("spool: %s: %w", segmentName(seg.base), err)
	}
	if ok {
		seg.after = h.after()
	}
	return seg.after, nil
}

// check reads the newest segment whole, cuts what is not, and takes the cursors
// from the rest. ok is false if it cannot be read at all, and is out of the way.
func (s *Spool) check(seg *segment, mark uint64) (ok bool, err error) {
	name := segmentName(seg.base)
	f, err := s.files.open(name, false)
	if err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h, newer, ok, err := readSegment(f, seg.base, seg.size)
	switch {
	case err != nil:
		return false, fmt.Errorf("spool: %s: %w", name, err)
	case newer:
		return false, fmt.Errorf("spool: %s was written by a newer release", name)
	case !ok:
		cut := Cut{Segment: name, Bytes: seg.size, Promised: mark >= seg.base}
		if cut.Quarantine = s.quarantine(f, seg.base, 0, seg.size); cut.Quarantine != "" || seg.size == 0 {
			if err := s.files.remove(name); err != nil {
				return false, fmt.Errorf("spool: %w", err)
			}
		} else {
			s.next = max(s.next, seg.base+1)
		}
		s.recovered.Cuts = append(s.recovered.Cuts, cut)
		return false, nil
	case h.cid != s.config.CID:
		return false, fmt.Errorf("spool: it holds the events of CID %q, and Config.CID is %q: use another directory", h.cid, s.config.CID)
	}
	whole, last, err := s.scan(f, &h, seg)
	if err != nil {
		return false, fmt.Errorf("spool: %s: %w", name, err)
	}
	s.next = max(s.next, seg.base+1, last+1) // the name base is taken
	seg.start, seg.after, s.durable = h.start, h.after(), last
	if last < seg.base {
		s.durable = seg.after
	}
	if cut := seg.size - whole; cut > 0 || mark > last {
		c := Cut{Segment: name, At: whole, Bytes: max(cut, 0), Promised: mark > last}
		if cut > 0 {
			if c.Quarantine = s.quarantine(f, seg.base, whole, cut); c.Quarantine != "" {
				if err := f.Truncate(whole); err != nil {
					return false, fmt.Errorf("spool: %s: %w", name, err)
				}
				seg.disk = whole
			}
			seg.size = whole
		}
		s.recovered.Cuts = append(s.recovered.Cuts, c)
	}
	// A process killed before its sync left bytes that only memory holds. The
	// cursor is not to stand on them.
	if err := f.sync(); err != nil {
		return false, fmt.Errorf("spool: %s: %w", name, err)
	}
	return true, nil
}

// scan returns where the last intact record ends, and its position.
func (s *Spool) scan(f file, h *segmentHeader, seg *segment) (whole int64, last uint64, err error) {
	known := chain(h.cursors)
	w := walker{f: f, salt: h.salt, at: h.start, end: seg.size, pos: seg.base}
	whole, last = h.start, seg.base-1
	for {
		r, at, ok, err := w.next()
		if err != nil {
			return 0, 0, err
		}
		if !ok {
			break
		}
		if _, ok, err = w.body(&r, at); err != nil {
			return 0, 0, err
		} else if !ok {
			continue // if nothing newer of its feed follows, the stream replays it
		}
		if r.hasPrevious {
			if gap := known.expect(r.feed, r.previous); gap != nil {
				s.recovered.Gaps = append(s.recovered.Gaps, *gap)
			}
		}
		known.add(&r)
		whole, last = w.at, r.pos
	}
	s.cursors = known
	return whole, last, nil
}
