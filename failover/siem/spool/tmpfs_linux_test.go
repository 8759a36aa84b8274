package spool

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// TestRealFullDisk fills a disk of 8 MB, with a segment larger than it and with small
// ones, and goes on once the readers have delivered. It needs the right to mount.
func TestRealFullDisk(t *testing.T) {
	for name, config := range map[string]Config{
		"one segment":    {Sinks: []string{"s", "t"}},
		"small segments": {Sinks: []string{"s", "t"}, SegmentBytes: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			mount := t.TempDir()
			if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=8m"); err != nil {
				t.Skipf("no right to mount: %v", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(mount, 0); err != nil {
					t.Errorf("something is left open: %v", err)
				}
			})
			fillAndDrain(t, filepath.Join(mount, "spool"), config)
		})
	}
}

func fillAndDrain(t *testing.T, dir string, config Config) {
	s, err := Open(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	next := 0
	chunk := func() Chunk {
		c := feedChunk("a", next)
		c.Body = make([]byte, 60_000)
		copy(c.Body, feedChunk("a", next).Body)
		return c
	}
	for round, delivered := 0, 0; round < 4; round++ {
		for {
			err := s.Append(ctx, chunk())
			if errors.Is(err, ErrFull) && errors.Is(err, syscall.ENOSPC) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			next++
		}
		for range 10 { // what is refused again and again takes nothing
			if err := s.Append(ctx, chunk()); !errors.Is(err, ErrFull) {
				t.Fatalf("round %d: got %v", round, err)
			}
		}
		if next-delivered < 100 {
			t.Fatalf("round %d: %d chunks of 60 kB are all that an 8 MB disk took", round, next-delivered)
		}
		if round == 2 { // a restart and a sink that is new, on the full disk
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			config.Sinks = append(config.Sinks, "u")
			if s, err = Open(dir, config); err != nil {
				t.Fatal(err)
			}
		}
		for _, sink := range config.Sinks {
			at, began := delivered, false
			ctx, cancel := context.WithCancel(ctx)
			for c, err := range s.Read(ctx, sink) {
				if err != nil {
					t.Fatalf("round %d, %s, chunk %d: %v", round, sink, at, err)
				}
				if !began && sink == "u" { // the oldest segment may hold what the others had
					at = min(at, int(c.First-1)/10)
				}
				began = true
				if c.First != uint64(10*at+1) || len(c.Body) != 60_000 {
					t.Fatalf("round %d, %s: chunk %d begins with %d", round, sink, at, c.First)
				}
				if err := s.Ack(sink, c.Position); err != nil {
					t.Fatalf("round %d, %s, chunk %d: %v", round, sink, at, err)
				}
				if at++; at == next {
					break
				}
			}
			cancel()
		}
		delivered = next
	}
}
