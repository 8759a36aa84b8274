package spool

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// drainFrom is drain with ReadFrom.
func drainFrom(t *testing.T, s *Spool, sink string, after uint64) (positions []uint64, gaps []GapError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for c, err := range s.ReadFrom(ctx, sink, after) {
		var gap *GapError
		switch {
		case errors.As(err, &gap):
			gaps = append(gaps, *gap)
		case errors.Is(err, context.DeadlineExceeded):
		case err != nil:
			t.Fatal(err)
		case !same(c, feedChunk("a", int(c.Position-1))):
			t.Errorf("wrong chunk: %+v", c)
		default:
			positions = append(positions, c.Position)
		}
	}
	return positions, gaps
}

func run(from, to uint64) (positions []uint64) {
	for ; from <= to; from++ {
		positions = append(positions, from)
	}
	return positions
}

func TestReadFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		config := Config{Sinks: []string{"s", "t"}, SegmentBytes: 600}
		s := openOn(t, d, config)
		for n := range 20 {
			if err := s.Append(ctx, feedChunk("a", n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Ack("s", 12); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for after := range uint64(21) { // also below the cursor, as t holds all of it
				got, gaps := drainFrom(t, s, "s", after)
				if want := run(after+1, 20); !reflect.DeepEqual(got, want) || len(gaps) > 0 {
					t.Errorf("after %d: got %v, want %v; gaps %v", after, got, want, gaps)
				}
			}
			s = openOn(t, d, config)
		}
		if got := s.Stats().Acked; got["s"] != 12 || got["t"] != 0 {
			t.Errorf("reading moved a cursor: %v", got)
		}
		for c, err := range s.ReadFrom(ctx, "s", 21) {
			if resilience.Of(err).Class != resilience.Misuse {
				t.Errorf("from where nothing is yet: %+v, %v", c, err)
			}
		}
		for _, err := range s.ReadFrom(ctx, "nobody", 1) {
			if resilience.Of(err).Class != resilience.Misuse {
				t.Errorf("an unknown sink: %v", err)
			}
		}

		// What all acknowledged is gone, and is told when it is asked for.
		if err := s.Ack("t", 12); err != nil {
			t.Fatal(err)
		}
		oldest := s.Stats().Oldest
		if oldest < 5 || oldest > 13 {
			t.Fatalf("oldest %d: the test is void", oldest)
		}
		got, gaps := drainFrom(t, s, "s", 3)
		if want := (GapError{First: 4, Last: oldest - 1}); !reflect.DeepEqual(got, run(oldest, 20)) || len(gaps) != 1 || gaps[0] != want {
			t.Errorf("got %v, gaps %v, want %v", got, gaps, want)
		}
	})
}

// A reader in the middle of what it asked for is told what goes under its hands; one
// that reads from the cursor is not, since its own sink had it.
func TestSegmentsThatGoWhileTheyAreRead(t *testing.T) {
	for _, behind := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			s := openOn(t, d, Config{SegmentBytes: 600})
			for n := range 20 {
				if err := s.Append(ctx, feedChunk("a", n)); err != nil {
					t.Fatal(err)
				}
			}
			after := uint64(0)
			if behind {
				if err := s.Ack("s", 1); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			var told, next uint64 = 0, 1
			for c, err := range s.ReadFrom(ctx, "s", after) {
				var gap *GapError
				switch {
				case errors.As(err, &gap):
					if gap.Feed != "a" || gap.First != next*10-10+1-1 && gap.First != next*10-10 {
						t.Errorf("gap %v, and position %d is next", gap, next)
					}
					told = (gap.Last + 1) / 10
					next = told + 1
				case err != nil:
				case c.Position != next && behind:
					t.Errorf("position %d, want %d: what is between vanished", c.Position, next)
				default:
					next = c.Position + 1
					if next == 3 {
						if err := s.Ack("s", 19); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if next != 21 || behind != (told > 0) {
				t.Errorf("behind %v: it ended before %d, gaps up to %d", behind, next, told)
			}
		})
	}
}

func TestStats(t *testing.T) {
	d := newDisk()
	config := Config{Sinks: []string{"s", "t"}, SegmentBytes: 600}
	s := openOn(t, d, config)
	if got, want := s.Stats(), (Stats{Acked: map[string]uint64{"s": 0, "t": 0}, Events: map[string]uint64{"s": 0, "t": 0}}); !reflect.DeepEqual(got, want) {
		t.Errorf("empty: %+v", got)
	}
	for n := range 10 {
		if err := s.Append(ctx, feedChunk("a", n)); err != nil {
			t.Fatal(err)
		}
	}
	for sink, position := range map[string]uint64{"s": 10, "t": 7} {
		if err := s.Ack(sink, position); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		got := s.Stats()
		var size int64
		files := 0
		for name, n := range d.names {
			if _, ok := segmentBase(name); ok {
				size += int64(len(n.data))
				files++
			}
		}
		if got.Oldest < 2 || got.Oldest > 8 {
			t.Errorf("oldest %d, and t is at 7", got.Oldest)
		}
		want := Stats{Segments: files, Bytes: size, Oldest: got.Oldest, Durable: 10, Acked: map[string]uint64{"s": 10, "t": 7}, Events: map[string]uint64{"s": 0, "t": 0}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		_ = s.Close()
		s = openOn(t, d, config)
	}
	// What was acknowledged and is rotten now is not ahead of what is there.
	names, _ := d.list(".")
	for _, name := range names {
		if base, ok := segmentBase(name); ok && base > 7 {
			d.names[name].data[len(d.names[name].data)-30] ^= 1
		}
	}
	s = openOn(t, d, config)
	if got := s.Stats(); got.Durable != 9 || got.Acked["s"] != 9 || got.Acked["t"] != 7 {
		t.Errorf("after rot: %+v", got)
	}
}
