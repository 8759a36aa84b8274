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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// letters are the dead letters of a pump.
func letters(t *testing.T, dir string) (out []DeadLetter) {
	t.Helper()
	for l, err := range DeadLetters(dir) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// opened is a pump that does not run.
func opened(t *testing.T, cfg Config) *Pump {
	t.Helper()
	if cfg.Sources == nil {
		cfg.Sources = []Source{&toySource{name: "toy"}}
	}
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestALetterIsReadAsItWasBuried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		p := opened(t, Config{Dir: dir, Sinks: members(&toySink{})})
		want := []DeadLetter{
			{Feed: "toy:0", Offset: 7, ID: "toy:0:7", Time: time.Date(2026, 11, 24, 1, 2, 3, 4, time.UTC), Type: "Toy", Reason: "a < b & c\n", Raw: "{\"no\":\xff\xfe<\x00}"},
			{Table: "events", Sink: "first", Reason: "400", Row: json.RawMessage(`{"n":12345678901234567890.000,"s":"<a>&\u2028 ` + "\xff" + `"}`)},
			{Reason: "nothing but a reason", Time: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
			{Feed: "toy:0", Reason: "", Raw: strings.Repeat("x", 200<<10)},
		}
		for _, l := range want {
			if err := p.bury(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
		got := letters(t, dir)
		for i := range want {
			want[i].At = time.Now().UTC()
		}
		want[2].Time = time.Time{}
		if len(got) != len(want) {
			t.Fatalf("%d letters, want %d", len(got), len(want))
		}
		for i := range want {
			if fmt.Sprintf("%+v", got[i]) != fmt.Sprintf("%+v", want[i]) {
				t.Errorf("got  %+.300v\nwant %+.300v", got[i], want[i])
			}
		}
		for path, mode := range map[string]os.FileMode{deadDir(dir): 0o700, p.dead.path: 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	})
}

func TestTheStatusTellsThatALetterWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, Config{Dir: t.TempDir(), Sinks: members(&toySink{})})
		p.dead.limit = 100
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i := range 2 {
			if err := p.bury(ctx, DeadLetter{Reason: "r", Raw: "some text that is long enough"}); (err != nil) != (i == 1) {
				t.Error(i, err)
			}
			if disk := p.Status().Spool.Disk; strings.Contains(disk, "the files are at their limit") != (i == 1) {
				t.Errorf("%d: %q", i, disk)
			}
		}
	})
}

func TestADamagedLetterIsNamedAndTheOthersAreRead(t *testing.T) {
	dir := memory(t)
	if err := os.MkdirAll(deadDir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	letter := func(reason string) string { return `{"at":"2026-11-24T16:56:28Z","reason":"` + reason + `"}` + "\n" }
	for name, text := range map[string]string{
		"dead-20261124165628123.jsonl":      letter("1") + "{\"at\n" + letter("2") + "\n" + "{}\n" + letter("3") + `{"at":"2026-11-24T`,
		"dead-20261124165628124.jsonl":      "\x00\x00\x00\n" + letter("4") + strings.TrimSuffix(letter("unfinished"), "\n"),
		"dead-20261124165628124.jsonl.rest": letter("not here"),
		"dead-2.jsonl":                      letter("nor here"),
	} {
		if err := os.WriteFile(filepath.Join(deadDir(dir), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for l, err := range DeadLetters(dir) {
		if err != nil {
			text, _, _ := strings.Cut(err.Error(), ": it is no")
			got = append(got, text)
			continue
		}
		got = append(got, l.Reason)
	}
	want := []string{
		"1", "siem: dead-20261124165628123.jsonl: line 2", "2", "siem: dead-20261124165628123.jsonl: line 4", "siem: dead-20261124165628123.jsonl: line 5", "3",
		"siem: dead-20261124165628124.jsonl: line 1", "4",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for range DeadLetters(dir) {
		break // must not go on
	}
	for l, err := range DeadLetters(filepath.Join(dir, "none")) {
		t.Error(l, err)
	}
}

// poisonous refuses batches with a row that has the word in it.
func poisonous(word string) func(*Batch) (Receipt, error) {
	return func(b *Batch) (Receipt, error) {
		rows, err := b.All()
		if err != nil {
			return Receipt{}, err
		}
		for _, r := range rows {
			if bytes.Contains(r, []byte(word)) {
				return Receipt{}, fmt.Errorf("%w: 400: bad row", ErrRefused)
			}
		}
		return Receipt{}, nil
	}
}

func poisoned(feed string, n uint64) string {
	if n%100 == 50 {
		return fmt.Sprintf(`{"n":%d,"kind":"poison"}`, n)
	}
	if n%100 == 60 {
		return fmt.Sprintf(`{"n":%d,"kind":"torn",`, n) // no JSON
	}
	return fmt.Sprintf(`{"n":%d}`, n)
}

// Rows that a sink refused, and events that the mapping refused, come home when
// what was wrong is mended, while the pump runs and buries more.
func TestReplayBringsLettersHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		var mended atomic.Bool
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 2000, batch: 100, every: time.Second, raw: poisoned}
		sink := &toySink{fail: poisonous("poison")}
		p, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: members(sink), Mapping: func(e *Event, rows *Rows) error {
			if mended.Load() && !json.Valid(e.Raw) {
				mend := *e
				mend.Raw = append(bytes.TrimSuffix(e.Raw, []byte(",")), '}')
				e = &mend
			}
			return Envelope(e, rows)
		}})
		defer stop()
		time.Sleep(10500 * time.Millisecond)
		before := letters(t, dir)
		if len(before) != 22 || len(sink.got()) != 11*98 {
			t.Fatalf("%d letters, %d delivered", len(before), len(sink.got()))
		}
		n, err := p.Replay(t.Context(), nil)
		if n != 0 || err != nil || len(letters(t, dir)) != 22 {
			t.Errorf("replayed %d, %v, and %d letters are left", n, err, len(letters(t, dir)))
		}
		mended.Store(true)
		n, err = p.Replay(t.Context(), func(l DeadLetter) bool { return l.Offset != 160 })
		if n != 10 || err != nil || len(letters(t, dir)) != 12 {
			t.Errorf("replayed %d, %v, and %d letters are left", n, err, len(letters(t, dir)))
		}
		sink.set(nil)
		time.Sleep(10 * time.Second)
		n, err = p.Replay(t.Context(), nil)
		if n != 12 || err != nil || len(letters(t, dir)) != 0 || files(t, deadDir(dir)) != 0 {
			t.Errorf("replayed %d, %v, and %d letters are left in %d files", n, err, len(letters(t, dir)), files(t, deadDir(dir)))
		}
		got := sink.got()
		slices.Sort(got)
		want := expected(src, "0")
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%d rows arrived, not each of %d once", len(got), len(want))
		}
		for _, l := range before {
			if l.Raw != "" && (l.Type != "Toy" || l.Time.IsZero() || l.Feed != "toy:0" || l.ID == "") {
				t.Errorf("of the event is left %+v", l)
			}
		}
	})
}

func TestReplayOfWhatIsStillRefusedLeavesItsLettersAlone(t *testing.T) {
	dir := memory(t)
	sink := &toySink{}
	p := opened(t, Config{Dir: dir, Sinks: members(sink)})
	for i := range 9 {
		if err := p.bury(t.Context(), DeadLetter{Table: "t", Reason: fmt.Sprint(i), Row: fmt.Appendf(nil, `{"JurymastID":"%d"}`, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.bury(t.Context(), DeadLetter{Table: "t", Reason: "no row"}); err != nil {
		t.Fatal(err)
	}
	sink.set(func(b *Batch) (Receipt, error) {
		return Receipt{Rejected: []Rejection{{Index: 2, Reason: "x"}, {Index: 4, Reason: "x"}}, Unknown: []int{6}}, nil
	})
	n, err := p.Replay(t.Context(), nil)
	var left []string
	for _, l := range letters(t, dir) {
		left = append(left, l.Reason)
	}
	if n != 6 || err != nil || !slices.Equal(left, []string{"2", "4", "6", "no row"}) || !slices.Equal(sink.got(), []string{"0", "1", "3", "5", "7", "8"}) {
		t.Errorf("replayed %d, %v, left %q, arrived %q", n, err, left, sink.got())
	}
}

// A failure in the middle leaves in the files what was not delivered, damaged lines
// too, and gives up nothing.
func TestReplayThatIsInterruptedLosesNothing(t *testing.T) {
	for _, interrupt := range []string{"sink", "context", "disk"} {
		for _, at := range []int{0, 2, 5} {
			dir := memory(t)
			sink := &toySink{}
			p := opened(t, Config{Dir: dir, Sinks: members(sink)})
			var want []string
			for i := range 12 {
				id := fmt.Sprintf("%02d", i)
				want = append(want, id)
				row := fmt.Appendf(nil, `{"JurymastID":%q,"x":%q}`, id, strings.Repeat("x", 600_000)) // two of them are a window
				if err := p.bury(t.Context(), DeadLetter{Table: "t", Reason: "r", Row: row}); err != nil {
					t.Fatal(err)
				}
				if i == 5 {
					if err := p.dead.write(t.Context(), []byte("{damaged\n")); err != nil {
						t.Fatal(err)
					}
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			sends := 0
			sink.set(func(b *Batch) (Receipt, error) {
				sends++
				switch {
				case sends <= 2*at:
				case interrupt == "context":
					cancel()
					return Receipt{}, ctx.Err()
				case interrupt == "sink":
					return Receipt{}, errors.New("503")
				}
				return Receipt{}, nil
			})
			rest := ""
			if interrupt == "disk" { // what stays cannot be written
				rest = p.dead.path + restSuffix
				if err := os.Mkdir(rest, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			n, err := p.Replay(ctx, nil)
			cancel()
			if err == nil || len(sink.got()) != n || interrupt != "disk" && n != 2*at {
				t.Errorf("%s %d: %d replayed, %d arrived, %v", interrupt, at, n, len(sink.got()), err)
			}
			var left []string
			damaged := 0
			for l, err := range DeadLetters(dir) {
				if err != nil {
					damaged++
					continue
				}
				left = append(left, string(l.Row[15:17]))
			}
			if interrupt != "disk" && !slices.Equal(left, want[n:]) || interrupt == "disk" && len(left) != 12 || damaged != 1 {
				t.Errorf("%s %d: %q are left, %d damaged", interrupt, at, left, damaged)
			}
			if rest != "" {
				if err := os.Remove(rest); err != nil {
					t.Fatal(err)
				}
			}
			sink.set(nil)
			if _, err := p.Replay(t.Context(), nil); err != nil {
				t.Error(err)
			}
			got := sink.got()
			slices.Sort(got)
			if !slices.Equal(slices.Compact(got), want) || files(t, deadDir(dir)) != 1 {
				t.Errorf("%s %d: arrived %q, %d files", interrupt, at, got, files(t, deadDir(dir)))
			}
		}
	}
}

func TestUnreadableEventsHaveIdsOfTheirOwn(t *testing.T) {
	at := time.Date(2026, 11, 24, 1, 2, 3, 4, time.UTC)
	one := (&DeadLetter{Feed: "toy:0", At: at}).event()
	two := (&DeadLetter{Feed: "toy:0", At: at.Add(1)}).event()
	known := (&DeadLetter{Feed: "toy:0", Offset: 3, At: at}).event()
	if one.ID == two.ID || one.Source != "toy" || !one.Time.Equal(at) || known.ID != "toy:0:3" {
		t.Errorf("%+v\n%+v\n%+v", one, two, known)
	}
}

func TestReplayOneAtATime(t *testing.T) {
	dir := memory(t)
	sink := &toySink{}
	p := opened(t, Config{Dir: dir, Sinks: members(sink)})
	if err := p.bury(t.Context(), DeadLetter{Table: "t", Row: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	sink.set(func(*Batch) (Receipt, error) {
		if _, err := p.Replay(t.Context(), nil); err == nil {
			t.Error("a second one runs")
		}
		return Receipt{}, nil
	})
	if n, err := p.Replay(t.Context(), nil); n != 1 || err != nil {
		t.Error(n, err)
	}
}

func FuzzDeadLetters(f *testing.F) {
	l := DeadLetter{At: time.Now().UTC(), Feed: "f:0", Offset: 1, Reason: "r", Raw: "\xff", Row: json.RawMessage(`{"a":1}`)}
	line, err := l.line()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(append(bytes.Clone(line), "{}\n\x00\n"...), line[:20]...))
	f.Add([]byte(`{"at":"2026-11-24T16:56:28Z","row":null,"raw_base64":"AA==","time":"0000-01-01T00:00:00Z"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var again []byte
		lines := 0
		for l, err := range readLetters(bytes.NewReader(text), "x") {
			lines++
			if err == nil { // what is read can be written, and is the same then
				line, err := l.DeadLetter.line()
				if err != nil {
					t.Fatal(err)
				}
				for back, err := range readLetters(bytes.NewReader(line), "y") {
					if err != nil || fmt.Sprintf("%+v", back.DeadLetter) != fmt.Sprintf("%+v", l.DeadLetter) {
						t.Errorf("%v\n%+v\n%+v", err, l.DeadLetter, back.DeadLetter)
					}
				}
			}
			again = append(again, l.line...)
		}
		whole := text[:bytes.LastIndexByte(text, '\n')+1]
		if !bytes.Equal(again, whole) || lines != bytes.Count(whole, []byte("\n")) {
			t.Errorf("%d lines, %d bytes of %d", lines, len(again), len(whole))
		}
	})
}
