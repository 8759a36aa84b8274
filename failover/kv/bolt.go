package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/jurymast/jurymast/internal/disk"
)

const (
	fileName = "state.db"
	lockWait = time.Second // how long Open waits for another process

	// A scan reads this much at a time, so that neither a long scan nor a slow
	// loop body holds a transaction open: bbolt's writers wait for it to grow.
	batchRecords = 256
	batchBytes   = 1 << 20
)

var (
	recordsBucket = []byte("records")
	metaBucket    = []byte("meta")
	totalsKey     = []byte("totals")
)

// Bolt is a [Store] in one file on a local file system, on go.etcd.io/bbolt. One
// Put or Delete is one transaction and costs two fsyncs. It is safe for
// concurrent use.
type Bolt struct {
	path string
	file *os.File // bbolt's own; ours to close when bbolt no longer can
	db   *bbolt.DB

	mu      sync.RWMutex // held for writing by Close
	closed  bool
	writing sync.Mutex // one writer; bbolt's own lock stays locked if it panics

	// Set for good when bbolt panicked at a point after which its locks may stay
	// locked: from then on nobody may wait for them.
	noReads, noWrites atomic.Pointer[CorruptError]
}

var _ Store = (*Bolt)(nil)

// Open opens the store in dir, which must be named; the directory (0700) and the
// file state.db in it (0600) are created if missing. It reads the whole file once
// to prove that nothing is missing, and refuses a damaged one with a
// [*CorruptError] unless the damage is confined to the values of known keys.
// It returns [ErrInUse] if the store is still open elsewhere after one second.
func Open(dir string) (*Bolt, error) {
	if dir == "" {
		return nil, errors.New("kv: the directory name is empty: name a state directory, or use NewMemory if the state may be lost")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	b := &Bolt{path: filepath.Join(dir, fileName)}
	if _, err := os.Stat(b.path); errors.Is(err, fs.ErrNotExist) {
		if err := create(b.path); err != nil {
			return nil, fmt.Errorf("kv: create %s: %w", b.path, err)
		}
	}
	// Without this a power cut could take the name of a new file, and with it
	// everything acknowledged since.
	_ = disk.SyncDir(filepath.Dir(dir)) // matters if dir is new; its parent may be closed to us
	if err := disk.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	err := guarded(func() (err error) {
		b.db, err = bbolt.Open(b.path, 0o600, &bbolt.Options{Timeout: lockWait, NoStatistics: true, OpenFile: b.openFile})
		return err
	})
	if err == nil {
		removeLeftovers(b.path)
		return b, nil
	}
	if b.file != nil { // bbolt may have closed it already
		_ = release(b.file)
	}
	var fault *faultError
	switch {
	case errors.As(err, &fault):
		return nil, &CorruptError{Path: b.path, Err: fault}
	case errors.Is(err, ErrInUse), errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrInUse, b.path)
	}
	return nil, err
}

// openFile opens the file for bbolt and checks it before bbolt maps it: reading
// a mapping of a file cut short would kill the process by SIGBUS.
func (b *Bolt) openFile(path string, flag int, mode fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag&^os.O_CREATE, mode) // creation is create's business
	if err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	b.file = f
	if err := lockFile(f); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 { // restored from a backup, perhaps
		if err := f.Chmod(0o600); err != nil {
			return nil, fmt.Errorf("kv: others can read the state, and it cannot be changed: %w", err)
		}
	}
	if problem := inspect(f, info.Size(), nil); problem != nil {
		return nil, &CorruptError{Path: path, Err: problem}
	}
	return f, nil
}

// Get implements [Store].
func (b *Bolt) Get(ctx context.Context, key string) (Entry, error) {
	if err := admit(ctx, key); err != nil {
		return Entry{}, err
	}
	e := Entry{Key: key}
	err := b.read(key, func(records *bbolt.Bucket) error {
		raw := records.Get([]byte(key))
		if raw == nil {
			return notFound(key)
		}
		var err error
		e, err = b.entry([]byte(key), raw)
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

// entry decodes a record into memory of its own: raw lives in the mapping and
// ends with the transaction.
func (b *Bolt) entry(key, raw []byte) (Entry, error) {
	rev, value, err := decodeRecord(key, raw)
	if err != nil {
		return Entry{Key: string(key)}, &CorruptError{Path: b.path, Key: string(key), Err: err}
	}
	return Entry{Key: string(key), Value: bytes.Clone(value), Rev: rev}, nil
}

// Put implements [Store].
func (b *Bolt) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if err := admit(ctx, key); err != nil {
		return 0, err
	}
	if err := admitValue(key, value); err != nil {
		return 0, err
	}
	var next uint64
	err := b.write(func(records *bbolt.Bucket, t *totals) error {
		k, current := []byte(key), uint64(0)
		raw := records.Get(k)
		if raw != nil {
			var err error
			if current, _, err = decodeRecord(k, raw); err != nil {
				return &CorruptError{Path: b.path, Key: key, Err: err}
			}
		}
		if current != rev {
			return conflict(key, rev, current)
		}
		if raw == nil {
			t.add(k)
		}
		t.rev++
		next = t.rev
		return records.Put(k, encodeRecord(k, next, value))
	})
	if err != nil {
		return 0, err
	}
	return next, nil
}

// Delete implements [Store].
func (b *Bolt) Delete(ctx context.Context, key string, rev uint64) error {
	if err := admit(ctx, key); err != nil {
		return err
	}
	return b.write(func(records *bbolt.Bucket, t *totals) error {
		k := []byte(key)
		raw := records.Get(k)
		if raw == nil {
			return notFound(key)
		}
		current, _, err := decodeRecord(k, raw)
		if err != nil && rev != 0 {
			return &CorruptError{Path: b.path, Key: key, Err: err}
		}
		if err == nil && current != rev {
			return conflict(key, rev, current)
		}
		t.remove(k)
		return records.Delete(k)
	})
}

// Scan implements [Store]. It reads in batches, each a consistent snapshot.
func (b *Bolt) Scan(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		last := "" // no key is empty, so this is before all of them
		for {
			batch, err := b.batch(prefix, last)
			for _, found := range batch {
				if ctx.Err() != nil {
					break
				}
				if !yield(found.Entry, found.err) {
					return
				}
				last = found.Key
			}
			if err == nil && ctx.Err() != nil {
				err = fmt.Errorf("kv: scan %q: %w", prefix, ctx.Err())
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if len(batch) == 0 {
				return
			}
		}
	}
}

type found struct {
	Entry
	err error
}

// batch returns the next entries with the prefix whose keys follow last.
func (b *Bolt) batch(prefix, last string) (batch []found, err error) {
	err = b.read("", func(records *bbolt.Bucket) error {
		c, size := records.Cursor(), 0
		k, raw := c.Seek([]byte(max(prefix, last)))
		if k != nil && string(k) == last {
			k, raw = c.Next()
		}
		for ; bytes.HasPrefix(k, []byte(prefix)) && k != nil; k, raw = c.Next() {
			e, err := b.entry(k, raw)
			batch = append(batch, found{e, err})
			if size += len(k) + len(raw); len(batch) == batchRecords || size >= batchBytes {
				break
			}
		}
		return nil
	})
	return batch, err
}

// release gives up a file that bbolt no longer can.
func release(f *os.File) error {
	disk.Unlock(f)
	return f.Close()
}

// Close implements [Store].
func (b *Bolt) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.noReads.Load() != nil || b.noWrites.Load() != nil {
		// bbolt's Close could wait for ever. Its mapping stays until the process ends.
		return release(b.file)
	}
	return guarded(b.db.Close)
}
