package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// feedChunk is the chunk of feed with offsets 10n+1 to 10n+9.
func feedChunk(feed string, n int) Chunk {
	body := []byte(strings.Repeat(fmt.Sprintf("%s %d|", feed, n), 5+n%7))
	return Chunk{
		Feed: feed, First: uint64(10*n + 1), Last: uint64(10*n + 9), Count: 9,
		MinTime: time.UnixMicro(int64(n)).UTC(), MaxTime: time.UnixMicro(int64(n) + 5).UTC(),
		Kind: 1, Codec: 2, Flags: 3, RawLength: 99, Body: body,
	}
}

func openOn(t testing.TB, d files, config Config) *Spool {
	t.Helper()
	if config.Sinks == nil {
		config.Sinks = []string{"s"}
	}
	if err := config.check(); err != nil {
		t.Fatal(err)
	}
	s, err := open(d, config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// drain reads until there is nothing more. It needs a synctest bubble.
func drain(t testing.TB, s *Spool, sink string) (chunks []Chunk, gaps []GapError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for c, err := range s.Read(ctx, sink) {
		var gap *GapError
		switch {
		case errors.As(err, &gap):
			gaps = append(gaps, *gap)
		case errors.Is(err, context.DeadlineExceeded):
		case err != nil:
			t.Fatal(err)
		default:
			chunks = append(chunks, c)
		}
	}
	return chunks, gaps
}

// same says that two chunks hold the same, at whatever position.
func same(a, b Chunk) bool {
	return a.First == b.First && bytes.Equal(a.Body, b.Body) && headerOf(&a) == headerOf(&b)
}

func TestRoundTripAndReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "spool")
		config := Config{CID: "c", Sinks: []string{"azure", "hec"}, SegmentBytes: 1000}
		s, err := Open(dir, config)
		if err != nil {
			t.Fatal(err)
		}
		var want []Chunk
		for n := range 12 {
			c := feedChunk([]string{"a", "b"}[n%2], n)
			if n == 3 {
				c.MinTime = time.Time{}
			}
			if err := s.Append(ctx, c); err != nil {
				t.Fatal(err)
			}
			want = append(want, c)
			if n == 5 { // in the middle
				if err := s.Ack("azure", 2); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = Open(dir, config); err != nil {
					t.Fatal(err)
				}
				if r := s.Recovered(); !reflect.DeepEqual(r, Recovered{}) {
					t.Errorf("a clean spool recovered %+v", r)
				}
			}
		}
		for sink, from := range map[string]int{"azure": 2, "hec": 0} {
			got, gaps := drain(t, s, sink)
			if len(got) != len(want)-from || len(gaps) > 0 {
				t.Fatalf("%s: %d chunks, gaps %v", sink, len(got), gaps)
			}
			for i, c := range got {
				if c.Position = 0; !reflect.DeepEqual(c, want[from+i]) { // the zone of the times too
					t.Errorf("%s: got %+v, want %+v", sink, c, want[from+i])
				}
			}
		}
		if last, ok := s.Cursor("b"); last != 119 || !ok {
			t.Errorf("cursor %d, %v", last, ok)
		}
		if _, ok := s.Cursor("never"); ok {
			t.Error("a feed never seen has a cursor")
		}
		_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			if want := map[bool]os.FileMode{true: 0o700, false: 0o600}[info.IsDir()]; info.Mode().Perm() != want {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(ctx, feedChunk("a", 99)); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := Open(dir, Config{CID: "other", Sinks: config.Sinks}); err == nil || !strings.Contains(err.Error(), `"other"`) {
			t.Errorf("a spool of another tenant: %v", err)
		}
	})
}

func TestTwoOpeners(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Config{Sinks: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Config{Sinks: []string{"s"}}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("got %v, want ErrInUse with the process", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Config{Sinks: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

func TestReaderWaitsForChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openOn(t, newDisk(), Config{})
		got := make(chan error, 1)
		var chunk Chunk
		go func() {
			var err error
			for chunk, err = range s.Read(ctx, "s") {
				if err != nil {
					break
				}
			}
			got <- err
		}()
		synctest.Wait()
		if err := s.Append(ctx, feedChunk("a", 0)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !bytes.Equal(chunk.Body, feedChunk("a", 0).Body) {
			t.Errorf("got %q", chunk.Body)
		}
		_ = s.Close()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}
