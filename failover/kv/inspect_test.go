package kv

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

func TestInspectAcceptsWhateverBoltWrites(t *testing.T) {
	for _, n := range []int{1, 10, 1000, 2000} {
		_, file := sample(t, n)
		if problem := inspect(bytes.NewReader(file), int64(len(file)), nil); problem != nil {
			t.Errorf("%d keys: %v", n, problem)
		}
	}
}

// What random flips seldom hit: each of these leaves the records themselves intact.
func TestInspectFindsDamageOfTheTree(t *testing.T) {
	_, whole := sample(t, 1000)
	in := &inspector{file: bytes.NewReader(whole), used: map[uint64]bool{}}
	m, ok := in.newestMeta(int64(len(whole)))
	if !ok {
		t.Fatal(in.first)
	}
	in.pages = m.pages
	page := func(file []byte, id uint64) []byte { return file[int64(id)*m.pageSize:][:m.pageSize] }
	records := uint64(0)
	in.tree(m.root, func(_ uint32, name, value []byte) {
		if bytes.Equal(name, recordsBucket) {
			records = order.Uint64(value)
		}
	})
	root, leaf, ok := in.elements(page(whole, records))
	if !ok || leaf || len(root) < 2 || order.Uint16(page(whole, m.freelist)[10:]) < 2 {
		t.Fatal("the sample is too small")
	}
	for name, tc := range map[string]struct {
		damage func(file []byte)
		says   string
	}{
		"free and used": {func(file []byte) {
			order.PutUint64(page(file, m.freelist)[pageHeader:], root[0].child)
		}, "both free and not"},
		"free twice": {func(file []byte) {
			list := page(file, m.freelist)[pageHeader:]
			copy(list, list[8:16])
		}, "both free and not"},
		"one page, two parents": {func(file []byte) {
			order.PutUint64(page(file, records)[pageHeader+elementSize+8:], root[0].child)
		}, "used twice"},
		"a page under its own": {func(file []byte) {
			order.PutUint64(page(file, records)[pageHeader+8:], records)
		}, "used twice"},
		"two branches change places": {func(file []byte) {
			b := page(file, records)[pageHeader:]
			order.PutUint64(b[8:], root[1].child)
			order.PutUint64(b[elementSize+8:], root[0].child)
		}, "out of order"},
		"keys of one leaf change places": {func(file []byte) {
			b := page(file, root[0].child)[pageHeader:]
			first, second := bytes.Clone(b[:elementSize]), bytes.Clone(b[elementSize:2*elementSize])
			order.PutUint32(first[4:], order.Uint32(first[4:])-elementSize) // positions count from the element
			order.PutUint32(second[4:], order.Uint32(second[4:])+elementSize)
			copy(b, second)
			copy(b[elementSize:], first)
		}, "out of order"},
		"an older page": {func(file []byte) {
			copy(page(file, root[1].child), page(file, root[0].child))
		}, "is not what it should be"},
	} {
		file := bytes.Clone(whole)
		tc.damage(file)
		problem := inspect(bytes.NewReader(file), int64(len(file)), nil)
		if problem == nil || !strings.Contains(problem.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, problem, tc.says)
		}
	}
}

// A valid bbolt file that is not a store is refused, not filled.
func TestForeignFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir)
	damaged(t, err, path)
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func FuzzInspect(f *testing.F) {
	_, file := sample(f, 40)
	f.Add(uint32(0), []byte{})
	f.Add(uint32(2*4096), []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, at uint32, patch []byte) {
		spoilt := bytes.Clone(file)
		copy(spoilt[int(at)%len(spoilt):], patch)
		_ = inspect(bytes.NewReader(spoilt), int64(len(spoilt)), func(key, raw []byte) { _, _, _ = decodeRecord(key, raw) })
	})
}
