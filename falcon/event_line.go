package falcon

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

const (
	// defaultMaxLine is far above the events that were seen (3 KB).
	defaultMaxLine = 4 << 20
	// lineBuffer holds about fifty events of the usual size.
	lineBuffer = 64 << 10
	// maxErrRaw is how much of a bad line is kept for whoever looks into it.
	maxErrRaw = 4 << 10
)

// lineReader reads the events of one partition, a JSON object a line. One bad
// line costs that line: reading goes on after it (in gofalcon it is the end,
// hazards D1 and D6). It blocks in the io.Reader only, so whoever closes that
// ends it. Not for concurrent use.
type lineReader struct {
	in        *bufio.Reader
	partition int
	maxLine   int // bytes without the line's end
	names     interned
	err       error // of the io.Reader; it stays
}

// newLineReader: maxLine 0 is the default, 4 MiB.
func newLineReader(r io.Reader, partition, maxLine int) *lineReader {
	if maxLine <= 0 {
		maxLine = defaultMaxLine
	}
	return &lineReader{in: bufio.NewReaderSize(r, lineBuffer), partition: partition, maxLine: maxLine}
}

// next reads the next line. A blank one is a heartbeat: there is no event, but the
// feed lives. A line that cannot be understood, or is too long, is an event with
// Err.
//
// The error is of the stream and final, every later call returns it again: io.EOF
// after a whole line; io.ErrUnexpectedEOF within one, whose beginning is dropped
// since it comes again when the stream is resumed; the io.Reader's own otherwise.
func (r *lineReader) next() (ev Event, heartbeat bool, err error) {
	if r.err != nil {
		return Event{}, false, r.err
	}
	line, owned, err := r.line()
	if err != nil {
		r.err = err
		return Event{}, false, err
	}
	if len(line) > r.maxLine {
		s := scan{line: line[:min(r.maxLine, maxErrRaw)], names: &r.names}
		s.run()
		return r.bad(&s, fmt.Errorf("%w: more than %d bytes", ErrEventTooLong, r.maxLine)), false, nil
	}
	if jsonscan.Text(line).Space(0) == len(line) {
		return Event{}, true, nil
	}
	s := scan{line: line, names: &r.names}
	switch valid := s.run(); {
	case !valid:
		return r.bad(&s, fmt.Errorf("%w: not valid JSON (%d bytes)", ErrEventMalformed, len(line))), false, nil
	case s.kind == "" && s.offset < 0:
		return r.bad(&s, fmt.Errorf("%w: no metadata with a type or an offset", ErrEventMalformed)), false, nil
	}
	if !owned {
		line = bytes.Clone(line)
	}
	ev = r.event(&s)
	ev.Raw = line
	return ev, false, nil
}

// buffered reports whether next would return at once because a whole line has
// arrived already: a caller that batches need not wait for it.
func (r *lineReader) buffered() bool {
	some, _ := r.in.Peek(r.in.Buffered())
	return bytes.IndexByte(some, '\n') >= 0
}

// line reads up to the next line's end, which is dropped. The line is a part of
// the buffer, unless owned: then it was longer. Of one that is longer than maxLine
// the middle is skipped, so that it takes no more memory than one that is not.
func (r *lineReader) line() (line []byte, owned bool, err error) {
	chunk, err := r.in.ReadSlice('\n')
	if err == nil { // by far the most
		return withoutEnd(chunk), false, nil
	}
	for err == bufio.ErrBufferFull {
		if len(line) <= r.maxLine+1 { // one more may be a CR before the line's end
			line = append(line, chunk...)
		}
		chunk, err = r.in.ReadSlice('\n')
	}
	switch {
	case err == io.EOF && len(line)+len(chunk) > 0:
		return nil, false, io.ErrUnexpectedEOF
	case err != nil:
		return nil, false, err
	}
	return withoutEnd(append(line, chunk...)), true, nil
}

func withoutEnd(line []byte) []byte {
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
}

// bad is the event of a line that could not be read whole.
func (r *lineReader) bad(s *scan, cause error) Event {
	ev := r.event(s)
	ev.Raw, ev.Err = bytes.Clone(s.line[:min(len(s.line), maxErrRaw)]), cause
	return ev
}

func (r *lineReader) event(s *scan) Event {
	return Event{Partition: r.partition, Offset: s.offset, Type: s.kind, CID: s.cid, Created: s.created}
}
