package siem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/disk"
	"github.com/jurymast/jurymast/internal/wait"
)

// lines is a family of files of JSON lines in a directory: NAME-STAMP.jsonl. Only the
// newest is written, by whoever has its lock; it is safe for concurrent use.
//
// What append has returned for is on the disk, on whole lines. Of a write that fails
// nothing stays: the file is cut back to what was synced, and if the sync fails it is
// left altogether, since nobody knows which of its pages the disk has. What a crash
// leaves of a write is cut off by the next open.
type lines struct {
	linesConfig
	turn chan struct{} // held by who writes

	// Guarded by turn:
	f      lineFile // nil: the next write begins a file
	path   string
	size   int64 // that is synced
	total  int64 // of all files, when limit is set
	last   uint64
	closed bool

	mu  sync.Mutex
	why error // of the last write
}

type linesConfig struct {
	dir, name string
	maxFile   int64 // at which the next file begins
	// limit is the bytes of all files at which writing waits; 0: none.
	limit int64
	// Older files are removed, so that with the next one there are no more; 0: they stay.
	keepFiles int
	keepBytes int64

	open func(path string, flag int) (lineFile, error) // default openFile
}

// lineFile is what lines need of a file. The second implementation is one in the
// tests that fails.
type lineFile interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Stat() (os.FileInfo, error)
	Close() error
	sync() error
}

type syncedFile struct{ *os.File }

func (f syncedFile) sync() error { return disk.SyncData(f.File) }

var errTaken = errors.New("another one writes this file")

// openFile opens a file and takes its lock.
func openFile(path string, flag int) (lineFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := disk.Lock(f, -1); err != nil {
		if errors.Is(err, disk.ErrLocked) {
			err = errTaken
		}
		return nil, errors.Join(err, f.Close())
	}
	return syncedFile{f}, nil
}

// Errors of append.
var (
	// errNoRoom: nothing was written, for want of room, and later there may be some.
	errNoRoom = errors.New("no room")
	errLimit  = fmt.Errorf("%w: the files are at their limit", errNoRoom)
	errClosed = errors.New("closed")
	// errMoved: somebody moved or removed the file while it was written.
	errMoved = errors.New("the file is gone")
)

const (
	firstNoRoom = 100 * time.Millisecond
	maxNoRoom   = 5 * time.Second
	// lineTries at the most if something else fails than room.
	lineTries = 3
)

// openLines ends what a crash left and goes on with the newest file, if it has room.
func openLines(cfg linesConfig) (*lines, error) {
	l := &lines{linesConfig: cfg, turn: make(chan struct{}, 1)}
	if l.linesConfig.open == nil {
		l.linesConfig.open = openFile
	}
	if err := l.makeDir(); err != nil {
		return nil, err
	}
	found, err := l.list()
	if err != nil {
		return nil, err
	}
	for i, x := range found {
		l.last, l.total = x.stamp, l.total+x.size
		f, size, err := l.mend(x.path)
		switch {
		case errors.Is(err, errTaken), errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case i == len(found)-1 && size < l.maxFile:
			l.f, l.path, l.size = f, x.path, size
		default:
			if err := f.Close(); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

func (l *lines) makeDir() error {
	if _, err := os.Stat(l.dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	_ = disk.SyncDir(filepath.Dir(l.dir)) // it may be closed to us
	return nil
}

// write is append that waits for room.
func (l *lines) write(ctx context.Context, text []byte) error {
	for delay := firstNoRoom; ; delay = min(2*delay, maxNoRoom) {
		err := l.append(ctx, text)
		if !errors.Is(err, errNoRoom) {
			return err
		}
		if cause := wait.For(ctx, delay); cause != nil {
			return fmt.Errorf("%w: %w", cause, err)
		}
	}
}

// append writes whole lines, in one write, and returns after they are synced.
func (l *lines) append(ctx context.Context, text []byte) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	var err error
	for range lineTries {
		if err = l.once(text); err == nil || errors.Is(err, errNoRoom) || errors.Is(err, errClosed) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("siem: %s: %w", filepath.Join(l.dir, l.name), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = err
	return err
}

// waiting is why the last write has failed; nil if it has not.
func (l *lines) waiting() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

func (l *lines) once(text []byte) error {
	if l.closed {
		return errClosed
	}
	n := int64(len(text))
	if l.f != nil && (l.size > 0 && l.size+n > l.maxFile || l.moved()) {
		l.leave()
	}
	if err := l.withinLimit(n); err != nil {
		return err
	}
	if l.f == nil {
		if err := l.begin(); err != nil {
			return noRoom(err)
		}
	}
	if _, err := l.f.WriteAt(text, l.size); err != nil {
		if l.f.Truncate(l.size) != nil {
			l.leave()
		}
		return noRoom(err)
	}
	if err := l.f.sync(); err != nil {
		_ = l.f.Truncate(l.size)
		l.leave()
		return noRoom(err)
	}
	if l.moved() { // before or after the write? Twice is better than never
		l.leave()
		return errMoved
	}
	l.size += n
	l.total += n
	return nil
}

// noRoom marks the errors of a disk without room.
func noRoom(err error) error {
	if disk.Full(err) {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	return err
}

// moved says that the open file has its name no more.
func (l *lines) moved() bool {
	open, err := l.f.Stat()
	if err != nil {
		return true
	}
	named, err := os.Stat(l.path)
	return err != nil || !os.SameFile(open, named)
}

// leave ends with the open file; one with nothing in it goes.
func (l *lines) leave() {
	if l.f == nil {
		return
	}
	if l.size == 0 && !l.moved() {
		_ = os.Remove(l.path)
	}
	_ = l.f.Close() // all that counts is synced
	l.f, l.path, l.size = nil, "", 0
}

func (l *lines) withinLimit(n int64) error {
	if l.limit == 0 || l.total+n <= l.limit {
		return nil
	}
	found, err := l.list() // somebody may have made room
	if err != nil {
		return err
	}
	l.total = 0
	for _, x := range found {
		l.total += x.size
	}
	if l.total > 0 && l.total+n > l.limit {
		return fmt.Errorf("%w, %d bytes", errLimit, l.limit)
	}
	return nil
}

// begin begins a file; its name is durable before a line counts on it.
func (l *lines) begin() error {
	if err := l.makeDir(); err != nil {
		return err
	}
	if err := l.retain(); err != nil {
		return err
	}
	for {
		l.last = max(l.last+1, stamp(time.Now()))
		path := filepath.Join(l.dir, l.fileName(l.last))
		f, err := l.linesConfig.open(path, os.O_CREATE|os.O_EXCL)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil {
			if err = disk.SyncDir(l.dir); err == nil {
				l.f, l.path, l.size = f, path, 0
				return nil
			}
			err = errors.Join(err, os.Remove(path), f.Close())
		}
		return err
	}
}

// retain removes the oldest files that would be too many with the next one.
func (l *lines) retain() error {
	if l.keepFiles == 0 && l.keepBytes == 0 {
		return nil
	}
	found, err := l.list()
	if err != nil {
		return err
	}
	bytes := int64(0)
	for _, x := range found {
		bytes += x.size
	}
	for n := len(found); n > 0; n-- {
		oldest := found[len(found)-n]
		if (l.keepFiles == 0 || n < l.keepFiles) && (l.keepBytes == 0 || bytes+l.maxFile <= l.keepBytes) {
			return nil
		}
		if err := os.Remove(oldest.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		bytes -= oldest.size
	}
	return nil
}

// rotate lets the next write begin a new file.
func (l *lines) rotate(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	if l.closed {
		return errClosed
	}
	l.leave()
	return nil
}

// close waits for the write under way.
func (l *lines) close() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.leave()
	l.closed = true
	return nil
}
