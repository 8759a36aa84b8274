package main

import (
	"bytes"
	"errors"
)

// The ways an event says in a body which one it is: by the id that Jurymast's rows
// have, "cid:partition:offset", by the metadata of the event as Falcon sent it, or by
// the same inside a JSON string, which OTLP makes of a line.
var (
	byID     = []byte(cid + `:`)
	byOffset = []byte(`"offset":`)
	escaped  = []byte(`\"offset\":`)
)

// shortest is less than any event of the bench has after its offset. A row that is
// shorter is no whole event, and is not counted.
const shortest = 1000

var errUnknownRows = errors.New("no row says which event it is")

// scan appends the offsets of the events in a body, in their order. Nothing is parsed:
// the sink shares the machine with what is measured, and a search that begins with a
// quotation mark stops at every one. The way is that of the first row.
func scan(dst []int64, body []byte) ([]int64, error) {
	way := byOffset
	switch head := body[:min(len(body), 16<<10)]; {
	case id(head) >= 0:
		way = byID
	case bytes.Contains(head, escaped):
		way = escaped
	}
	found := len(dst)
	for rest := body; ; {
		i := bytes.Index(rest, way)
		if i < 0 {
			break
		}
		rest = rest[i+len(way):]
		partition := int64(-1)
		if len(way) == len(byID) {
			// Falcon's own ids begin with the cid too, and go on with letters.
			p, n := number(rest)
			if n == 0 || n >= len(rest) || rest[n] != ':' {
				continue
			}
			partition, rest = p, rest[n+1:]
		}
		offset, n := number(rest)
		if n == 0 {
			continue
		}
		if partition < 0 {
			n = min(len(rest), shortest)
		}
		rest = rest[n:]
		if partition >= 0 && partition != offset/perPartition-1 {
			offset = -1 // an id that no event has
		}
		dst = append(dst, offset)
	}
	if len(dst) == found {
		return dst, errUnknownRows
	}
	return dst, nil
}

// id is where the first row's id is, or -1.
func id(head []byte) int {
	for at := 0; ; {
		i := bytes.Index(head[at:], byID)
		if i < 0 {
			return -1
		}
		at += i + len(byID)
		if _, n := number(head[at:]); n > 0 && at+n < len(head) && head[at+n] == ':' {
			return at
		}
	}
}

// number reads digits; n is how many.
func number(b []byte) (v int64, n int) {
	for n < len(b) && n < 18 && '0' <= b[n] && b[n] <= '9' {
		v = v*10 + int64(b[n]-'0')
		n++
	}
	return v, n
}
