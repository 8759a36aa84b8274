package kv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// childDir makes the test binary a process that writes until it is killed.
const childDir = "KV_TEST_CHILD_DIR"

// child writes sequential keys and prints each one acknowledged.
func child(dir string) {
	b, err := Open(dir)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		key := fmt.Sprintf("%08d", i)
		if _, err := b.Put(context.Background(), key, []byte("value of "+key), 0); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(key)
	}
}

// startChild returns a running child and its lines, having read n of them.
func startChild(t *testing.T, dir string, n int) (*exec.Cmd, *bufio.Scanner, []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines, acked := bufio.NewScanner(out), []string(nil)
	for len(acked) < n && lines.Scan() {
		acked = append(acked, lines.Text())
	}
	return cmd, lines, acked
}

// kill -9 at any point: what was acknowledged is there. (A killed process leaves
// the page cache behind, so this shows the order of writes, not fsync.)
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	for round := range 5 {
		dir := t.TempDir()
		cmd, lines, acked := startChild(t, dir, 1+20*round)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			acked = append(acked, lines.Text())
		}
		_ = cmd.Wait()
		b := open(t, dir)
		for _, key := range acked {
			if e, err := b.Get(t.Context(), key); err != nil || string(e.Value) != "value of "+key {
				t.Fatalf("round %d: acknowledged key %q: %q, %v", round, key, e.Value, err)
			}
		}
		if found := len(keys(t, b, "")); len(acked) == 0 || found < len(acked) || found > len(acked)+1 {
			t.Errorf("round %d: %d keys acknowledged, %d found", round, len(acked), found)
		}
	}
}

// bbolt waits for ever by default.
func TestSecondProcessHangsByDefault(t *testing.T) {
	dir := t.TempDir()
	cmd, _, _ := startChild(t, dir, 1)
	check := func() {
		t.Helper()
		start := time.Now()
		_, err := Open(dir)
		if took := time.Since(start); !errors.Is(err, ErrInUse) || took > 3*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		if _, err := Salvage(dir); !errors.Is(err, ErrInUse) {
			t.Errorf("salvage: %v", err)
		}
	}
	check() // while the other one writes: in use, not damaged
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	first := open(t, dir)
	check() // the same within one process
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestStateIsPrivateAndNamed(t *testing.T) {
	if _, err := Open(""); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("empty directory name: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "new", "state")
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName)
	mode := func(name string) os.FileMode {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if mode(dir) != 0o700 || mode(path) != 0o600 {
		t.Errorf("directory %v, file %v", mode(dir), mode(path))
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if mode(path) != 0o600 {
		t.Errorf("a file that others could read stays %v", mode(path))
	}
}

// A process killed while it created the store leaves a file under another name.
func TestKilledWhileCreating(t *testing.T) {
	dir := t.TempDir()
	torn := filepath.Join(dir, fileName+leftover+"123")
	if err := os.WriteFile(torn, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, dir), "a", "", 0)
	if _, err := os.Stat(torn); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover is still there: %v", err)
	}
}

// Two processes that find no store: the slower must not replace what the faster
// has already written to.
func TestCreateReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "a", "", 0)
	if err := create(b.path); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, open(t, dir), ""); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func TestManyCreateTheSameStore(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	opened := 0
	for range 8 {
		wg.Go(func() {
			b, err := Open(dir)
			if err != nil {
				if !errors.Is(err, ErrInUse) {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			opened++
			mu.Unlock()
			put(t, b, fmt.Sprint(time.Now().UnixNano()), "", 0)
			_ = b.Close()
		})
	}
	wg.Wait()
	if n := len(keys(t, open(t, dir), "")); n != opened || n == 0 {
		t.Errorf("%d opened the store and put a key, %d keys", opened, n)
	}
}

// A writer that never ends its transaction must not keep readers waiting.
func TestReadersDoNotWaitForWriters(t *testing.T) {
	b := open(t, t.TempDir())
	put(t, b, "a", "1", 0)
	err := b.db.Update(func(*bbolt.Tx) error {
		_, err := b.Get(t.Context(), "a")
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A full disk refuses writes, loses nothing and is over when there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "a", "before", 0)
	b.db.MaxSize = 64 << 10 // bbolt refuses to grow, as the disk would
	big := strings.Repeat("x", 128<<10)
	if _, err := b.Put(t.Context(), "big", []byte(big), 0); err == nil {
		t.Fatal("the disk was not full")
	}
	if e, err := b.Get(t.Context(), "a"); err != nil || string(e.Value) != "before" {
		t.Errorf("while the disk is full: %q, %v", e.Value, err)
	}
	b.db.MaxSize = 0
	put(t, b, "big", big, 0)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, open(t, dir), ""); len(got) != 2 {
		t.Errorf("%q", got)
	}
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := Open(dir)
	if err != nil {
		panic(err)
	}
	defer func() { _ = s.Close() }()
	ctx := context.Background()

	rev, _ := s.Put(ctx, "cursor/alerts", []byte("page 1"), 0) // 0: create
	_, _ = s.Put(ctx, "cursor/alerts", []byte("page 2"), rev)
	_, err = s.Put(ctx, "cursor/alerts", []byte("page 2, by another worker"), rev)
	fmt.Println(errors.Is(err, ErrConflict))
	e, _ := s.Get(ctx, "cursor/alerts")
	fmt.Println(string(e.Value))
	// Output:
	// true
	// page 2
}
