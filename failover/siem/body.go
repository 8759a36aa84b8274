package siem

import (
	"bytes"
	"encoding/json"
)

// ndjson is rows as lines.
func ndjson(rows []json.RawMessage) []byte { return joined(rows, "", "\n", "\n") }

func joined(rows []json.RawMessage, begin, between, end string) []byte {
	n := len(begin) + len(end)
	for _, r := range rows {
		n += len(r) + len(between)
	}
	b := append(make([]byte, 0, n), begin...)
	for i, r := range rows {
		if i > 0 {
			b = append(b, between...)
		}
		b = append(b, r...)
	}
	return append(b, end...)
}

// zipped is a text compressed.
func zipped(text []byte) []byte {
	a := newArray() // for its compressor
	defer a.free()
	_, _ = a.zip.Write(text) // a buffer takes everything
	_ = a.zip.Close()
	return bytes.Clone(a.buf.Bytes())
}
