package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A record is what stands behind a key in the file:
//
//	version  1 byte
//	checksum 4 bytes, little endian: CRC-32C of version, revision, key length, key, value
//	revision 8 bytes, little endian
//	value    the rest
//
// The checksum covers the key, so a record found under another key does not pass.
const (
	recordVersion = 1
	recordHeader  = 1 + 4 + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeRecord(key []byte, rev uint64, value []byte) []byte {
	raw := make([]byte, recordHeader, recordHeader+len(value))
	raw[0] = recordVersion
	binary.LittleEndian.PutUint64(raw[5:], rev)
	raw = append(raw, value...)
	binary.LittleEndian.PutUint32(raw[1:], recordSum(key, raw))
	return raw
}

// decodeRecord returns the revision and the value; the value aliases raw.
func decodeRecord(key, raw []byte) (rev uint64, value []byte, err error) {
	if len(raw) < recordHeader {
		return 0, nil, fmt.Errorf("%d bytes are too few for a record", len(raw))
	}
	if binary.LittleEndian.Uint32(raw[1:]) != recordSum(key, raw) {
		return 0, nil, errors.New("checksum mismatch")
	}
	if raw[0] != recordVersion {
		return 0, nil, fmt.Errorf("record version %d: written by a newer release", raw[0])
	}
	return binary.LittleEndian.Uint64(raw[5:]), raw[recordHeader:], nil
}

func recordSum(key, raw []byte) uint32 {
	sum := crc32.Update(0, castagnoli, raw[:1])
	sum = crc32.Update(sum, castagnoli, raw[5:recordHeader])
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(key)))
	sum = crc32.Update(sum, castagnoli, n[:])
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, raw[recordHeader:])
}

// totals describes all records of a store. It is a record itself, written in the
// same transaction as every change: a record that vanished, or whose key
// changed, shows when the file is opened.
type totals struct {
	rev   uint64 // the newest revision given out
	count uint64 // records
	keys  uint64 // sum of the CRC-32C of the keys
}

const totalsSize = 16

func (t *totals) add(key []byte) {
	t.count++
	t.keys += uint64(crc32.Checksum(key, castagnoli))
}

func (t *totals) remove(key []byte) {
	t.count--
	t.keys -= uint64(crc32.Checksum(key, castagnoli))
}

func (t totals) encode() []byte {
	value := binary.LittleEndian.AppendUint64(nil, t.count)
	return encodeRecord(totalsKey, t.rev, binary.LittleEndian.AppendUint64(value, t.keys))
}

func decodeTotals(raw []byte) (totals, error) {
	rev, value, err := decodeRecord(totalsKey, raw)
	if err == nil && len(value) != totalsSize {
		err = fmt.Errorf("%d bytes", len(value))
	}
	if err != nil {
		return totals{}, fmt.Errorf("the record of totals: %w", err)
	}
	return totals{rev, binary.LittleEndian.Uint64(value), binary.LittleEndian.Uint64(value[8:])}, nil
}
