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
}

// Cut is a damaged end that Open cut off.
type Cut struct {
	Segment string // the file
	At      int64  // where it was cut; 0 if nothing of it could be read
	Bytes   int64  // what was cut off
	// Quarantine is the file in the spool's directory that keeps the bytes. It is
	// empty if there were none, or if the disk refused; then they stay where they
	// are, and do no harm.
	Quarantine string
	// Promised says that synced, acknowledged chunks were among it: the disk is
	// failing. Otherwise it is what a crash leaves of a write under way, or no
	// sink's cursor is new enough to tell.
	Promised bool
}

// Recovered returns what Open found damaged.
func (s *Spool) Recovered() Recovered {
	return Recovered{slices.Clone(s.recovered.Cuts), slices.Clone(s.recovered.Gaps), slices.Clone(s.recovered.Sinks)}
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
	s.next = max(s.next, acked+1, mark+1)
	for checked := false; !checked && len(s.segments) > 0; {
		var err error
		if checked, err = s.check(&s.segments[len(s.segments)-1], mark); err != nil {
			return err
		}
		if !checked {
			s.segments = s.segments[:len(s.segments)-1]
		}
	}
	s.durable = s.next - 1
	oldest := s.next
	if len(s.segments) > 0 {
		oldest = s.segments[0].base
	}
	for _, k := range fresh {
		if err := s.create(k, oldest-1); err != nil {
			return err
		}
	}
	for _, k := range s.sinks {
		if err := s.settle(k); err != nil {
			return err
		}
	}
	return s.reclaim()
}

// create gives a sink its cursor file, both slots written.
func (s *Spool) create(k *sink, acked uint64) (err error) {
	if k.file == nil {
		if k.file, err = s.files.open(ackName(k.name), true); err != nil {
			return fmt.Errorf("spool: cursor of sink %q: %w", k.name, full(err))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := errors.Join(s.save(k, acked), s.save(k, acked)); err != nil {
		return err
	}
	return s.files.sync()
}

// find lists the segments.
func (s *Spool) find() error {
	names, err := s.files.list()
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		base, ok := segmentBase(name)
		if !ok {
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
		s.segments = append(s.segments, segment{base: base, size: size, disk: size})
	}
	return nil
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

// quarantine copies bytes aside; "" if the disk refuses.
func (s *Spool) quarantine(from file, base uint64, at, n int64) string {
	if n <= 0 {
		return ""
	}
	name := fmt.Sprintf("quarantine/%s.%d", segmentName(base), at)
	f, err := s.files.open(name, true)
	if err != nil {
		return ""
	}
	const window = 1 << 20
	for done := int64(0); done < n && err == nil; done += window {
		var b []byte
		if b, err = readAt(from, at+done, min(window, n-done)); err == nil {
			_, err = f.WriteAt(b, done)
		}
	}
	if err == nil {
		err = f.sync()
	}
	if errors.Join(err, f.Close()) != nil {
		_ = s.files.remove(name)
		return ""
	}
	return name
}
