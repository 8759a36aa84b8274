package siem

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover/siem/spool"
)

// A chunk is what one record of the spool holds: some events of one feed, as
// batches that are ready to be sent, one for each table, and the events' times.
//
//	when it was put there, microseconds since 1970, varint
//	number of tables; for each: name, rows, bytes, longest row, compressed array
//	number of events with rows; for each: its time less the one before it, milliseconds
//
// Numbers are varints, names and arrays are preceded by their length.
type chunk struct {
	spooled time.Time
	batches []Batch
	times   []int64 // milliseconds since 1970
}

const (
	// maxBatch is how many bytes of rows, before compression, a batch has: Azure
	// Monitor's limit of 1 MiB less a margin (facts/pipeline.md 4, line 9).
	maxBatch = 1_000_000
	maxRow   = maxBatch - len("[]")

	kindEvents  = 1
	codecGzip   = 1
	codecSealed = 2 // gzip, and the whole body encrypted
)

// pack is a chunk in the making.
type pack struct {
	tables      []string
	arrays      []*array
	bytes       int
	events      int
	times       []int64 // of the events that have rows
	first, last uint64
}

func (p *pack) free() {
	for _, a := range p.arrays {
		a.free()
	}
	p.tables, p.arrays, p.times, p.bytes, p.events = p.tables[:0], p.arrays[:0], p.times[:0], 0, 0
}

// fits reports whether the rows of another event may join.
func (p *pack) fits(rows *Rows) bool {
	size := p.bytes
	for _, w := range rows.rows {
		size += w.to - w.from + len(separator)
	}
	return size <= maxBatch
}

// add takes an event and its rows, in order of offsets.
func (p *pack) add(e *Event, rows *Rows) {
	if p.events == 0 {
		p.first = e.Offset
	}
	p.last = e.Offset
	p.events++
	if len(rows.rows) > 0 {
		p.times = append(p.times, e.Time.UnixMilli())
	}
	for _, w := range rows.rows {
		a := p.array(w.table)
		a.add(rows.bytes(w))
		p.bytes += w.to - w.from + len(separator)
	}
}

func (p *pack) array(table string) *array {
	for i, name := range p.tables {
		if name == table {
			return p.arrays[i]
		}
	}
	a := newArray()
	p.tables, p.arrays = append(p.tables, table), append(p.arrays, a)
	p.bytes += len("[]")
	return a
}

// chunk is the record for the spool.
func (p *pack) chunk(feed string, now time.Time, box cipher.AEAD) spool.Chunk {
	raw, size := 0, 64+4*len(p.times)
	for i, a := range p.arrays {
		raw += a.bytes
		size += len(p.tables[i]) + len(a.finish()) + 32
	}
	b := binary.AppendVarint(make([]byte, 0, size), now.UnixMicro())
	b = binary.AppendUvarint(b, uint64(len(p.arrays)))
	for i, a := range p.arrays {
		b = appendBytes(b, p.tables[i])
		b = binary.AppendUvarint(b, uint64(a.rows))
		b = binary.AppendUvarint(b, uint64(a.bytes))
		b = binary.AppendUvarint(b, uint64(a.longest))
		b = appendBytes(b, a.buf.Bytes())
	}
	b = binary.AppendUvarint(b, uint64(len(p.times)))
	oldest, newest, before := now.UnixMilli(), int64(0), int64(0)
	for i, t := range p.times {
		if i == 0 || t < oldest {
			oldest = t
		}
		newest = max(newest, t)
		b = binary.AppendVarint(b, t-before)
		before = t
	}
	c := spool.Chunk{
		Feed: feed, First: p.first, Last: p.last, Count: uint32(p.events), Kind: kindEvents, Codec: codecGzip,
		MinTime: time.UnixMilli(oldest), MaxTime: time.UnixMilli(newest), RawLength: uint32(raw), Body: b,
	}
	if box != nil {
		nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(b)+box.Overhead())
		_, _ = rand.Read(nonce) // never fails
		c.Body, c.Codec = box.Seal(nonce, nonce, b, sealedWith(&c)), codecSealed
	}
	return c
}

// sealedWith ties an encrypted body to its place.
func sealedWith(c *spool.Chunk) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(c.Feed), c.First)
	return binary.LittleEndian.AppendUint64(b, c.Last)
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errChunk = errors.New("siem: a stored chunk cannot be read")

// open reads a record of the spool. Its checksum was right, so that an error means
// another release, another key or a mistake of ours.
func open(c *spool.Chunk, box cipher.AEAD) (chunk, error) {
	body := c.Body
	switch {
	case c.Kind != kindEvents:
		return chunk{}, fmt.Errorf("%w: it is of kind %d, which this release does not know", errChunk, c.Kind)
	case c.Codec == codecSealed && box == nil:
		return chunk{}, fmt.Errorf("%w: it is encrypted, and Config.AEAD is not set", errChunk)
	case c.Codec == codecSealed:
		n := box.NonceSize()
		if len(body) < n {
			return chunk{}, errChunk
		}
		var err error
		if body, err = box.Open(nil, body[:n], body[n:], sealedWith(c)); err != nil {
			return chunk{}, fmt.Errorf("%w with the key of Config.AEAD: %w", errChunk, err)
		}
	case c.Codec != codecGzip:
		return chunk{}, fmt.Errorf("%w: its codec is %d, which this release does not know", errChunk, c.Codec)
	}
	r := fields{b: body}
	out := chunk{spooled: time.UnixMicro(r.signed())}
	for range r.count() {
		b := Batch{Table: string(r.bytes()), Rows: r.number(), Bytes: r.number(), Longest: r.number()}
		b.gz = r.bytes()
		b.Oldest, b.Newest = c.MinTime, c.MaxTime
		out.batches = append(out.batches, b)
	}
	before := int64(0)
	for range r.count() {
		before += r.signed()
		out.times = append(out.times, before)
	}
	if r.bad || len(r.b) > 0 {
		return chunk{}, errChunk
	}
	return out, nil
}

// fields reads varints; after something impossible all it gives is zero.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) signed() int64 {
	n, size := binary.Varint(f.b)
	return take(f, n, size)
}

func take[N int64 | uint64](f *fields, n N, size int) N {
	if size <= 0 {
		f.b, f.bad = nil, true
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) number() int {
	n, size := binary.Uvarint(f.b)
	if n = take(f, n, size); n > spool.MaxBody {
		f.b, f.bad = nil, true
		return 0
	}
	return int(n)
}

// count is the number of things of at least one byte that follow.
func (f *fields) count() int {
	n := f.number()
	if n > len(f.b) {
		f.b, f.bad = nil, true
		return 0
	}
	return n
}

func (f *fields) bytes() []byte {
	n := f.count()
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b
}
