package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A segment is a file of records, named by its first position, written once from
// front to back. It begins with its header, twice, so that one rotten sector does
// not take the salt and with it all records.
//
//	0 magic 4    8 size of one copy 4    16 first position 8    32 CID length 2, feeds 2, zero 4
//	4 version 1  12 zero 4               24 salt 8              36 skipped 4
//	5 zero 3                                                    40 CID; for each feed: length 2, name, cursor 8
//	                                                               zeros; CRC-32C 4
//
// skipped are the positions right before the first one that were never durable:
// nobody waits for them, and they are not missing.
const (
	segmentMagic   = 0x53474A31
	segmentVersion = 1
	segmentFixed   = 40
	maxHeader      = 1 << 20
	suffix         = ".seg"
)

type segment struct {
	base  uint64 // its records have this position or a greater one
	after uint64 // no position from here to base was durable
	start int64  // where its records begin; known of those that may be the last one
	size  int64  // bytes that are synced, and that readers may see
	disk  int64  // bytes that it takes, which is more after a failed write
}

func (seg *segment) empty() bool { return seg.size <= seg.start }

type segmentHeader struct {
	base, salt uint64
	skipped    uint32
	cid        string
	cursors    map[string]uint64 // of every feed, when the segment began
	start      int64             // where the records begin
}

// after is the newest position before the segment that was durable.
func (h *segmentHeader) after() uint64 { return h.base - min(h.base, uint64(h.skipped)+1) }

func segmentName(base uint64) string { return fmt.Sprintf("%020d%s", base, suffix) }

func segmentBase(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	base, err := strconv.ParseUint(digits, 10, 64)
	return base, err == nil
}

func (h *segmentHeader) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, segmentMagic)
	b = append(b, segmentVersion, 0, 0, 0)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint64(b, h.base)
	b = le.AppendUint64(b, h.salt)
	b = le.AppendUint16(b, uint16(len(h.cid)))
	b = le.AppendUint16(b, uint16(len(h.cursors)))
	b = le.AppendUint32(b, h.skipped)
	b = append(b, h.cid...)
	for _, feed := range slices.Sorted(maps.Keys(h.cursors)) {
		b = le.AppendUint16(b, uint16(len(feed)))
		b = append(b, feed...)
		b = le.AppendUint64(b, h.cursors[feed])
	}
	b = append(b, make([]byte, padded(int64(len(b))+4)-int64(len(b)))...)
	le.PutUint32(b[8:], uint32(len(b)))
	le.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
	return append(b, b...)
}

// decodeSegment decodes a copy of the header. newer says that it is intact and
// of a version that this release does not know.
func decodeSegment(b []byte) (h segmentHeader, newer, ok bool) {
	le := binary.LittleEndian
	if len(b) < segmentFixed+4 || le.Uint32(b) != segmentMagic {
		return h, false, false
	}
	size := int64(le.Uint32(b[8:]))
	if size < segmentFixed+4 || size > maxHeader || size%8 != 0 || size > int64(len(b)) {
		return h, false, false
	}
	b = b[:size]
	if crc32.Checksum(b[:size-4], castagnoli) != le.Uint32(b[size-4:]) {
		return h, false, false
	}
	if b[4] != segmentVersion {
		return h, true, false
	}
	h = segmentHeader{
		base: le.Uint64(b[16:]), salt: le.Uint64(b[24:]), skipped: le.Uint32(b[36:]),
		cursors: map[string]uint64{}, start: 2 * size,
	}
	rest := b[segmentFixed : size-4]
	cid := int(le.Uint16(b[32:]))
	if cid > len(rest) {
		return h, false, false
	}
	h.cid, rest = string(rest[:cid]), rest[cid:]
	for range le.Uint16(b[34:]) {
		if len(rest) < 2 {
			return h, false, false
		}
		n := int(le.Uint16(rest))
		if len(rest) < 2+n+8 {
			return h, false, false
		}
		h.cursors[string(rest[2:2+n])] = le.Uint64(rest[2+n:])
		rest = rest[2+n+8:]
	}
	return h, false, true
}

// readSegment reads the header of the segment that should begin at base: the
// first copy, or the second if that is damaged.
func readSegment(f file, base uint64, end int64) (h segmentHeader, newer, ok bool, err error) {
	b, err := readAt(f, 0, min(end, 2*maxHeader))
	if err != nil {
		return h, false, false, err
	}
	for at := 0; at <= len(b)-segmentFixed && at <= maxHeader; at += 8 {
		if at > 0 && (binary.LittleEndian.Uint32(b[at:]) != segmentMagic || binary.LittleEndian.Uint32(b[at+8:]) != uint32(at)) {
			continue // the second copy stands where the first one ends
		}
		if h, newer, ok = decodeSegment(b[at:]); newer || ok && h.base == base {
			return h, newer, ok, nil
		}
	}
	return segmentHeader{}, false, false, nil
}

// walker steps through the records of a segment.
type walker struct {
	f       file
	salt    uint64
	at, end int64
	pos     uint64 // positions below this are not taken: they only rise
}

// next returns the next record whose header is intact, and where its body is.
// It steps over what is damaged. ok is false if there is none up to the end.
func (w *walker) next() (h header, body int64, ok bool, err error) {
	if h, ok, err = w.try(w.at); err != nil || ok {
		return h, w.take(&h, w.at, ok), ok, err
	}
	const window = 64 << 10
	for from := w.at + 8; from < w.end; from += window {
		b, err := readAt(w.f, from, min(window, w.end-from))
		if err != nil {
			return header{}, 0, false, err
		}
		for i := 0; i+4 <= len(b); i += 8 {
			if binary.LittleEndian.Uint32(b[i:]) != recordMagic {
				continue
			}
			at := from + int64(i)
			if h, ok, err = w.try(at); err != nil || ok {
				return h, w.take(&h, at, ok), ok, err
			}
		}
	}
	return header{}, 0, false, nil
}

func (w *walker) try(at int64) (header, bool, error) {
	if w.end-at < recordHeader {
		return header{}, false, nil
	}
	b, err := readAt(w.f, at, min(recordHeader+MaxFeed, w.end-at))
	if err != nil {
		return header{}, false, err
	}
	h, ok := decodeHeader(b, w.salt)
	return h, ok && h.pos >= w.pos && h.size() <= w.end-at, nil
}

func (w *walker) take(h *header, at int64, ok bool) (body int64) {
	if !ok {
		return 0
	}
	w.at, w.pos = at+h.size(), h.pos+1
	return at + recordHeader + int64(len(h.feed))
}

// body reads a body; ok is false if it is not what was written.
func (w *walker) body(h *header, at int64) (body []byte, ok bool, err error) {
	body, err = readAt(w.f, at, int64(h.length))
	if err != nil {
		return nil, false, err
	}
	return body, crc32.Checksum(body, castagnoli) == h.sum && len(body) == int(h.length), nil
}

// chain is what is known of each feed: the last offset of the newest record seen.
type chain map[string]uint64

// expect compares with what a later record or segment says was there before it.
func (c chain) expect(feed string, previous uint64) *GapError {
	seen, ok := c[feed]
	if ok && seen >= previous {
		return nil
	}
	gap := &GapError{Feed: feed, Last: previous}
	if ok {
		gap.First = seen + 1
	}
	c[feed] = previous
	return gap
}

func (c chain) add(h *header) { c[h.feed] = max(c[h.feed], h.last) }
