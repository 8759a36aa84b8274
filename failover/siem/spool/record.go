package spool

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A record is one chunk. All numbers are little endian:
//
//	 0 magic       4    20 feed length 2    48 min time  8, microseconds since 1970
//	 4 version     1    22 previous?   1    56 max time  8
//	 5 kind        1    23 zero        1    64 previous  8
//	 6 codec       1    24 position    8    72 body sum  4, CRC-32C of the body
//	 7 flags       1    32 first       8    76 header sum 4, CRC-32C of salt, bytes 0-75, feed
//	 8 length      4    40 last        8    80 feed, body, zeros up to a multiple of 8
//	12 raw length  4
//	16 count       4
//
// Two checksums let a reader step over a rotten body. The salt is the segment's
// own random number: bytes inside a body that look like a record, because they
// were copied or made up, are not taken for one after damage.
//
// previous is the feed's cursor before this record. A reader that knows less is
// missing what lies between, whatever became of the records that held it.
const (
	recordMagic   = 0x434A4D31
	recordVersion = 1
	recordHeader  = 80
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	kind, codec, flags byte
	length, raw, count uint32
	feed               string
	pos                uint64
	first, last        uint64
	min, max           int64
	previous           uint64
	hasPrevious        bool
	sum                uint32
}

func padded(n int64) int64 { return (n + 7) &^ 7 }

// size is the record's size in the file.
func (h *header) size() int64 {
	return padded(recordHeader + int64(len(h.feed)) + int64(h.length))
}

func headerOf(c *Chunk) header {
	return header{
		kind: c.Kind, codec: c.Codec, flags: c.Flags,
		length: uint32(len(c.Body)), raw: c.RawLength, count: c.Count,
		feed: c.Feed, first: c.First, last: c.Last,
		min: c.MinTime.UnixMicro(), max: c.MaxTime.UnixMicro(),
		sum: crc32.Checksum(c.Body, castagnoli),
	}
}

func (h *header) chunk(body []byte) Chunk {
	return Chunk{
		Position: h.pos, Feed: h.feed, First: h.first, Last: h.last, Count: h.count,
		MinTime: time.UnixMicro(h.min).UTC(), MaxTime: time.UnixMicro(h.max).UTC(),
		Kind: h.kind, Codec: h.codec, Flags: h.flags, RawLength: h.raw, Body: body,
	}
}

func appendRecord(b []byte, salt uint64, h *header, body []byte) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = le.AppendUint32(b, recordMagic)
	b = append(b, recordVersion, h.kind, h.codec, h.flags)
	b = le.AppendUint32(b, h.length)
	b = le.AppendUint32(b, h.raw)
	b = le.AppendUint32(b, h.count)
	b = le.AppendUint16(b, uint16(len(h.feed)))
	has := byte(0)
	if h.hasPrevious {
		has = 1
	}
	b = append(b, has, 0)
	b = le.AppendUint64(b, h.pos)
	b = le.AppendUint64(b, h.first)
	b = le.AppendUint64(b, h.last)
	b = le.AppendUint64(b, uint64(h.min))
	b = le.AppendUint64(b, uint64(h.max))
	b = le.AppendUint64(b, h.previous)
	b = le.AppendUint32(b, h.sum)
	b = le.AppendUint32(b, headerSum(salt, b[start:], h.feed))
	b = append(b, h.feed...)
	b = append(b, body...)
	for int64(len(b)-start) < h.size() {
		b = append(b, 0)
	}
	return b
}

func headerSum(salt uint64, fixed []byte, feed string) uint32 {
	sum := crc32.Update(0, castagnoli, binary.LittleEndian.AppendUint64(nil, salt))
	sum = crc32.Update(sum, castagnoli, fixed[:recordHeader-4])
	return crc32.Update(sum, castagnoli, []byte(feed))
}

// decodeHeader decodes what b begins with; b holds the whole feed if the record is intact.
func decodeHeader(b []byte, salt uint64) (header, bool) {
	le := binary.LittleEndian
	if len(b) < recordHeader || le.Uint32(b) != recordMagic || b[4] != recordVersion {
		return header{}, false
	}
	feed := int(le.Uint16(b[20:]))
	if feed == 0 || feed > MaxFeed || len(b) < recordHeader+feed {
		return header{}, false
	}
	h := header{
		kind: b[5], codec: b[6], flags: b[7],
		length: le.Uint32(b[8:]), raw: le.Uint32(b[12:]), count: le.Uint32(b[16:]),
		feed: string(b[recordHeader : recordHeader+feed]), hasPrevious: b[22] == 1,
		pos: le.Uint64(b[24:]), first: le.Uint64(b[32:]), last: le.Uint64(b[40:]),
		min: int64(le.Uint64(b[48:])), max: int64(le.Uint64(b[56:])),
		previous: le.Uint64(b[64:]), sum: le.Uint32(b[72:]),
	}
	if h.length > MaxBody || headerSum(salt, b, h.feed) != le.Uint32(b[76:]) {
		return header{}, false
	}
	return h, true
}
