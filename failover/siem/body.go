package siem

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sync"
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

// loan is a request's body that is somebody else's: net/http may go on reading a body
// after its request has ended, and gets nothing more then.
type loan struct {
	mu    sync.Mutex
	bytes []byte
	ended bool
}

var errLoan = errors.New("the request has ended")

func (l *loan) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes, l.ended = nil, true
}

func (l *loan) reader() io.ReadCloser { return &borrower{of: l} }

type borrower struct {
	of *loan
	at int
}

// Read copies under the lock, so that no part of the bytes is lent out.
func (r *borrower) Read(p []byte) (int, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	switch {
	case r.of.ended:
		return 0, errLoan
	case r.at >= len(r.of.bytes):
		return 0, io.EOF
	}
	n := copy(p, r.of.bytes[r.at:])
	r.at += n
	return n, nil
}

func (r *borrower) Close() error { return nil }
