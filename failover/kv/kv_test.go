package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) *Bolt {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func put(t testing.TB, s Store, key, value string, rev uint64) uint64 {
	t.Helper()
	next, err := s.Put(t.Context(), key, []byte(value), rev)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestConformance is what every Store must do.
func TestConformance(t *testing.T) {
	stores := map[string]func(*testing.T) Store{
		"memory": func(*testing.T) Store { return NewMemory() },
		"bolt":   func(t *testing.T) Store { return open(t, t.TempDir()) },
	}
	tests := map[string]func(*testing.T, Store){
		"compare and swap":      testCompareAndSwap,
		"one winner per rev":    testOneWinner,
		"revisions not reused":  testRevisionsNotReused,
		"delete":                testDelete,
		"scan prefix":           testScanPrefix,
		"scan while changing":   testScanWhileChanging,
		"scan stops":            testScanStops,
		"values are not shared": testValuesNotShared,
		"limits":                testLimits,
		"cancelled":             testCancelled,
		"closed":                testClosed,
	}
	for storeName, make := range stores {
		for name, test := range tests {
			t.Run(storeName+"/"+name, func(t *testing.T) { test(t, make(t)) })
		}
	}
}

func testCompareAndSwap(t *testing.T, s Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	if _, err := s.Put(ctx, "a", nil, 7); !errors.Is(err, ErrConflict) {
		t.Errorf("put over nothing: %v", err)
	}
	first := put(t, s, "a", "one", 0)
	if _, err := s.Put(ctx, "a", []byte("x"), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("create twice: %v", err)
	}
	second := put(t, s, "a", "two", first)
	if _, err := s.Put(ctx, "a", []byte("x"), first); !errors.Is(err, ErrConflict) {
		t.Errorf("put over an old revision: %v", err)
	}
	e, err := s.Get(ctx, "a")
	if err != nil || e.Key != "a" || string(e.Value) != "two" || e.Rev != second || second <= first {
		t.Errorf("got %+v, %v", e, err)
	}
	put(t, s, "empty", "", 0)
	if e, err := s.Get(ctx, "empty"); err != nil || len(e.Value) != 0 || e.Rev == 0 {
		t.Errorf("empty value: %+v, %v", e, err)
	}
}

func testOneWinner(t *testing.T, s Store) {
	const writers, rounds = 8, 10
	rev := uint64(0)
	for range rounds {
		var mu sync.Mutex
		var won []uint64
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				next, err := s.Put(t.Context(), "key", fmt.Append(nil, w), rev)
				switch {
				case err == nil:
					mu.Lock()
					won = append(won, next)
					mu.Unlock()
				case !errors.Is(err, ErrConflict):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d of %d writers won revision %d", len(won), writers, rev)
		}
		rev = won[0]
	}
}

// A key that was deleted and created again must not match what was read before.
func testRevisionsNotReused(t *testing.T, s Store) {
	old := put(t, s, "a", "1", 0)
	if err := s.Delete(t.Context(), "a", old); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "2", 0)
	if _, err := s.Put(t.Context(), "a", nil, old); !errors.Is(err, ErrConflict) {
		t.Errorf("a revision from before the delete was taken: %v", err)
	}
	if err := s.Delete(t.Context(), "a", old); !errors.Is(err, ErrConflict) {
		t.Errorf("delete at a revision from before the delete: %v", err)
	}
}

func testDelete(t *testing.T, s Store) {
	ctx := t.Context()
	rev := put(t, s, "a", "1", 0)
	for wrong, want := range map[uint64]error{0: ErrConflict, rev + 1: ErrConflict} {
		if err := s.Delete(ctx, "a", wrong); !errors.Is(err, want) {
			t.Errorf("delete at %d: %v", wrong, err)
		}
	}
	if err := s.Delete(ctx, "a", rev); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get after delete: %v", err)
	}
	if err := s.Delete(ctx, "a", rev); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete twice: %v", err)
	}
}

func keys(t *testing.T, s Store, prefix string) []string {
	t.Helper()
	var list []string
	for e, err := range s.Scan(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Key)
	}
	return list
}

func testScanPrefix(t *testing.T, s Store) {
	for _, key := range []string{"b", "a/2", "a", "a/1", "a\xff", "a/\xff", "a0"} {
		put(t, s, key, "value of "+key, 0)
	}
	for prefix, want := range map[string][]string{
		"":    {"a", "a/1", "a/2", "a/\xff", "a0", "a\xff", "b"},
		"a/":  {"a/1", "a/2", "a/\xff"},
		"a/1": {"a/1"},
		"c":   nil,
		"a1":  nil,
	} {
		if got := keys(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("scan %q: %q, want %q", prefix, got, want)
		}
	}
	for e, err := range s.Scan(t.Context(), "") {
		if err != nil || string(e.Value) != "value of "+e.Key || e.Rev == 0 {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

// More keys than one batch holds; the loop body moves them to another prefix.
func testScanWhileChanging(t *testing.T, s Store) {
	const n = batchRecords + 10
	if b, ok := s.(*Bolt); ok {
		b.db.NoSync = true // the fsyncs are not what is tested
	}
	for i := range n {
		put(t, s, fmt.Sprintf("from/%04d", i), strings.Repeat("x", 100), 0)
	}
	seen := 0
	for e, err := range s.Scan(t.Context(), "from/") {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		put(t, s, "to/"+e.Key, string(e.Value), 0)
		if err := s.Delete(t.Context(), e.Key, e.Rev); err != nil {
			t.Fatal(err)
		}
	}
	if left := keys(t, s, "from/"); seen != n || len(left) != 0 || len(keys(t, s, "to/")) != n {
		t.Errorf("saw %d of %d, left %d", seen, n, len(left))
	}
}

func testScanStops(t *testing.T, s Store) {
	for _, key := range []string{"a", "b", "c"} {
		put(t, s, key, "", 0)
	}
	for e := range s.Scan(t.Context(), "") {
		if e.Key == "b" {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []string
	var last error
	for e, err := range s.Scan(ctx, "") {
		if last = err; err == nil {
			seen = append(seen, e.Key)
		}
		cancel()
	}
	if !slices.Equal(seen, []string{"a"}) || !errors.Is(last, context.Canceled) {
		t.Errorf("after cancelling: %q, %v", seen, last)
	}
}

func testValuesNotShared(t *testing.T, s Store) {
	ctx := t.Context()
	const want = 8 << 10 // more than bbolt copies anyway: it must lie in the mapping
	value := bytes.Repeat([]byte("v"), want)
	intact := func(b []byte) bool { return bytes.Count(b, []byte("v")) == want }
	if _, err := s.Put(ctx, "a", value, 0); err != nil {
		t.Fatal(err)
	}
	spoil := func(b []byte) {
		for i := range b {
			b[i] = '!'
		}
	}
	spoil(value)
	e, err := s.Get(ctx, "a")
	if err != nil || !intact(e.Value) {
		t.Fatalf("after the caller changed what it put: %.9q, %v", e.Value, err)
	}
	spoil(e.Value) // in a mapping this would be a fault
	for e, err = range s.Scan(ctx, "") {
		if err != nil || !intact(e.Value) {
			t.Errorf("after the caller changed what it got: %.9q, %v", e.Value, err)
		}
		spoil(e.Value)
	}
	if e, err = s.Get(ctx, "a"); err != nil || !intact(e.Value) {
		t.Errorf("after the caller changed what it scanned: %.9q, %v", e.Value, err)
	}
}

func testLimits(t *testing.T, s Store) {
	for _, key := range []string{"", strings.Repeat("k", MaxKey+1)} {
		if _, err := s.Put(t.Context(), key, nil, 0); err == nil {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
		if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("get of a key of %d bytes: %v", len(key), err)
		}
	}
	if _, err := s.Put(t.Context(), "a", make([]byte, MaxValue+1), 0); err == nil {
		t.Error("a value that is too large was taken")
	}
	long := strings.Repeat("k", MaxKey)
	put(t, s, long, strings.Repeat("v", 1<<20), 0)
	if e, err := s.Get(t.Context(), long); err != nil || len(e.Value) != 1<<20 {
		t.Errorf("the longest key: %v", err)
	}
}

func testCancelled(t *testing.T, s Store) {
	rev := put(t, s, "a", "", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range outcomes(ctx, s, rev) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e, err := s.Get(t.Context(), "a"); err != nil || e.Rev != rev {
		t.Errorf("a cancelled call changed something: %+v, %v", e, err)
	}
}

func testClosed(t *testing.T, s Store) {
	rev := put(t, s, "a", "", 0)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range outcomes(t.Context(), s, rev) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// outcomes is what each method says about the key "a".
func outcomes(ctx context.Context, s Store, rev uint64) map[string]error {
	got := map[string]error{}
	_, got["get"] = s.Get(ctx, "a")
	_, got["put"] = s.Put(ctx, "a", []byte("x"), rev)
	got["delete"] = s.Delete(ctx, "a", rev)
	for _, got["scan"] = range s.Scan(ctx, "") {
	}
	return got
}
