package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
)

// The reserve is a file of real bytes that is removed when the disk is full and
// something must be written before the spool can give room back. There are three:
//
//   - The header of a new segment. The newest segment holds the feeds' cursors and
//     so outlives its delivery: where it fills the disk, only a new one frees it.
//   - A cursor where the disk does not write in place (btrfs, zfs). Elsewhere both
//     slots stand in a block that the sink's file has from the start.
//   - The cursor file of a sink that is named for the first time, such as the
//     second one that is to empty the disk for the first.
//
// Records are written only while there is a reserve, so none of them can take it.
const reserveName = "reserve"

// reserveFor is what those take, rounded up to their blocks, with so many feeds:
// the step is the largest entries that 64 feeds can have, in both copies of a header.
func reserveFor(feeds int) int64 {
	return int64(feeds/64+1)*64*2*(2+MaxFeed+8) + 32<<10
}

// restock makes sure of a reserve. The caller has the turn.
func (s *Spool) restock(feeds int) error {
	need := reserveFor(feeds)
	s.mu.Lock()
	held := s.reserve
	if held < need {
		s.reserve = 0 // until there is the larger one
	}
	s.mu.Unlock()
	if held >= need {
		return nil
	}
	raw := make([]byte, need)
	_, _ = rand.Read(raw) // what compresses would reserve nothing; never fails
	f, err := s.put(reserveName, raw)
	if err != nil {
		return fmt.Errorf("spool: the reserve: %w", err)
	}
	_ = f.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserve = need
	return nil
}

// put makes a file of raw, its bytes and its name durable, or leaves none.
func (s *Spool) put(name string, raw []byte) (file, error) {
	f, err := s.files.open(name, true)
	if err != nil {
		return nil, full(err)
	}
	if _, err = f.WriteAt(raw, 0); err == nil {
		err = errors.Join(f.sync(), s.files.sync("."))
	}
	if err != nil {
		return nil, errors.Join(full(err), f.Close(), s.files.remove(name))
	}
	return f, nil
}

// spend gives the reserve's room back for what must be written. False: there is none.
func (s *Spool) spend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserve == 0 {
		return false
	}
	s.reserve = 0
	err := s.files.remove(reserveName)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}
