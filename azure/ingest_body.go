package azure

import (
	"bytes"
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
