package siem

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func newFile(t *testing.T, cfg FileConfig) *fileSink {
	t.Helper()
	m, err := NewFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m.Value.(*fileSink)
}

func batchOf(table string, rows ...string) *Batch {
	all := make([]json.RawMessage, len(rows))
	for i, r := range rows {
		all[i] = json.RawMessage(r)
	}
	return (&Batch{Table: table}).part(all)
}

// idsIn are the ids of the rows in the files that match, in order.
func idsIn(t *testing.T, dir, pattern string) (ids []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var v struct{ JurymastID string }
			if err := json.Unmarshal([]byte(line), &v); err != nil || line[len(line)-1] != '\n' {
				t.Fatalf("%s: %q: %v", path, line, err)
			}
			ids = append(ids, v.JurymastID)
		}
	}
	return ids
}

func TestEveryTableHasItsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 1000, batch: 50, every: time.Second}
		m, err := NewFile(FileConfig{Dir: dir, MaxFile: 30_000})
		if err != nil || m.ID != "file/"+filepath.Base(dir) {
			t.Fatal(m.ID, err)
		}
		_, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: member1(m), Mapping: func(e *Event, rows *Rows) error {
			if e.Offset%2 == 0 {
				rows.Add("../a/b", fmt.Appendf(nil, "{\"JurymastID\":%q,\n\"x\":1}", e.ID))
				return nil
			}
			return Envelope(e, rows)
		}})
		time.Sleep(time.Minute)
		stop()
		var odd, even []string
		for i, id := range expected(src, "0") {
			if i%2 == 0 {
				odd = append(odd, id)
			} else {
				even = append(even, id)
			}
		}
		if got := idsIn(t, dir, "events-*.jsonl"); !slices.Equal(got, odd) {
			t.Errorf("events: %d rows", len(got))
		}
		if got := idsIn(t, dir, "%2E.%2Fa%2Fb-*.jsonl"); !slices.Equal(got, even) {
			t.Errorf("the other table: %d rows", len(got))
		}
		if n := files(t, dir); n < 3 {
			t.Errorf("%d files", n)
		}
	})
}

func TestAFileGoesOnAfterACrash(t *testing.T) {
	dir := memory(t)
	for i := range 3 {
		s := newFile(t, FileConfig{Dir: dir})
		if _, err := s.Send(t.Context(), batchOf("t", fmt.Sprintf(`{"JurymastID":"%d"}`, i))); err != nil {
			t.Fatal(err)
		}
		l := s.tables["t"]
		if _, err := l.f.WriteAt([]byte(`{"JurymastID":"cut`), l.size); err != nil { // and the process dies
			t.Fatal(err)
		}
		if err := l.f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	newFile(t, FileConfig{Dir: dir})
	s := newFile(t, FileConfig{Dir: dir})
	if _, err := s.Send(t.Context(), batchOf("t", `{"JurymastID":"3"}`)); err != nil {
		t.Fatal(err)
	}
	if got := idsIn(t, dir, "t-*"); !slices.Equal(got, []string{"0", "1", "2", "3"}) || files(t, dir) != 1 {
		t.Errorf("%q in %d files", got, files(t, dir))
	}
}

// The rows go elsewhere, or wait, and none is taken for a poison row.
func TestAFullDiskIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &brittle{full: true, room: 100_000}
		dir, state := memory(t), memory(t)
		s := newFile(t, FileConfig{Dir: dir})
		s.cfg.open = d.open
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 3000, batch: 100, every: time.Second}
		_, stop := running(t, Config{Dir: state, Sources: []Source{src}, Sinks: []memberOf{member("file", s)}})
		defer stop()
		time.Sleep(5 * time.Minute)
		before := len(idsIn(t, dir, "*"))
		_, err := s.Send(t.Context(), batchOf("events", strings.Repeat(" ", 100_000)+"{}"))
		if before == 0 || before == 3000 || errors.Is(err, ErrRefused) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d rows before it was full, then %v", before, err)
		}
		d.set(func(d *brittle) { d.full = false })
		time.Sleep(time.Minute)
		if got := idsIn(t, dir, "*"); !slices.Equal(got, expected(src, "0")) {
			t.Errorf("%d rows arrived", len(got))
		}
		if l := letters(t, state); len(l) != 0 {
			t.Errorf("%d dead letters", len(l))
		}
	})
}

func TestNamesOfFiles(t *testing.T) {
	seen := map[string]string{}
	long := strings.Repeat("é", 64)
	for _, table := range []string{
		"events", "Custom-Events_CL", "..", ".", "a/b", "a%2Fb", "a\\b", "CON:", "\x00", long, long[:126] + "è", "-", "a.b", strings.Repeat("x", 128),
	} {
		name := fileNameOf(table)
		if other, ok := seen[name]; ok || len(name) > maxFileName || strings.ContainsAny(name, "/\\:\x00") || name[0] == '.' {
			t.Errorf("%q: %q, as %q", table, name, other)
		}
		seen[name] = table
	}
	if n := fileNameOf("Custom-Events_CL"); n != "Custom-Events_CL" {
		t.Error(n)
	}
}

func TestFileConfigSaysWhatIsWrong(t *testing.T) {
	blocked := filepath.Join(memory(t), "f")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]FileConfig{
		"FileConfig.Dir is empty": {},
		"negative":                {Dir: "x", MaxFiles: -1},
		"MaxBytes is 1000":        {Dir: "x", MaxBytes: 1000},
		"FileConfig.Dir: ":        {Dir: filepath.Join(blocked, "x")},
	} {
		if _, err := NewFile(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("and made the directory")
	}
}
