package azure

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipLevel is the fastest that finds repetitions, of which rows are full. The
// standard library takes half as long again for it, and compressing is most of what
// an upload costs: see BenchmarkUpload.
const gzipLevel = gzip.BestSpeed

// body is rows as a compressed JSON array. Bodies are used again, because a fresh
// compressor is 800 KB.
type body struct {
	buf bytes.Buffer
	zip *gzip.Writer
}

var bodies = sync.Pool{New: func() any {
	b := &body{}
	b.zip, _ = gzip.NewWriterLevel(&b.buf, gzipLevel) // fails for no level that there is
	return b
}}

// encode makes the body of rows.
func (b *body) encode(batch []item) []byte {
	b.buf.Reset()
	b.zip.Reset(&b.buf)
	separator := []byte{'['}
	for _, it := range batch { // a buffer takes everything
		_, _ = b.zip.Write(separator)
		_, _ = b.zip.Write(it.row)
		separator[0] = ','
	}
	_, _ = b.zip.Write([]byte{']'})
	_ = b.zip.Close()
	return b.buf.Bytes()
}

// reader is a request's body over bytes that will be used again. net/http may go on
// reading a body after the request has ended (an answer can come before the request
// is written, a deadline in the middle of it); after retire it gets nothing more.
type reader struct {
	mu sync.Mutex
	r  *bytes.Reader
}

var errRetired = errors.New("the request has ended")

func newReader(b []byte) *reader { return &reader{r: bytes.NewReader(b)} }

// Read copies under the lock: that no part of the bytes is lent out is why there is
// no WriteTo.
func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.r == nil {
		return 0, errRetired
	}
	return r.r.Read(p)
}

// Seek begins again, for a request that is repeated with a new token.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.r == nil {
		return 0, errRetired
	}
	return r.r.Seek(offset, whence)
}

// Close does nothing: net/http closes a body that is to be repeated as well.
func (r *reader) Close() error { return nil }

func (r *reader) retire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r = nil
}

var _ io.ReadSeekCloser = (*reader)(nil)
