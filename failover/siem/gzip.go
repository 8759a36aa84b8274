package siem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipLevel: compressing is most of what an event costs; the next level is 4 %
// smaller and dearer (facts/pipeline.md 2).
const gzipLevel = gzip.BestSpeed

// separator stands between the rows of an array. No row holds a line break, so that
// rows are told apart without reading them.
const separator = ",\n"

// array is a JSON array of rows in the making. Arrays are used again, because a
// fresh compressor is 800 KB.
type array struct {
	buf     bytes.Buffer
	zip     *gzip.Writer
	rows    int
	bytes   int // before compression, brackets and separators included
	longest int
}

// arrays keeps a few of them for good: a sync.Pool loses them at every other collection,
// and one of four with the race detector.
var arrays = make(chan *array, 4)

func newArray() *array {
	var a *array
	select {
	case a = <-arrays:
	default:
		a = &array{}
		a.zip, _ = gzip.NewWriterLevel(&a.buf, gzipLevel) // fails for no level that there is
	}
	a.buf.Reset()
	a.zip.Reset(&a.buf)
	a.rows, a.bytes, a.longest = 0, len("[]"), 0
	return a
}

func (a *array) free() {
	select {
	case arrays <- a:
	default:
	}
}

// add writes a row; a buffer takes everything.
func (a *array) add(row []byte) {
	if a.rows == 0 {
		_, _ = a.zip.Write([]byte{'['})
	} else {
		_, _ = io.WriteString(a.zip, separator)
		a.bytes += len(separator)
	}
	_, _ = a.zip.Write(row)
	a.rows++
	a.bytes += len(row)
	a.longest = max(a.longest, len(row))
}

// finish returns the compressed array, which is a's.
func (a *array) finish() []byte {
	if a.rows == 0 {
		_, _ = a.zip.Write([]byte{'['})
	}
	_, _ = a.zip.Write([]byte{']'})
	_ = a.zip.Close()
	return a.buf.Bytes()
}

func compress(rows []json.RawMessage) []byte {
	a := newArray()
	defer a.free()
	for _, r := range rows {
		a.add(r)
	}
	return bytes.Clone(a.finish())
}

var readers sync.Pool // of *gzip.Reader

// split makes rows of a compressed array of so many bytes.
func split(gz []byte, size int) (rows []json.RawMessage, err error) {
	zip, _ := readers.Get().(*gzip.Reader)
	if zip == nil {
		zip = new(gzip.Reader)
	}
	defer readers.Put(zip)
	if err := zip.Reset(bytes.NewReader(gz)); err != nil {
		return nil, fmt.Errorf("siem: a stored batch: %w", err)
	}
	text := make([]byte, max(size, 0), max(size, 0)+1)
	if _, err := io.ReadFull(zip, text); err != nil {
		return nil, fmt.Errorf("siem: a stored batch: %w", err)
	}
	if n, err := zip.Read(text[size : size+1]); n != 0 || !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("siem: a stored batch has not the %d bytes that it should have", size)
	}
	if size < len("[]") || text[0] != '[' || text[size-1] != ']' {
		return nil, errors.New("siem: a stored batch is no array")
	}
	for text = text[1 : size-1]; len(text) > 0; {
		row, rest, _ := bytes.Cut(text, []byte(separator))
		rows, text = append(rows, row[:len(row):len(row)]), rest
	}
	return rows, nil
}
