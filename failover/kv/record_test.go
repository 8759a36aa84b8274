package kv

import (
	"bytes"
	"testing"
)

// FuzzRecord: what is encoded comes back, bytes from anywhere never panic, and
// what decodes is exactly what encoding gives.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("key"), uint64(1), []byte("value"), []byte{})
	f.Add([]byte("k"), uint64(1)<<63, []byte{}, encodeRecord([]byte("k"), 9, []byte("v")))
	f.Add([]byte("totals"), uint64(3), make([]byte, totalsSize), totals{3, 2, 1}.encode())
	f.Fuzz(func(t *testing.T, key []byte, rev uint64, value, foreign []byte) {
		raw := encodeRecord(key, rev, value)
		gotRev, gotValue, err := decodeRecord(key, raw)
		if err != nil || gotRev != rev || !bytes.Equal(gotValue, value) {
			t.Fatalf("came back as %d %q, %v", gotRev, gotValue, err)
		}
		if _, _, err := decodeRecord(append(key[:len(key):len(key)], 'x'), raw); err == nil {
			t.Fatal("a record passed under another key")
		}
		if r, v, err := decodeRecord(key, foreign); err == nil && !bytes.Equal(encodeRecord(key, r, v), foreign) {
			t.Fatal("two encodings of one record")
		}
		_, _ = decodeTotals(foreign)
	})
}

func TestEveryFlippedBitOfARecordIsFound(t *testing.T) {
	key := []byte("host/1")
	raw := encodeRecord(key, 42, []byte("contained"))
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		if _, _, err := decodeRecord(key, raw); err == nil {
			t.Errorf("bit %d", i)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
}
