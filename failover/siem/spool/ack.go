package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"

	"github.com/jurymast/jurymast/resilience"
)

// A sink's cursor is a file of two slots, written in turn, so that a torn write
// leaves the one before:
//
//	magic 4, version 1, zero 3, counter 8, acknowledged 8, durable 8, events 8, CRC-32C of all this and the sink's name 4
//
// durable is the newest position that was synced then: a tail that ends below it
// is not torn but rotten.
const (
	slotMagic   = 0x414A4D31
	slotVersion = 1
	slotSize    = 512
	slotUsed    = 44
)

// slot is what a slot says.
type slot struct{ counter, acked, durable, events uint64 }

type sink struct {
	name string

	mu      sync.Mutex // held over a save
	file    file
	counter uint64 // of the newest slot

	// Guarded by Spool.mu:
	acked  uint64
	other  uint64 // what the other slot says, which is what damage may fall back to
	events uint64 // acknowledged
	read   []read // and not acknowledged
}

// read is a chunk that a sink has got.
type read struct {
	position uint64
	events   uint32
}

// got notes a chunk that the sink's reader returns; another reader may have before.
// The caller holds Spool.mu.
func (k *sink) got(h *header) {
	if n := len(k.read); h.pos > k.acked && (n == 0 || h.pos > k.read[n-1].position) {
		k.read = append(k.read, read{h.pos, h.count})
	}
}

// upTo counts the events that will be acknowledged with a position.
func (k *sink) upTo(position uint64) (chunks int, events uint64) {
	events = k.events
	for ; chunks < len(k.read) && k.read[chunks].position <= position; chunks++ {
		events += uint64(k.read[chunks].events)
	}
	return chunks, events
}

func ackName(sink string) string { return "ack-" + sink }

func (v slot) encode(sink string) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(make([]byte, 0, slotSize), slotMagic)
	b = append(b, slotVersion, 0, 0, 0)
	for _, n := range []uint64{v.counter, v.acked, v.durable, v.events} {
		b = le.AppendUint64(b, n)
	}
	b = le.AppendUint32(b, slotSum(b, sink))
	return b[:slotSize]
}

func slotSum(b []byte, sink string) uint32 {
	return crc32.Update(crc32.Checksum(b[:slotUsed-4], castagnoli), castagnoli, []byte(sink))
}

func decodeSlot(b []byte, sink string) (v slot, newer, ok bool) {
	le := binary.LittleEndian
	if len(b) < slotUsed || le.Uint32(b) != slotMagic || le.Uint32(b[slotUsed-4:]) != slotSum(b, sink) {
		return slot{}, false, false
	}
	if b[4] != slotVersion {
		return slot{}, true, false
	}
	return slot{le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:])}, false, true
}

// load reads the sink's cursor. known is false if there is none.
func (s *Spool) load(k *sink) (mark uint64, known bool, err error) {
	k.file, err = s.files.open(ackName(k.name), false)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	b, err := readAt(k.file, 0, 2*slotSize)
	if err != nil {
		return 0, false, err
	}
	for i := 0; i+slotUsed <= len(b); i += slotSize {
		v, newer, ok := decodeSlot(b[i:], k.name)
		if newer {
			return 0, false, fmt.Errorf("the cursor of sink %q was written by a newer release", k.name)
		}
		if ok && (!known || v.counter > k.counter) {
			k.counter, k.acked, k.events, known = v.counter, v.acked, v.events, true
		}
		if ok {
			mark = max(mark, v.durable)
		}
	}
	return mark, known, nil
}

// save makes acked the sink's durable cursor. The caller holds k.mu.
func (s *Spool) save(k *sink, acked uint64) error {
	s.mu.Lock()
	chunks, events := k.upTo(acked)
	v := slot{k.counter + 1, acked, s.durable, events}
	s.mu.Unlock()
	write := func() error {
		_, err := k.file.WriteAt(v.encode(k.name), int64(v.counter%2)*slotSize)
		if err == nil {
			err = k.file.sync()
		}
		return err
	}
	err := write()
	if errors.Is(full(err), ErrFull) && s.spend() {
		err = write()
	}
	if err != nil { // the counter stays: the good slot is not touched by the next try
		return fmt.Errorf("spool: cursor of sink %q: %w", k.name, full(err))
	}
	k.counter = v.counter
	s.mu.Lock()
	defer s.mu.Unlock()
	k.acked, k.other, k.events = acked, k.acked, events
	k.read = k.read[chunks:] // which may only have grown since
	return nil
}

// settle makes both slots say the same.
func (s *Spool) settle(k *sink) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.acked == k.other || s.isClosed() {
		return nil
	}
	return s.save(k, k.acked)
}

// Ack records that sink has delivered every chunk up to position, which it got
// from [Spool.Read]; a lower one than before changes nothing. It returns after
// the cursor is synced; then it removes the segments that no sink needs.
func (s *Spool) Ack(sink string, position uint64) error {
	k := s.sinks[sink]
	if k == nil {
		return resilience.Misusef("spool: sink %q is not in Config.Sinks", sink)
	}
	if err := s.advance(k, position); err != nil {
		return err
	}
	return s.release()
}

func (s *Spool) advance(k *sink, position uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.mu.Lock()
	durable, acked := s.durable, k.acked
	s.mu.Unlock()
	switch {
	case s.isClosed():
		return ErrClosed
	case position > durable:
		return resilience.Misusef("spool: sink %q: position %d is not in the spool yet", k.name, position)
	case position <= acked:
		return nil
	}
	return s.save(k, position)
}

// release removes what is delivered, after the other slots that need it are past
// it too: also those of a sink that was at the end when the segment was changed,
// and has nothing more to acknowledge.
func (s *Spool) release() error {
	for _, k := range s.sinks {
		if !s.crossed(k) {
			continue
		}
		if err := s.settle(k); err != nil {
			return err
		}
	}
	return s.reclaim()
}

// crossed says that a segment ends between what the two slots say.
func (s *Spool) crossed(k *sink) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		if seg.after > k.other && seg.after <= k.acked {
			return true
		}
	}
	return false
}

// reclaim removes the segments that every slot of every sink is past. The newest
// one stays: it knows the cursors. It needs no room on the disk.
func (s *Spool) reclaim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() {
		return nil // it may be another's
	}
	floor := s.durable
	for _, k := range s.sinks {
		floor = min(floor, k.acked, k.other)
	}
	// Where all is delivered, what after is not known of does not matter.
	for len(s.segments) > 1 && (s.segments[1].after <= floor || floor == s.durable) {
		err := s.files.remove(segmentName(s.segments[0].base))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("spool: remove a delivered segment: %w", err)
		}
		s.segments = s.segments[1:]
	}
	return nil
}

func (s *Spool) closeSinks() error {
	var errs []error
	for _, k := range s.sinks {
		k.mu.Lock()
		if k.file != nil {
			errs = append(errs, k.file.Close())
			k.file = nil
		}
		k.mu.Unlock()
	}
	return errors.Join(errs...)
}
