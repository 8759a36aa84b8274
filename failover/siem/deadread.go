package siem

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
)

// DeadLetters reads the dead letters of the pump whose Config.Dir is dir, oldest
// first. The pump may run, and letters that come meanwhile may be missing. A line that
// is no letter is an error that names the file and the line, and reading goes on; a
// last line without an end, which is still being written or was cut by a crash, is
// left out.
func DeadLetters(dir string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		c := linesConfig{dir: deadDir(dir), name: deadName}
		files, err := c.list()
		if err != nil {
			yield(DeadLetter{}, fmt.Errorf("siem: %w", err))
			return
		}
		for _, x := range files {
			f, err := os.Open(x.path)
			if errors.Is(err, os.ErrNotExist) {
				continue // all of its letters were delivered meanwhile
			}
			if err != nil {
				if !yield(DeadLetter{}, fmt.Errorf("siem: %w", err)) {
					return
				}
				continue
			}
			more := true
			for l, err := range readLetters(f, filepath.Base(x.path)) {
				if more = yield(l.DeadLetter, err); !more {
					break
				}
			}
			_ = f.Close()
			if !more {
				return
			}
		}
	}
}

// maxLetter bounds the memory that one line takes.
const maxLetter = 128 << 20

// storedLetter is a letter and its line, with the end of it.
type storedLetter struct {
	DeadLetter
	line []byte
}

var errLetter = errors.New("it is no dead letter")

// readLetters reads the lines of a file. A damaged one comes with an error, and with
// its bytes unless they are too many.
func readLetters(r io.Reader, name string) iter.Seq2[storedLetter, error] {
	return func(yield func(storedLetter, error) bool) {
		b := bufio.NewReaderSize(r, 64<<10)
		for n := 1; ; n++ {
			line, err := readLine(b)
			if errors.Is(err, io.EOF) {
				return
			}
			var l storedLetter
			if err == nil {
				l, err = parseLetter(line)
			} else if !errors.Is(err, errLongLine) {
				yield(l, fmt.Errorf("siem: %s: line %d: %w", name, n, err))
				return
			}
			if err != nil {
				err = fmt.Errorf("siem: %s: line %d: %w", name, n, err)
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

var errLongLine = fmt.Errorf("it has more than %d bytes", maxLetter)

// readLine reads a line with its end; io.EOF is the end of the file, also in a line.
func readLine(b *bufio.Reader) (line []byte, err error) {
	long := false
	for {
		part, err := b.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLetter; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		case long:
			return nil, errLongLine
		default:
			return line, nil
		}
	}
}

func parseLetter(line []byte) (l storedLetter, err error) {
	l.line = line
	var in letterLine
	if err := json.Unmarshal(line, &in); err != nil {
		return l, fmt.Errorf("%w: %w", errLetter, err)
	}
	if in.At.IsZero() {
		return l, errLetter
	}
	if len(in.Bytes) > 0 {
		in.Raw = string(in.Bytes)
	}
	if bytes.Equal(in.Row, []byte("null")) {
		in.Row = nil
	}
	l.DeadLetter = in.DeadLetter
	return l, nil
}
