package siem

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
)

// pollMemory is what a Poll has put already, of what the next list will have again.
type pollMemory struct {
	key   string
	rev   uint64
	begin time.Time // of the first poll of all
	seen  map[mark]uint64
	again map[mark]uint64 // those of seen that the list has again
}

// mark stands for a change. Two changes with one mark would be a change lost: it is
// half of a SHA-256.
type mark [16]byte

func markOf(c *Change) (m mark) {
	text := c.Updated.UTC().AppendFormat(nil, time.RFC3339Nano)
	text = append(append(text, ' '), c.ID...)
	if c.Err != nil {
		text = append(append(text, ' '), c.Raw...)
	}
	sum := sha256.Sum256(text)
	copy(m[:], sum[:])
	return m
}

// pollRecord is what is in the store.
type pollRecord struct {
	Begin time.Time `json:"begin"`
	Seen  []byte    `json:"seen"` // marks, each with its offset
}

const markSize = len(mark{}) + 8

func (r *pollRecord) marks(stored uint64) map[mark]uint64 {
	seen := map[mark]uint64{}
	for b := r.Seen; len(b) >= markSize; b = b[markSize:] {
		// A spool that was damaged may have lost what was put into it.
		if offset := binary.LittleEndian.Uint64(b[len(mark{}):]); offset <= stored {
			seen[mark(b[:len(mark{})])] = offset
		}
	}
	return seen
}

// remember reads what the source had put before it was stopped. If it cannot be read,
// some changes are put again.
func remember(ctx context.Context, in *Intake, start time.Duration) (*pollMemory, error) {
	m := &pollMemory{key: "siem/poll/" + in.source}
	store := in.pump.state
	e, err := store.Get(ctx, m.key)
	if _, damaged := errors.AsType[*kv.CorruptError](err); damaged {
		err = store.Delete(ctx, m.key, 0)
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("siem: poll %s: %w", in.source, err)
	}
	var r pollRecord
	_ = json.Unmarshal(e.Value, &r)
	stored, _ := in.stored(pollFeed)
	m.rev, m.begin, m.seen = e.Rev, r.Begin, r.marks(stored)
	if m.begin.IsZero() {
		m.begin = time.Now().Add(-start)
		return m, m.save(ctx, in)
	}
	return m, nil
}

// save is called after the changes are in the spool.
func (m *pollMemory) save(ctx context.Context, in *Intake) error {
	r := pollRecord{Begin: m.begin, Seen: make([]byte, 0, len(m.seen)*markSize)}
	for k, offset := range m.seen {
		r.Seen = binary.LittleEndian.AppendUint64(append(r.Seen, k[:]...), offset)
	}
	var err error
	if m.rev, err = saveState(ctx, in.pump.state, m.key, r, m.rev); err != nil {
		return fmt.Errorf("siem: poll %s: %w", in.source, err)
	}
	return nil
}

// next begins a list.
func (m *pollMemory) next() { m.again = map[mark]uint64{} }

func (m *pollMemory) has(c *Change) bool {
	k := markOf(c)
	offset, ok := m.seen[k]
	if ok {
		m.again[k] = offset
	}
	return ok
}

// forget drops, at the end of a list from since on, what will not be in the next one
// either. A list may also leave out for once what it had before.
func (m *pollMemory) forget(since time.Time) {
	for k, offset := range m.seen {
		if offset >= uint64(max(since.UnixMicro(), 1)) {
			m.again[k] = offset
		}
	}
	m.seen = m.again
}

func (m *pollMemory) add(c *Change, offset uint64) { m.seen[markOf(c)] = offset }
