package kv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Salvage reads a file that [Open] refuses, or any other: it returns every record
// that can still be reached and whose checksum is right, in no particular order,
// and an error that says what is wrong with the file, nil if nothing is. It
// changes nothing. A record may be missing, and if the newest write is the damaged
// one, a record may be an older version of itself. Revisions do not survive the
// move into a new store.
func Salvage(dir string) ([]Entry, error) {
	path := filepath.Join(dir, fileName)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("kv: salvage: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := lockFile(f); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("kv: salvage: %w", err)
	}
	var entries []Entry
	var damaged []error
	problem := inspect(f, info.Size(), func(key, raw []byte) {
		rev, value, err := decodeRecord(key, raw)
		if err != nil {
			damaged = append(damaged, &CorruptError{Path: path, Key: string(key), Err: err})
			return
		}
		entries = append(entries, Entry{Key: string(key), Value: bytes.Clone(value), Rev: rev})
	})
	if problem != nil {
		damaged = append(damaged, &CorruptError{Path: path, Err: problem})
	}
	return entries, errors.Join(damaged...)
}
