// Package kv keeps the small state that must outlive a crash: ledgers, cursors
// and identity links. Every write is a compare-and-swap on one key.
//
// # When the disk fails
//
// A store that was opened does not lie. A write is acknowledged after fsync. A
// record whose bytes changed on the disk is a [*CorruptError] for its key; the
// other keys stay readable. If the damage could hide records (a key, the tree
// around it, the end of the file), [Open] refuses the file with a
// [*CorruptError] that says what to do, and [Salvage] reads out what is still
// provably good. Damage that appears while the store is open is an error too,
// never a crash; after damage met by a write, writes stay refused until the
// store is opened again.
//
// When the disk is full or fails to sync, Put and Delete return an error and the
// store goes on. That error does not say whether the change was kept: read the
// key back.
//
// A second process gets [ErrInUse] within about a second, not a hang.
//
// A power cut can lose only what was not acknowledged, if the disk honours fsync.
package kv

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Limits of what a store takes.
const (
	MaxKey   = 32 << 10 // bytes in a key; an empty key is refused too
	MaxValue = 16 << 20 // bytes in a value
)

// Errors that callers tell apart, with [errors.Is].
var (
	ErrNotFound = errors.New("kv: not found")
	// ErrConflict means that the key is not at the revision that the caller read.
	ErrConflict = errors.New("kv: conflict")
	ErrClosed   = errors.New("kv: store is closed")
	// ErrInUse means that another process, or another Open in this one, has the
	// store open.
	ErrInUse = errors.New("kv: store is in use by another process")
)

// Entry is one record. Its Value belongs to whoever received it.
type Entry struct {
	Key   string
	Value []byte
	// Rev is the revision at which the value was put. Revisions grow over the
	// whole store and are never used twice, so a key that was deleted and created
	// again does not match a revision read before.
	Rev uint64
}

// Store is a small durable map with compare-and-swap. Implementations are safe
// for concurrent use. Methods look at ctx before they start and do not stop half
// way. After Close every method returns [ErrClosed].
type Store interface {
	// Get returns the entry of key, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// Put stores a copy of value and returns its revision. rev is the revision
	// that the caller read; 0 creates the key. If the key is at another revision,
	// or gone, it returns ErrConflict and changes nothing.
	Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
	// Delete removes key if it is at revision rev: otherwise ErrConflict, or
	// ErrNotFound if there is none. Revision 0 removes a damaged record, whose
	// revision nobody can know, and nothing else.
	Delete(ctx context.Context, key string, rev uint64) error
	// Scan yields the entries whose key begins with prefix, in byte order of the
	// keys. The body of the loop may use the store. A key present during the whole
	// scan is yielded once; of a key put or deleted meanwhile, either state may
	// be seen. A *CorruptError with a Key concerns that key, and the scan goes on;
	// any other error is the last.
	Scan(ctx context.Context, prefix string) iter.Seq2[Entry, error]
	// Close releases the store, after the calls under way. Closing again is fine.
	Close() error
}

// CorruptError says that what is on the disk is not what was written.
type CorruptError struct {
	Path string // the damaged file
	Key  string // the damaged record; empty if the file itself is damaged
	Err  error  // what was found
}

// Error names the file, the finding and, for a file that cannot be used, the fix.
func (e *CorruptError) Error() string {
	if e.Key != "" {
		return fmt.Sprintf("kv: record %q in %s is damaged: %v", e.Key, e.Path, e.Err)
	}
	return fmt.Sprintf("kv: %s is damaged: %v; restore it from a backup, or save what kv.Salvage reads from it, move it away and start anew", e.Path, e.Err)
}

// Unwrap returns what was found.
func (e *CorruptError) Unwrap() error { return e.Err }

// admit refuses calls that no store should start.
func admit(ctx context.Context, key string) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("kv: key %q: %w", key, ctx.Err())
	case key == "":
		return errors.New("kv: the key is empty")
	case len(key) > MaxKey:
		return fmt.Errorf("kv: the key has %d bytes, more than %d", len(key), MaxKey)
	}
	return nil
}

func admitValue(key string, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("kv: the value of %q has %d bytes, more than %d", key, len(value), MaxValue)
	}
	return nil
}

func notFound(key string) error { return fmt.Errorf("%w: key %q", ErrNotFound, key) }

// conflict says which revision stands where the caller expected rev; 0 is absence.
func conflict(key string, rev, current uint64) error {
	switch {
	case current == 0:
		return fmt.Errorf("%w: key %q is gone, expected revision %d", ErrConflict, key, rev)
	case rev == 0:
		return fmt.Errorf("%w: key %q exists at revision %d", ErrConflict, key, current)
	}
	return fmt.Errorf("%w: key %q is at revision %d, expected %d", ErrConflict, key, current, rev)
}
