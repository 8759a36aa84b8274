package kv

import (
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// bbolt trusts its file: on a damaged page it panics, or follows a wild offset
// out of the mapping. Open checks the file first, so this happens only if the
// file is damaged, or cut short, while it is open. Then it must still be an
// error and not the end of a process that is isolating hosts.

// faultError is a panic or memory fault inside bbolt.
type faultError struct{ cause any }

func (e *faultError) Error() string { return fmt.Sprintf("bbolt failed on it: %v", e.cause) }

// guarded runs f and turns panics and memory faults (SIGBUS, SIGSEGV) into errors.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = &faultError{cause}
		}
	}()
	return f()
}

// read runs f in a read-only transaction. key, if any, is named in the error if
// f meets damage.
func (b *Bolt) read(key string, f func(records *bbolt.Bucket) error) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return ErrClosed
	}
	if damage := b.noReads.Load(); damage != nil {
		return damage
	}
	began := false
	err := guarded(func() error {
		return b.db.View(func(tx *bbolt.Tx) error {
			began = true
			return f(tx.Bucket(recordsBucket))
		})
	})
	fault, ok := err.(*faultError)
	if !ok {
		return err
	}
	if began { // View released what it held
		return &CorruptError{Path: b.path, Key: key, Err: fault}
	}
	damage := &CorruptError{Path: b.path, Err: fault}
	b.noReads.Store(damage)
	b.noWrites.Store(damage)
	return damage
}

// write runs f in a read-write transaction and then stores the totals that f
// brought up to date.
func (b *Bolt) write(f func(records *bbolt.Bucket, t *totals) error) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return ErrClosed
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	if damage := b.noWrites.Load(); damage != nil {
		return damage
	}
	err := guarded(func() error {
		return b.db.Update(func(tx *bbolt.Tx) error {
			meta := tx.Bucket(metaBucket)
			t, err := decodeTotals(meta.Get(totalsKey))
			if err != nil {
				return &CorruptError{Path: b.path, Err: err}
			}
			if err := f(tx.Bucket(recordsBucket), &t); err != nil {
				return err
			}
			return meta.Put(totalsKey, t.encode())
		})
	})
	if fault, ok := err.(*faultError); ok {
		damage := &CorruptError{Path: b.path, Err: fmt.Errorf("writes are refused until it is opened again: %w", fault)}
		b.noWrites.Store(damage)
		return damage
	}
	return err
}
