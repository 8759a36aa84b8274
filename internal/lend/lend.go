// Package lend makes request bodies of bytes that are somebody else's.
//
// net/http may go on reading a body after its request has ended (an answer can come
// before the request is written, a deadline in the middle of it): from then on it gets
// nothing more, and the bytes may be used again.
package lend

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// Body lends bytes to the readers of one request, until End.
type Body struct {
	bytes []byte
	mu    sync.Mutex
	ended bool
}

// New lends b.
func New(b []byte) *Body { return &Body{bytes: b} }

// End takes the bytes back; nobody reads them any more when it has returned.
func (b *Body) End() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}

// Reader reads from the beginning.
func (b *Body) Reader() io.ReadSeekCloser { return &reader{b, bytes.NewReader(b.bytes)} }

// ErrEnded is what a reader gives after End.
var ErrEnded = errors.New("the request has ended")

type reader struct {
	of *Body
	r  *bytes.Reader
}

// Read copies under the lock: that no part of the bytes is lent out is why there is no
// WriteTo.
func (r *reader) Read(p []byte) (int, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.of.ended {
		return 0, ErrEnded
	}
	return r.r.Read(p)
}

// Seek begins again, for a request that is repeated with a new token.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.of.ended {
		return 0, ErrEnded
	}
	return r.r.Seek(offset, whence)
}

// Close does nothing: net/http closes a body that is to be repeated as well.
func (r *reader) Close() error { return nil }
