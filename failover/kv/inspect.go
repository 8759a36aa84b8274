package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// inspector reads a bbolt file without mapping it and proves what bbolt takes on
// trust: that every page lies inside the file and is what its parent says, is
// used once and not free, that keys are in order, and that the records are as
// many, under the same keys, as the totals say. bbolt has no checksum below its
// two meta pages, so one flipped bit could otherwise hide a record, answer with
// another one, or make the next write destroy a third.
//
// It goes on after a problem, as far as it can: Salvage lives on that.
type inspector struct {
	file     io.ReaderAt
	pageSize int64
	pages    uint64 // in use: every page id is below this
	used     map[uint64]bool
	first    error // the first problem
}

const (
	pageHeader  = 16 // id 8, flags 2, count 2, overflow 4
	elementSize = 16
	bucketSize  = 16 // root page 8, sequence 8

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01

	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	minPageSize = 1 << 10
	maxPageSize = 1 << 24
)

var order = binary.NativeEndian // bbolt's: a file does not move between byte orders

// inspect returns the first problem of the file, nil if there is none. Damage
// inside a value is none: its record tells when it is read. visit, if not nil, is
// called for every record found, intact or not; it must not keep key or raw.
func inspect(file io.ReaderAt, size int64, visit func(key, raw []byte)) error {
	in := &inspector{file: file, used: map[uint64]bool{}}
	m, ok := in.newestMeta(size)
	if !ok {
		return in.first
	}
	in.pages = m.pages
	if whole := uint64(size / in.pageSize); m.pages > whole {
		in.problem("it was cut short: %d pages of %d are left", whole, m.pages)
		in.pages = whole
	}
	var found totals
	var stored []byte
	in.tree(m.root, func(flags uint32, name, value []byte) {
		records, meta := bytes.Equal(name, recordsBucket), bytes.Equal(name, metaBucket)
		if flags != bucketFlag || !records && !meta {
			in.problem("unexpected bucket %q", name)
			return
		}
		in.bucket(value, func(flags uint32, key, raw []byte) {
			switch {
			case flags != 0:
				in.problem("record %q is marked as something else", key)
			case meta:
				stored = bytes.Clone(raw)
			default:
				found.add(key)
				if visit != nil {
					visit(key, raw)
				}
			}
		})
	})
	in.freelist(m.freelist)
	want, err := decodeTotals(stored)
	switch {
	case err != nil:
		in.problem("%w", err)
	case found.count != want.count:
		in.problem("it has %d records and should have %d", found.count, want.count)
	case found.keys != want.keys:
		in.problem("the key of a record changed")
	}
	return in.first
}

func (in *inspector) problem(format string, args ...any) {
	if in.first == nil {
		in.first = fmt.Errorf(format, args...)
	}
}

// meta is what a valid meta page says.
type meta struct {
	root, freelist, pages, tx uint64
	pageSize                  int64
}

// newestMeta picks the state to read as bbolt does. But bbolt falls back to the
// older state in silence when the newer meta page is damaged, which undoes a
// write that was acknowledged; here that is a problem. A torn write does not
// look like this: a meta fits into one sector of the disk.
func (in *inspector) newestMeta(size int64) (newest meta, ok bool) {
	first, ok0 := in.meta(0)
	candidates := []int64{first.pageSize}
	if !ok0 { // then the page size, and so the place of the second, must be guessed
		candidates = nil
		for at := int64(minPageSize); at <= maxPageSize; at <<= 1 {
			candidates = append(candidates, at)
		}
	}
	var second meta
	ok1 := false
	for _, at := range candidates {
		if second, ok1 = in.meta(at); ok1 && second.pageSize == at {
			break
		}
		ok1 = false
	}
	switch {
	case size == 0:
		in.problem("it is empty")
	case !ok0 && !ok1:
		in.problem("neither of its meta pages is valid")
	case !ok0 || !ok1:
		in.problem("one of its two meta pages is not valid: the newest write may be missing")
	}
	newest = first
	if !ok0 || ok1 && second.tx > first.tx {
		newest = second
	}
	in.pageSize = newest.pageSize
	return newest, ok0 || ok1
}

// meta reads the meta page at offset at.
func (in *inspector) meta(at int64) (meta, bool) {
	var b [metaSize]byte
	if _, err := in.file.ReadAt(b[:], at+pageHeader); err != nil {
		return meta{}, false
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56])
	m := meta{
		pageSize: int64(order.Uint32(b[8:])), root: order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]), pages: order.Uint64(b[40:]), tx: order.Uint64(b[48:]),
	}
	ok := order.Uint32(b[0:]) == metaMagic && order.Uint32(b[4:]) == metaVersion && order.Uint64(b[56:]) == sum.Sum64() &&
		m.pageSize >= minPageSize && m.pageSize <= maxPageSize && m.pageSize&(m.pageSize-1) == 0
	return m, ok
}

// page reads a page with its overflow and marks it used.
func (in *inspector) page(id uint64) (data []byte, ok bool) {
	if id < 2 || id >= in.pages {
		in.problem("page %d is outside the file", id)
		return nil, false
	}
	var h [pageHeader]byte
	if _, err := in.file.ReadAt(h[:], int64(id)*in.pageSize); err != nil {
		in.problem("page %d: %w", id, err)
		return nil, false
	}
	end := id + uint64(order.Uint32(h[12:])) + 1
	if order.Uint64(h[:]) != id || end > in.pages {
		in.problem("page %d is not what it should be", id)
		return nil, false
	}
	for p := id; p < end; p++ {
		if in.used[p] {
			in.problem("page %d is used twice", p)
			return nil, false
		}
		in.used[p] = true
	}
	data = make([]byte, int64(end-id)*in.pageSize)
	if _, err := in.file.ReadAt(data, int64(id)*in.pageSize); err != nil {
		in.problem("page %d: %w", id, err)
		return nil, false
	}
	return data, true
}

// An element of a leaf or branch page, as bbolt lays it out.
type element struct {
	flags uint32 // leaf
	child uint64 // branch
	key   []byte
	value []byte // leaf
}

// elements returns what a leaf or branch page holds.
func (in *inspector) elements(data []byte) (list []element, leaf, ok bool) {
	flags, count := order.Uint16(data[8:]), int(order.Uint16(data[10:]))
	leaf = flags == leafPage
	if !leaf && (flags != branchPage || count == 0) || pageHeader+count*elementSize > len(data) {
		in.problem("a page of the tree is no such page")
		return nil, leaf, false
	}
	for i := range count {
		at := pageHeader + i*elementSize
		e, b := element{}, data[at:]
		var pos, keySize, valueSize uint64
		if leaf {
			e.flags = order.Uint32(b)
			pos, keySize, valueSize = uint64(order.Uint32(b[4:])), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[12:]))
		} else {
			pos, keySize = uint64(order.Uint32(b)), uint64(order.Uint32(b[4:]))
			e.child = order.Uint64(b[8:])
		}
		if pos < elementSize || pos+keySize+valueSize > uint64(len(b)) {
			in.problem("an element lies outside its page")
			return list, leaf, false
		}
		e.key, e.value = b[pos:pos+keySize], b[pos+keySize:pos+keySize+valueSize]
		list = append(list, e)
	}
	return list, leaf, true
}

// tree visits the elements of the leaves under page id, in key order.
func (in *inspector) tree(id uint64, visit func(flags uint32, key, value []byte)) {
	in.walk(id, bounds{}, visit)
}

// bounds are the least key and the first key too great; nil means none.
type bounds struct{ low, high []byte }

func (in *inspector) walk(id uint64, within bounds, visit func(flags uint32, key, value []byte)) {
	if data, ok := in.page(id); ok {
		in.content(data, within, visit)
	}
}

func (in *inspector) content(data []byte, within bounds, visit func(flags uint32, key, value []byte)) {
	list, leaf, _ := in.elements(data)
	for i, e := range list {
		if i > 0 && bytes.Compare(list[i-1].key, e.key) >= 0 ||
			within.low != nil && bytes.Compare(e.key, within.low) < 0 ||
			within.high != nil && bytes.Compare(e.key, within.high) >= 0 {
			in.problem("key %q is out of order", e.key)
		}
		if leaf {
			visit(e.flags, e.key, e.value)
			continue
		}
		child := bounds{low: e.key, high: within.high}
		if i+1 < len(list) {
			child.high = list[i+1].key
		}
		in.walk(e.child, child, visit)
	}
}

// bucket visits a bucket's elements. A small bucket is one page inside the
// element that names it.
func (in *inspector) bucket(value []byte, visit func(flags uint32, key, value []byte)) {
	if len(value) < bucketSize {
		in.problem("a bucket has no root")
		return
	}
	if root := order.Uint64(value); root != 0 {
		in.tree(root, visit)
		return
	}
	if inline := value[bucketSize:]; len(inline) >= pageHeader && order.Uint16(inline[8:]) == leafPage {
		in.content(inline, bounds{}, visit)
		return
	}
	in.problem("a bucket has no page")
}

// freelist proves that no page is both free and used: bbolt would hand it out
// and overwrite what is there.
func (in *inspector) freelist(id uint64) {
	data, ok := in.page(id)
	if !ok {
		return
	}
	ids, count := data[pageHeader:], uint64(order.Uint16(data[10:]))
	if count == math.MaxUint16 && len(ids) >= 8 { // then the first entry is the count
		count, ids = order.Uint64(ids), ids[8:]
	}
	if order.Uint16(data[8:]) != freelistPage || count > uint64(len(ids))/8 {
		in.problem("the list of free pages is no such list")
		return
	}
	free := make(map[uint64]bool, count)
	for range count {
		p := order.Uint64(ids)
		ids = ids[8:]
		if p < 2 || p >= in.pages || in.used[p] || free[p] {
			in.problem("page %d is both free and not", p)
			return
		}
		free[p] = true
	}
}
