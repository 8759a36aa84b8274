package siem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	linesSuffix = ".jsonl"
	stampDigits = len("20060102150405000")
)

// stamp is a time as the number in a file's name: UTC, to the millisecond. The next
// one is always greater, whatever the clock does, so that no name is used again.
func stamp(t time.Time) uint64 {
	t = t.UTC()
	n, _ := strconv.ParseUint(t.Format("20060102150405"), 10, 64)
	return n*1000 + uint64(t.Nanosecond()/int(time.Millisecond))
}

func (c *linesConfig) fileName(stamp uint64) string {
	return fmt.Sprintf("%s-%0*d%s", c.name, stampDigits, stamp, linesSuffix)
}

// found is a file of the family.
type found struct {
	path  string
	stamp uint64
	size  int64
}

// list returns the files of the family, oldest first.
func (c *linesConfig) list() (files []found, err error) {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), c.name+"-")
		if digits, ok = cutSuffix(digits, ok); !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files = append(files, found{filepath.Join(c.dir, e.Name()), n, info.Size()})
		}
	}
	slices.SortFunc(files, func(a, b found) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

func cutSuffix(s string, ok bool) (string, bool) {
	digits, cut := strings.CutSuffix(s, linesSuffix)
	return digits, ok && cut && len(digits) == stampDigits
}

// mend opens a file and cuts off what a crash left behind its last whole line.
func (c *linesConfig) mend(path string) (lineFile, int64, error) {
	f, err := c.open(path, 0)
	if err != nil {
		return nil, 0, err
	}
	size, err := func() (int64, error) {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		size, err := wholeLines(f, info.Size())
		if err != nil || size == info.Size() {
			return size, err
		}
		return size, errors.Join(f.Truncate(size), f.sync())
	}()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// wholeLines is where the last line ends that was written whole. One that has no end
// was not, nor has one with a zero in it: that is a page that a power cut kept from
// the disk, and neither was promised to anybody.
func wholeLines(f io.ReaderAt, size int64) (int64, error) {
	for window := int64(64 << 10); ; window *= 4 {
		from := max(0, size-window)
		b := make([]byte, size-from)
		if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for end := bytes.LastIndexByte(b, '\n') + 1; end > 0; {
			begin := bytes.LastIndexByte(b[:end-1], '\n') + 1
			if begin == 0 && from > 0 {
				break // the window does not show all of it
			}
			if bytes.IndexByte(b[begin:end], 0) < 0 {
				return from + int64(end), nil
			}
			end = begin
		}
		if from == 0 {
			return 0, nil
		}
	}
}
