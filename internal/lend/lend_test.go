package lend

import (
	"errors"
	"io"
	"testing"
)

// net/http may read a body after the request has ended; the bytes are somebody
// else's by then.
func TestABodyIsNotReadAfterItsRequest(t *testing.T) {
	b := New([]byte("abc"))
	r := b.Reader()
	one := make([]byte, 1)
	if n, err := r.Read(one); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, ok := r.(io.WriterTo); ok {
		t.Error("WriteTo lends the bytes out")
	}
	b.End()
	if n, err := r.Read(one); n != 0 || !errors.Is(err, ErrEnded) || r.Close() != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if _, err := r.Seek(0, io.SeekStart); err == nil {
		t.Error("sought")
	}
}

// A request that is repeated reads all of it again.
func TestEveryReaderBeginsAtTheBeginning(t *testing.T) {
	b := New([]byte("abc"))
	for range 2 {
		r := b.Reader()
		for range 2 {
			if got, err := io.ReadAll(r); string(got) != "abc" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if at, err := r.Seek(0, io.SeekStart); at != 0 || err != nil {
				t.Error(at, err)
			}
		}
	}
}
