package siem

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failing is how many of the next operations fail.
type failing struct{ writes, syncs, truncates int }

// brittle is a disk whose files fail as they are told.
type brittle struct {
	failing
	mu                      sync.Mutex
	full                    bool  // after room bytes more
	room                    int64 // bytes
	begun, synced, unsynced int   // files begun, good syncs, writes since the last
}

type brittleFile struct {
	lineFile
	disk *brittle
}

func (d *brittle) open(path string, flag int) (lineFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := openFile(path, flag)
	if err != nil {
		return nil, err
	}
	d.begun++
	return &brittleFile{f, d}, nil
}

func (d *brittle) set(change func(*brittle)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func fails(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return true
}

func (f *brittleFile) WriteAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.unsynced++
	if fails(&f.disk.writes) {
		n, _ := f.lineFile.WriteAt(b[:len(b)/2], at)
		return n, syscall.EIO
	}
	if f.disk.full && int64(len(b)) > f.disk.room {
		n, _ := f.lineFile.WriteAt(b[:f.disk.room], at)
		return n, syscall.ENOSPC
	}
	f.disk.room -= int64(len(b))
	return f.lineFile.WriteAt(b, at)
}

func (f *brittleFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if fails(&f.disk.truncates) {
		return syscall.EIO
	}
	return f.lineFile.Truncate(size)
}

func (f *brittleFile) sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if fails(&f.disk.syncs) {
		return syscall.EIO
	}
	f.disk.synced, f.disk.unsynced = f.disk.synced+1, 0
	return f.lineFile.sync()
}

func testLines(t *testing.T, cfg linesConfig) *lines {
	t.Helper()
	if cfg.name == "" {
		cfg.name = "x"
	}
	if cfg.maxFile == 0 {
		cfg.maxFile = 1 << 20
	}
	l, err := openLines(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l
}

func jsonLine(n int) []byte { return fmt.Appendf(nil, `{"n":%d}`+"\n", n) }

// inFiles are the numbers in all files of a directory; each line must be one JSON value.
func inFiles(t *testing.T, dir string) (numbers []int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+linesSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			continue
		}
		if b[len(b)-1] != '\n' {
			t.Errorf("%s ends with %q", path, b[max(0, len(b)-20):])
		}
		for line := range bytes.Lines(b) {
			var v struct{ N int }
			if err := json.Unmarshal(line, &v); err != nil {
				t.Errorf("%s: %q: %v", path, line, err)
			}
			numbers = append(numbers, v.N)
		}
	}
	return numbers
}

func count(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

func files(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestALineIsSyncedBeforeItCounts(t *testing.T) {
	d := &brittle{}
	dir := filepath.Join(memory(t), "a", "b")
	l := testLines(t, linesConfig{dir: dir, open: d.open})
	for i := range 3 {
		if err := l.write(t.Context(), jsonLine(i)); err != nil {
			t.Fatal(err)
		}
		if d.unsynced != 0 || d.synced != i+1 {
			t.Errorf("%d syncs, %d writes after the last", d.synced, d.unsynced)
		}
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, l.path: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestAFailedWriteLeavesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		fail  failing
		err   bool
		files int
	}{
		"write":              {failing{writes: 1}, false, 1},
		"write for good":     {failing{writes: 99}, true, 1},
		"sync":               {failing{syncs: 1}, false, 2},
		"sync for good":      {failing{syncs: 99}, true, 1},
		"write and truncate": {failing{writes: 1, truncates: 1}, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := &brittle{}
			dir := memory(t)
			l := testLines(t, linesConfig{dir: dir, open: d.open})
			if err := l.write(t.Context(), jsonLine(0)); err != nil {
				t.Fatal(err)
			}
			d.set(func(d *brittle) {
				d.failing = test.fail
			})
			err := l.write(t.Context(), append(jsonLine(1), jsonLine(2)...))
			if (err != nil) != test.err || (l.waiting() != nil) != test.err {
				t.Fatalf("%v, then %v", err, l.waiting())
			}
			if n := files(t, dir); n != test.files {
				t.Errorf("%d files, want %d", n, test.files)
			}
			want := count(3)
			if test.err {
				want = count(1)
			}
			if test.fail.truncates > 0 { // by the next one who opens it
				if err := l.close(); err != nil {
					t.Fatal(err)
				}
				testLines(t, linesConfig{dir: dir})
			}
			if got := slices.Compact(inFiles(t, dir)); !slices.Equal(got, want) { // the first half may be there twice
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// Nobody knows which pages a failed sync has written, nor would the next one tell.
func TestAFileWhoseSyncFailedIsNotWrittenAgain(t *testing.T) {
	d := &brittle{}
	dir := memory(t)
	l := testLines(t, linesConfig{dir: dir, open: d.open})
	for i := range 2 {
		if err := l.write(t.Context(), jsonLine(i)); err != nil {
			t.Fatal(err)
		}
		d.set(func(d *brittle) { d.syncs = 1 })
	}
	if d.begun != 2 || files(t, dir) != 2 {
		t.Errorf("%d files begun, %d there", d.begun, files(t, dir))
	}
}

func TestAFullDiskIsWaitedForAndDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &brittle{full: true, room: 20}
		dir := memory(t)
		l := testLines(t, linesConfig{dir: dir, open: d.open})
		var done []int
		var mu sync.Mutex
		for i := range 5 {
			time.Sleep(time.Second)
			go func() {
				if err := l.write(t.Context(), jsonLine(i)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				done = append(done, i)
			}()
		}
		time.Sleep(time.Hour)
		if len(done) != 2 || !errors.Is(l.waiting(), errNoRoom) || !errors.Is(l.waiting(), syscall.ENOSPC) {
			t.Errorf("%d done, state %v", len(done), l.waiting())
		}
		if got := inFiles(t, dir); !slices.Equal(got, count(2)) {
			t.Errorf("on the full disk: %v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.write(ctx, jsonLine(9)); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errNoRoom) {
			t.Errorf("a caller who has no time: %v", err)
		}
		d.set(func(d *brittle) { d.full = false })
		time.Sleep(maxNoRoom)
		synctest.Wait()
		got := inFiles(t, dir)
		slices.Sort(got)
		if len(done) != 5 || l.waiting() != nil || !slices.Equal(got, count(5)) {
			t.Errorf("%d done, in the files %v, state %v", len(done), got, l.waiting())
		}
	})
}

func TestWhatACrashLeavesOfALineIsCut(t *testing.T) {
	for left, want := range map[string]int{
		"":                                      0,
		"{\"n\":0":                              0,
		"{\"n\":0}":                             0, // who knows whether more was to come
		"{\"n\":0}\n":                           1,
		"{\"n\":0}\n{\"n\"":                     1,
		"{\"n\":0}\n{\"n\":1}\n":                2,
		"{\"n\":0}\n{\"n\x00\x00\x00\x00\n":     1,
		"{\"n\":0}\n{\"n\x00\x00\x00\x00\n{\"n": 1,
		"{\"n\":0}\n\x00\x00\x00\x00\x00\x00":   1,
		"\x00\x00\x00\x00\n\x00":                0,
	} {
		dir := memory(t)
		if err := os.WriteFile(filepath.Join(dir, "x-20261124165628123.jsonl"), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		l := testLines(t, linesConfig{dir: dir})
		if err := l.write(t.Context(), jsonLine(want)); err != nil {
			t.Fatal(err)
		}
		if got := inFiles(t, dir); !slices.Equal(got, count(want+1)) || files(t, dir) != 1 {
			t.Errorf("%q became %v in %d files", left, got, files(t, dir))
		}
	}
}

func TestALongTornLineIsCut(t *testing.T) {
	for _, n := range []int{60 << 10, 64<<10 - 8, 64 << 10, 64<<10 + 1, 300 << 10, 2 << 20} {
		for _, tail := range []string{strings.Repeat("x", n), strings.Repeat("\x00", n), strings.Repeat("x\x00", n/2) + "\n"} {
			for _, before := range []string{"", "{\"n\":0}\n"} {
				size, err := wholeLines(strings.NewReader(before+tail), int64(len(before)+len(tail)))
				if err != nil || int(size) != len(before) {
					t.Errorf("%d bytes of %q behind %q: %d, %v", n, tail[:2], before, size, err)
				}
			}
		}
	}
}

func TestANewFileBeginsAtItsSize(t *testing.T) {
	for name, test := range map[string]struct {
		cfg   linesConfig
		files int
		kept  int
	}{
		"all stay":  {linesConfig{maxFile: 45}, 4, 20},
		"MaxFiles":  {linesConfig{maxFile: 45, keepFiles: 2}, 2, 10},
		"one file":  {linesConfig{maxFile: 45, keepFiles: 1}, 1, 5},
		"MaxBytes":  {linesConfig{maxFile: 45, keepBytes: 139}, 3, 15},
		"both":      {linesConfig{maxFile: 45, keepBytes: 139, keepFiles: 2}, 2, 10},
		"MaxFile 1": {linesConfig{maxFile: 1}, 20, 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // all within a millisecond
				test.cfg.dir = memory(t)
				other := filepath.Join(test.cfg.dir, "x-y-20261124165628123.jsonl")
				if err := os.WriteFile(other, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				l := testLines(t, test.cfg)
				var want []int
				for i := 10; i < 30; i++ {
					if err := l.write(t.Context(), jsonLine(i)); err != nil {
						t.Fatal(err)
					}
					want = append(want, i)
				}
				if got := inFiles(t, test.cfg.dir); files(t, test.cfg.dir)-1 != test.files || !slices.Equal(got, want[20-test.kept:]) {
					t.Errorf("%d files with %v", files(t, test.cfg.dir)-1, got)
				}
			})
		})
	}
}

func TestNoNameIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		future := "x-20991231235959999.jsonl" // written when the clock was wrong
		if err := os.WriteFile(filepath.Join(dir, future), jsonLine(0), 0o600); err != nil {
			t.Fatal(err)
		}
		l := testLines(t, linesConfig{dir: dir, maxFile: 9})
		seen := map[string]bool{future: true}
		for i := range 4 {
			if err := l.write(t.Context(), jsonLine(i)); err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(l.path)
			if i > 0 && (seen[name] || name <= future) {
				t.Errorf("%s, after %v", name, seen)
			}
			seen[name] = true
			if i > 1 {
				if err := os.Remove(l.path); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// Who takes away the dead letters must not take those that are still to come.
func TestAFileThatWasTakenAwayIsNotWritten(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"removed": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"both":    func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		dir := filepath.Join(memory(t), "d")
		l := testLines(t, linesConfig{dir: dir})
		if err := l.write(t.Context(), jsonLine(0)); err != nil {
			t.Fatal(err)
		}
		taken := l.path + ".old"
		if err := take(l.path); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			if err := l.write(t.Context(), jsonLine(i)); err != nil {
				t.Fatal(name, err)
			}
		}
		if got := inFiles(t, dir); !slices.Equal(got, count(2)) {
			t.Errorf("%s: %v", name, got)
		}
		if b, _ := os.ReadFile(taken); name == "moved" && string(b) != string(jsonLine(0)) {
			t.Errorf("what was taken away went on: %q", b)
		}
	}
}

// takenWhile has its file taken away in the middle of a write.
type takenWhile struct {
	lineFile
	path string
}

func (f *takenWhile) sync() error {
	_ = os.Remove(f.path)
	return f.lineFile.sync()
}

func TestAFileThatIsTakenAwayWhileItIsWritten(t *testing.T) {
	dir, begun := memory(t), 0
	l := testLines(t, linesConfig{dir: dir, open: func(path string, flag int) (lineFile, error) {
		f, err := openFile(path, flag)
		if begun++; err == nil && begun == 1 {
			f = &takenWhile{f, path}
		}
		return f, err
	}})
	if err := l.write(t.Context(), jsonLine(0)); err != nil {
		t.Fatal(err)
	}
	if got := inFiles(t, dir); !slices.Equal(got, count(1)) || begun != 2 {
		t.Errorf("%v in %d files", got, begun)
	}
}

func TestAtTheLimitWritingWaitsUntilSomebodyMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		for i := range 2 { // also what was there before counts
			l := testLines(t, linesConfig{dir: dir, maxFile: 16, limit: 44})
			for j := range 2 {
				if err := l.write(t.Context(), jsonLine(2*i+j)); err != nil {
					t.Fatal(err)
				}
			}
			if i == 0 {
				if err := l.close(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := l.write(t.Context(), jsonLine(4)); err != nil {
				t.Fatal(err)
			}
			done := false
			go func() {
				if err := l.write(t.Context(), jsonLine(5)); err != nil {
					t.Error(err)
				}
				done = true
			}()
			time.Sleep(time.Hour)
			if done || !errors.Is(l.waiting(), errLimit) || !slices.Equal(inFiles(t, dir), count(5)) {
				t.Errorf("%v: %v", l.waiting(), inFiles(t, dir))
			}
			found, err := l.list()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(found[0].path); err != nil {
				t.Fatal(err)
			}
			time.Sleep(maxNoRoom)
			synctest.Wait()
			if !done || l.waiting() != nil || !slices.Equal(inFiles(t, dir), []int{2, 3, 4, 5}) {
				t.Errorf("%v: %v", l.waiting(), inFiles(t, dir))
			}
		}
	})
}

func TestTwoWhoWriteDoNotShareAFile(t *testing.T) {
	dir := memory(t)
	var all [3]*lines
	for i := range all {
		all[i] = testLines(t, linesConfig{dir: dir})
		if err := all[i].write(t.Context(), jsonLine(i)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i, l := range all {
		for j := range 30 {
			wg.Go(func() {
				if err := l.write(t.Context(), jsonLine(3+30*i+j)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	got := inFiles(t, dir)
	slices.Sort(got)
	if !slices.Equal(got, count(93)) || files(t, dir) != 3 {
		t.Errorf("%d files with %v", files(t, dir), got)
	}
}

func TestNothingIsWrittenAfterClose(t *testing.T) {
	dir := memory(t)
	l := testLines(t, linesConfig{dir: dir})
	if err := errors.Join(l.close(), l.close()); err != nil {
		t.Error(err)
	}
	if err := l.write(t.Context(), jsonLine(0)); !errors.Is(err, errClosed) || files(t, dir) != 0 {
		t.Errorf("%v, %d files", err, files(t, dir))
	}
	if err := l.rotate(t.Context()); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}
