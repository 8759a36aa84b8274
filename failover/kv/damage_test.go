package kv

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sample fills a store with records of all sizes, some changed and some deleted,
// and returns what it holds and the bytes of its file.
func sample(t testing.TB, n int) (want map[string]Entry, file []byte) {
	t.Helper()
	dir := t.TempDir()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b.db.NoSync = true
	want = map[string]Entry{}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n * 3 {
		key := fmt.Sprintf("host/%04d", rng.IntN(n))
		old, exists := want[key]
		if exists && rng.IntN(4) == 0 {
			if err := b.Delete(t.Context(), key, old.Rev); err != nil {
				t.Fatal(err)
			}
			delete(want, key)
			continue
		}
		value := bytes.Repeat([]byte{byte(i)}, rng.IntN(120))
		if rng.IntN(40) == 0 {
			value = bytes.Repeat(value, 100) // more than a page
		}
		want[key] = Entry{Key: key, Value: value, Rev: put(t, b, key, string(value), old.Rev)}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	file, err = os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return want, file
}

func write(t testing.TB, dir string, file []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// damaged asserts that err is a CorruptError of the file, not of one key.
func damaged(t testing.TB, err error, path string) {
	t.Helper()
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Key != "" || corrupt.Path != path || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("want a CorruptError of %s that names the fix, got %v", path, err)
	}
}

// bbolt returns what is on the disk, whatever it is.
func TestBoltReturnsSilentlyWrongBytesForAFlippedBit(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	for _, key := range []string{"a", "b", "c"} {
		put(t, b, key, "value of "+key, 0)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(file, []byte("value of b"))
	for ; at >= 0; at = bytes.LastIndex(file[:at], []byte("value of b")) { // old pages too
		file[at] ^= 0x40
	}
	write(t, dir, file)

	b = open(t, dir)
	var corrupt *CorruptError
	if e, err := b.Get(t.Context(), "b"); !errors.As(err, &corrupt) || corrupt.Key != "b" || corrupt.Path != path {
		t.Errorf("the damaged record: %+v, %v", e, err)
	}
	if _, err := b.Put(t.Context(), "b", nil, 2); !errors.As(err, &corrupt) {
		t.Errorf("put over the damaged record: %v", err)
	}
	if err := b.Delete(t.Context(), "b", 2); !errors.As(err, &corrupt) {
		t.Errorf("delete of the damaged record at a revision: %v", err)
	}
	var got []string
	for e, err := range b.Scan(t.Context(), "") {
		got = append(got, fmt.Sprintf("%s:%s:%t", e.Key, e.Value, err != nil))
	}
	if want := "a:value of a:false b::true c:value of c:false"; strings.Join(got, " ") != want {
		t.Errorf("scan: %q, want %s", got, want)
	}
	if err := b.Delete(t.Context(), "b", 0); err != nil {
		t.Errorf("delete at revision 0: %v", err)
	}
	put(t, b, "b", "new", 0)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, open(t, dir), ""); len(got) != 3 {
		t.Errorf("after removing it: %q", got)
	}
}

// One flipped bit anywhere in the file: either Open says so, or every record is
// what it was or says so itself, and the next write harms none of them.
func TestNoFlippedBitMakesTheStoreLie(t *testing.T) {
	want, file := sample(t, 300)
	const flips = 400
	rng := rand.New(rand.NewPCG(3, 4))
	refused, told := 0, 0
	dir := t.TempDir()
	for range flips {
		at := rng.IntN(len(file))
		if rng.IntN(2) == 0 { // half of them where the structure is: the start of a page
			at = at/4096*4096 + rng.IntN(256)
		}
		bit := byte(1) << rng.IntN(8)
		file[at] ^= bit
		write(t, dir, file)
		file[at] ^= bit

		b, err := Open(dir)
		if err != nil {
			damaged(t, err, filepath.Join(dir, fileName))
			refused++
			continue
		}
		b.db.NoSync = true
		put(t, b, "zz/new", "written to a damaged store", 0)
		for round := range 2 {
			for key, e := range want {
				got, err := b.Get(t.Context(), key)
				var corrupt *CorruptError
				switch {
				case errors.As(err, &corrupt) && corrupt.Key == key:
					told++
				case err != nil || got.Rev != e.Rev || !bytes.Equal(got.Value, e.Value):
					t.Fatalf("byte %d bit %02x round %d: %s is %d %q, %v; put as %d %q", at, bit, round, key, got.Rev, got.Value, err, e.Rev, e.Value)
				}
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if b, err = Open(dir); err != nil {
				t.Fatalf("byte %d bit %02x: the store was opened, written and is now refused: %v", at, bit, err)
			}
		}
		_ = b.Close()
	}
	t.Logf("%d flips: %d refused by Open, %d answers about a damaged record", flips, refused, told)
	if refused == 0 || told == 0 {
		t.Error("the flips missed what they were to hit")
	}
}

// bbolt maps the file and dies by SIGBUS where it ends too early.
func TestBoltDiesBySIGBUSOnATruncatedFile(t *testing.T) {
	_, file := sample(t, 300)
	dir := t.TempDir()
	used := len(bytes.TrimRight(file, "\x00"))
	for _, size := range []int{0, 1, 100, 4096, 8192, 12288, used / 2, used - 4096} {
		write(t, dir, file[:size])
		_, err := Open(dir)
		damaged(t, err, filepath.Join(dir, fileName))
	}
}

// The same while the store is open: an error, no hang and no crash, and Close
// returns.
func TestFileCutShortWhileOpen(t *testing.T) {
	for _, size := range []int64{0, 4096, 3 * 4096} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			want, file := sample(t, 300)
			dir := t.TempDir()
			write(t, dir, file)
			b := open(t, dir)
			if err := os.Truncate(b.path, size); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				faults := 0
				for key := range want {
					if _, err := b.Get(t.Context(), key); err != nil {
						var corrupt *CorruptError
						if !errors.As(err, &corrupt) {
							t.Error(err)
						}
						faults++
					}
				}
				if faults == 0 {
					t.Error("no read failed")
				}
				var corrupt *CorruptError
				for range 2 {
					if _, err := b.Put(t.Context(), "new", nil, 0); !errors.As(err, &corrupt) {
						t.Errorf("put: %v", err)
					}
				}
				for _, err := range b.Scan(t.Context(), "") {
					if err != nil && !errors.As(err, &corrupt) {
						t.Errorf("scan: %v", err)
					}
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("hangs")
			}
		})
	}
}

// bbolt panics on pages that are not what their parent says.
func TestBoltPanicsOnADamagedPage(t *testing.T) {
	want, file := sample(t, 300)
	dir := t.TempDir()
	write(t, dir, file)
	b := open(t, dir)
	f, err := os.OpenFile(b.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for at := int64(2 * 4096); at < int64(len(file)); at += 4096 { // all but the meta pages
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 4096), at); err != nil {
			t.Fatal(err)
		}
	}
	var corrupt *CorruptError
	for key := range want {
		if _, err := b.Get(t.Context(), key); !errors.As(err, &corrupt) {
			t.Fatalf("get: %v", err)
		}
	}
	for range 2 { // the second must not wait for what the first left locked
		if _, err := b.Put(t.Context(), "new", nil, 0); !errors.As(err, &corrupt) {
			t.Fatalf("put: %v", err)
		}
	}
	for _, err := range b.Scan(t.Context(), "") {
		if !errors.As(err, &corrupt) {
			t.Fatalf("scan: %v", err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir)
	damaged(t, err, b.path)
	_, err = Open(dir) // and the refusal left no lock behind
	damaged(t, err, b.path)
}

// bbolt falls back to the older of its two states in silence.
func TestBoltUndoesTheNewestWriteForADamagedMetaPage(t *testing.T) {
	_, file := sample(t, 10)
	dir := t.TempDir()
	for _, page := range []int{0, 1} {
		spoilt := bytes.Clone(file)
		spoilt[page*4096+pageHeader+48] ^= 1
		write(t, dir, spoilt)
		_, err := Open(dir)
		damaged(t, err, filepath.Join(dir, fileName))
	}
}

func TestSalvageReadsWhatOpenRefuses(t *testing.T) {
	want, file := sample(t, 300)
	dir := t.TempDir()
	// A flipped bit in a key: Get of that key would say that there is none.
	for key := range want {
		for at := bytes.Index(file, []byte(key)); at >= 0; at = bytes.Index(file, []byte(key)) {
			file[at+len(key)-1] ^= 0x40
		}
		delete(want, key)
		break
	}
	write(t, dir, file)
	_, err := Open(dir)
	damaged(t, err, filepath.Join(dir, fileName))
	entries, err := Salvage(dir)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		t.Errorf("salvage does not say what is wrong: %v", err)
	}
	if len(entries) != len(want) {
		t.Errorf("salvaged %d of %d", len(entries), len(want))
	}
	for _, e := range entries {
		if w, ok := want[e.Key]; !ok || !bytes.Equal(w.Value, e.Value) || w.Rev != e.Rev {
			t.Errorf("salvaged %+v, put %+v", e, w)
		}
	}
	if _, err := Salvage(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("salvage of nothing: %v", err)
	}
}
