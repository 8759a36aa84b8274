package spool

import (
	"testing"
	"testing/synctest"
)

func TestEventsAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, err := Open(dir, Config{Sinks: []string{"s", "other"}, SegmentBytes: 500})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 10 {
			if err := s.Append(ctx, feedChunk("f", n)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // what is read again counts once
			if chunks, _ := drain(t, s, "s"); len(chunks) != 10 {
				t.Fatalf("%d chunks", len(chunks))
			}
		}
		check := func(when string, want uint64) {
			t.Helper()
			if got := s.Stats().Events; got["s"] != want || got["other"] != 0 {
				t.Errorf("%s: %v, want %d", when, got, want)
			}
		}
		check("before an acknowledgement", 0)
		chunks, _ := drain(t, s, "s")
		if err := s.Ack("s", chunks[3].Position); err != nil {
			t.Fatal(err)
		}
		check("four chunks", 36)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(dir, Config{Sinks: []string{"s", "other"}, SegmentBytes: 500}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		check("reopened", 36)
		if chunks, _ = drain(t, s, "s"); len(chunks) != 6 {
			t.Fatalf("%d chunks", len(chunks))
		}
		if err := s.Ack("s", chunks[5].Position); err != nil {
			t.Fatal(err)
		}
		check("all", 90)
	})
}

func TestTrimGivesTheOpenSegmentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.TempDir(), Config{Sinks: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		for n := range 100 {
			if err := s.Append(ctx, feedChunk("f", n)); err != nil {
				t.Fatal(err)
			}
		}
		full := s.Stats().Bytes
		chunks, _ := drain(t, s, "s")
		if err := s.Ack("s", chunks[98].Position); err != nil {
			t.Fatal(err)
		}
		if err := s.Trim(); err != nil || s.Stats().Bytes != full {
			t.Errorf("%d bytes, of %d, with a chunk that is not delivered; %v", s.Stats().Bytes, full, err)
		}
		if err := s.Ack("s", chunks[99].Position); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Trim(); err != nil || s.Stats().Bytes > 1000 || s.Stats().Segments != 1 {
				t.Errorf("%+v, %v", s.Stats(), err)
			}
		}
		if last, ok := s.Cursor("f"); last != 999 || !ok {
			t.Errorf("cursor %d, %v", last, ok)
		}
		if err := s.Append(ctx, feedChunk("f", 100)); err != nil {
			t.Error(err)
		}
		if chunks, gaps := drain(t, s, "s"); len(chunks) != 1 || len(gaps) != 0 {
			t.Errorf("%d chunks, %v", len(chunks), gaps)
		}
	})
}
