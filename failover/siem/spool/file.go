package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/jurymast/jurymast/internal/disk"
)

// files is what the spool needs of its directory. The second implementation is a
// disk in the tests that loses power, fills up and fails to sync.
type files interface {
	open(name string, create bool) (file, error)
	remove(name string) error
	list(dir string) ([]string, error) // dir is "." or one below it
	sync(dir string) error             // makes the names durable
}

type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Close() error
	sync() error
	size() (int64, error)
}

type osFiles struct{ dir string }

func (d osFiles) open(name string, create bool) (file, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE | os.O_TRUNC // what is there is left of a failed try
	}
	f, err := os.OpenFile(filepath.Join(d.dir, name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osFiles) remove(name string) error { return os.Remove(filepath.Join(d.dir, name)) }

func (d osFiles) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.dir, dir))
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d osFiles) sync(dir string) error { return disk.SyncDir(filepath.Join(d.dir, dir)) }

type osFile struct{ *os.File }

func (f osFile) sync() error { return disk.SyncData(f.File) }

func (f osFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// readAt reads n bytes, fewer at the end of the file. A sector that the disk
// cannot read is as good as rotten: zeros, which no checksum lets pass.
func readAt(f file, at, n int64) ([]byte, error) {
	b := make([]byte, max(n, 0))
	got, err := f.ReadAt(b, at)
	switch {
	case errors.Is(err, io.EOF):
		return b[:got], nil
	case errors.Is(err, syscall.EIO):
		clear(b[got:])
		return b, nil
	}
	return b, err
}

// full marks the errors of a disk without room.
func full(err error) error {
	if disk.Full(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
