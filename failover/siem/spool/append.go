package spool

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"

	"github.com/jurymast/jurymast/resilience"
)

const groupBytes = 8 << 20 // what one sync carries, at most, beyond its first chunk

// requests are the Appends that wait for the one that writes.
type requests struct {
	mu      sync.Mutex
	waiting []*request
	feeds   map[string]bool // with an Append under way
}

type request struct {
	header header
	body   []byte
	done   chan error
}

// Append stores c and returns after it is synced. Concurrent calls share a sync;
// of one feed only one may be under way, since a later chunk must not become
// durable without the earlier one. Offsets of a feed rise: c.First must be above
// its cursor. After an error other than a misuse, append the same events again
// before later ones of the feed: the cursor did not move.
//
// ctx counts until the write begins; from then on the outcome is awaited.
func (s *Spool) Append(ctx context.Context, c Chunk) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("spool: append: %w", err)
	}
	if err := admit(&c); err != nil {
		return err
	}
	r := &request{headerOf(&c), c.Body, make(chan error, 1)}
	if size := r.header.size(); s.config.MaxBytes > 0 && size > s.config.MaxBytes {
		return resilience.Misusef("spool: a chunk of %d bytes is more than Config.MaxBytes, %d", size, s.config.MaxBytes)
	}
	if err := s.queue.add(r); err != nil {
		return err
	}
	defer s.queue.release(c.Feed)
	return s.await(ctx, r)
}

// await takes turns in writing until r was in a group.
func (s *Spool) await(ctx context.Context, r *request) error {
	for {
		select {
		case err := <-r.done:
			return err
		case s.turn <- struct{}{}:
			if group := s.queue.take(); len(group) > 0 {
				s.commit(group)
			}
			<-s.turn
		case <-ctx.Done():
			if s.queue.withdraw(r) {
				return fmt.Errorf("spool: append: %w", ctx.Err())
			}
			return <-r.done
		}
	}
}

func admit(c *Chunk) error {
	switch {
	case c.Feed == "" || len(c.Feed) > MaxFeed:
		return resilience.Misusef("spool: Chunk.Feed has %d bytes: it needs 1 to %d", len(c.Feed), MaxFeed)
	case len(c.Body) == 0 || len(c.Body) > MaxBody:
		return resilience.Misusef("spool: Chunk.Body has %d bytes: it needs 1 to %d", len(c.Body), MaxBody)
	case c.First > c.Last:
		return resilience.Misusef("spool: Chunk.First is %d, above Last, %d", c.First, c.Last)
	}
	return nil
}

func (q *requests) add(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.feeds[r.header.feed] {
		return resilience.Misusef("spool: feed %q has an Append under way: wait for it", r.header.feed)
	}
	if q.feeds == nil {
		q.feeds = map[string]bool{}
	}
	q.feeds[r.header.feed] = true
	q.waiting = append(q.waiting, r)
	return nil
}

func (q *requests) release(feed string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.feeds, feed)
}

// take returns the next group, oldest first.
func (q *requests) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, int64(0)
	for n < len(q.waiting) && (n == 0 || size+q.waiting[n].header.size() <= groupBytes) {
		size += q.waiting[n].header.size()
		n++
	}
	group := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return group
}

func (q *requests) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range q.waiting {
		if other == r {
			q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// commit writes a group, syncs once and answers each request. The caller has the turn.
func (s *Spool) commit(group []*request) {
	if s.isClosed() {
		answer(group, ErrClosed)
		return
	}
	group = s.refuse(group)
	if len(group) == 0 {
		return
	}
	n, err := s.room(group)
	if n < len(group) {
		answer(group[n:], err)
		group = group[:n]
	}
	if len(group) == 0 {
		return
	}
	err = s.write(group)
	if errors.Is(err, ErrFull) {
		switch {
		case len(group) > 1 && s.active != nil: // one of them may fit
			for i := range group {
				s.commit(group[i : i+1])
			}
			return
		case s.delivered():
			// All that fills the disk is delivered, in the open segment: change it. The
			// new one is empty, so this is not tried twice.
			if err = s.roll(); err == nil {
				s.commit(group)
				return
			}
		}
	}
	answer(group, err)
}

func answer(group []*request, err error) {
	for _, r := range group {
		r.done <- err
	}
}

// refuse answers the requests that do not fit the cursors.
func (s *Spool) refuse(group []*request) (rest []*request) {
	feeds := len(s.cursors) // only the holder of the turn changes them
	for _, r := range group {
		cursor, ok := s.cursors[r.header.feed]
		switch {
		case ok && r.header.first <= cursor:
			r.done <- resilience.Misusef("spool: feed %q: Chunk.First is %d and offsets up to %d are stored: skip those", r.header.feed, r.header.first, cursor)
			continue
		case !ok && feeds >= MaxFeeds:
			r.done <- resilience.Misusef("spool: feed %q: the spool has %d feeds already", r.header.feed, MaxFeeds)
			continue
		case !ok:
			feeds++
		}
		r.header.previous, r.header.hasPrevious = cursor, ok
		rest = append(rest, r)
	}
	return rest
}

// room makes sure of a segment and returns how many of the group fit.
func (s *Spool) room(group []*request) (int, error) {
	s.mu.Lock()
	full := s.active != nil && s.segments[len(s.segments)-1].size+group[0].header.size() > s.config.SegmentBytes
	s.mu.Unlock()
	if s.active == nil || full {
		if err := s.roll(); err != nil {
			return 0, err
		}
	}
	feeds := min(len(s.cursors)+len(group), MaxFeeds)
	err := s.restock(feeds)
	if errors.Is(err, ErrFull) && s.delivered() {
		if err = s.roll(); err == nil {
			err = s.restock(feeds)
		}
	}
	if err != nil {
		return 0, err
	}
	n := s.fitting(group)
	if n == 0 && s.delivered() {
		// All that fills the budget is delivered, in the open segment: change it.
		if err := s.roll(); err != nil {
			return 0, err
		}
		n = s.fitting(group)
	}
	return n, fmt.Errorf("%w: %d bytes of Config.MaxBytes, %d, are taken", ErrFull, s.Stats().Bytes, s.config.MaxBytes)
}

func (s *Spool) fitting(group []*request) (n int) {
	if s.config.MaxBytes == 0 {
		return len(group)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	size := s.bytes()
	if len(s.segments) == 1 && s.segments[0].empty() {
		size = 0 // nothing but a header: a chunk of MaxBytes must fit some time
	}
	for n < len(group) && size+group[n].header.size() <= s.config.MaxBytes {
		size += group[n].header.size()
		n++
	}
	return n
}

// delivered says that each sink acknowledged all there is, and that changing the
// segment would free something.
func (s *Spool) delivered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sinks {
		if k.acked < s.durable {
			return false
		}
	}
	return len(s.segments) > 0 && !s.segments[len(s.segments)-1].empty()
}

// Trim gives the room of the open segment back, if every sink has acknowledged all
// there is: for quiet times, when no full segment comes to be removed.
func (s *Spool) Trim() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.isClosed() {
		return ErrClosed
	}
	if !s.delivered() {
		return nil
	}
	return s.roll()
}

// roll changes the segment and removes what that makes needless.
func (s *Spool) roll() error {
	if err := s.begin(); err != nil {
		return err
	}
	return s.release()
}

// begin begins a segment: its header is durable, and its name, before a record
// counts on them.
func (s *Spool) begin() error {
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // never fails
	skipped := min(s.next-1-s.durable, math.MaxUint32)
	h := segmentHeader{
		base: s.next, salt: binary.LittleEndian.Uint64(salt[:]), skipped: uint32(skipped),
		cid: s.config.CID, cursors: maps.Clone(s.cursors),
	}
	raw := h.encode()
	name := segmentName(s.next)
	f, err := s.put(name, raw)
	if errors.Is(err, ErrFull) && s.delivered() && s.spend() {
		f, err = s.put(name, raw)
	}
	if err != nil {
		return fmt.Errorf("spool: begin a segment: %w", err)
	}
	if s.active != nil {
		_ = s.active.Close() // all of it is synced
	}
	s.active, s.salt = f, h.salt
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.segments); n > 0 && s.segments[n-1].empty() {
		// Every write to it failed; the new one says all that it says. If it cannot be
		// removed it is only useless.
		if s.files.remove(segmentName(s.segments[n-1].base)) == nil {
			s.segments = s.segments[:n-1]
		}
	}
	size := int64(len(raw))
	s.segments = append(s.segments, segment{base: s.next, after: h.after(), start: size, size: size, disk: size})
	return nil
}

func (s *Spool) write(group []*request) error {
	s.mu.Lock()
	synced := s.segments[len(s.segments)-1].size
	s.mu.Unlock()
	at := synced
	var err error
	for _, r := range group {
		r.header.pos = s.next
		s.next++ // never used again, whatever comes
		s.buffer = appendRecord(s.buffer[:0], s.salt, &r.header, r.body)
		if _, err = s.active.WriteAt(s.buffer, at); err != nil {
			break
		}
		at += int64(len(s.buffer))
	}
	if err != nil {
		// Nothing was synced and so nothing can be in doubt, once it is cut off.
		if s.active.Truncate(synced) != nil {
			s.poisoned(synced, at)
		}
		return fmt.Errorf("spool: append: %w", full(err))
	}
	if err := s.active.sync(); err != nil {
		s.poisoned(synced, at)
		return fmt.Errorf("spool: append: %w", full(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := &s.segments[len(s.segments)-1]
	last.size, last.disk = at, at
	for _, r := range group {
		s.cursors[r.header.feed] = r.header.last
	}
	s.durable = s.next - 1
	close(s.grown)
	s.grown = make(chan struct{})
	return nil
}

// poisoned gives up the open segment: nobody knows which of its unsynced pages
// reached the disk, nor whether the next sync would tell.
func (s *Spool) poisoned(synced, written int64) {
	disk := synced
	if s.active.Truncate(synced) != nil {
		disk = written // a reader does not go there; what is left is at worst read twice
	}
	_ = s.active.Close()
	s.active = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments[len(s.segments)-1].disk = disk
}
