package siem

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A real full disk: the spool, the dead letters and the files are on it. Nothing is
// lost, and it goes on by itself when the oldest files are taken away.
func TestATmpfsThatIsFull(t *testing.T) {
	dir := memory(t)
	if err := syscall.Mount("siem", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	synctest.Test(t, func(t *testing.T) {
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 60_000, batch: 1000, every: time.Second, raw: poisoned}
		m, err := NewFile(FileConfig{Dir: filepath.Join(dir, "out"), MaxFile: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		_, stop := running(t, Config{Dir: filepath.Join(dir, "state"), Sources: []Source{src}, Sinks: member1(m), Senders: 2})
		defer stop()
		var got []string
		rounds := 0
		for ; rounds < 100 && len(got) < 60_000-600; rounds++ {
			time.Sleep(2 * time.Minute)
			paths, err := filepath.Glob(filepath.Join(dir, "out", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				got = append(got, idsIn(t, filepath.Dir(path), filepath.Base(path))...)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, l := range letters(t, filepath.Join(dir, "state")) {
			got = append(got, l.ID)
		}
		slices.Sort(got)
		want := expected(src, "0")
		slices.Sort(want)
		if !slices.Equal(got, want) || rounds < 2 {
			t.Errorf("after %d rounds %d rows and letters, of %d", rounds, len(got), len(want))
		}
	})
}
