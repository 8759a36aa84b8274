package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/jurymast/jurymast/resilience"
)

func TestConcurrentAppendsShareSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := openOn(t, d, Config{})
		if err := s.Append(ctx, feedChunk("first", 0)); err != nil { // the segment is there
			t.Fatal(err)
		}
		d.syncs = 0
		s.turn <- struct{}{} // somebody writes
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				if err := s.Append(ctx, feedChunk(fmt.Sprint("feed", n), 0)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		<-s.turn
		wg.Wait()
		if d.syncs != 1 {
			t.Errorf("%d syncs for 20 appends that waited together", d.syncs)
		}
		if got, _ := drain(t, s, "s"); len(got) != 21 {
			t.Errorf("%d chunks", len(got))
		}
	})
}

func TestAppendGivesUpWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openOn(t, newDisk(), Config{})
		s.turn <- struct{}{}
		ctx, cancel := context.WithCancel(ctx)
		got := make(chan error, 1)
		go func() { got <- s.Append(ctx, feedChunk("a", 0)) }()
		synctest.Wait()
		if err := s.Append(ctx, feedChunk("a", 1)); resilience.Of(err).Class != resilience.Misuse {
			t.Errorf("a later chunk overtakes: %v", err)
		}
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-s.turn
		if chunks, _ := drain(t, s, "s"); len(chunks) != 0 {
			t.Error("a chunk given up was stored")
		}
	})
}

func TestMisuse(t *testing.T) {
	s := openOn(t, newDisk(), Config{})
	if err := s.Append(ctx, feedChunk("a", 3)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Chunk){
		"no feed":        func(c *Chunk) { c.Feed = "" },
		"long feed":      func(c *Chunk) { c.Feed = string(make([]byte, MaxFeed+1)) },
		"no body":        func(c *Chunk) { c.Body = nil },
		"large body":     func(c *Chunk) { c.Body = make([]byte, MaxBody+1) },
		"backward":       func(c *Chunk) { c.First = c.Last + 1 },
		"below cursor":   func(c *Chunk) { c.First = 39 },
		"all below also": func(c *Chunk) { c.First, c.Last = 1, 2 },
	} {
		c := feedChunk("a", 4)
		change(&c)
		if err := s.Append(ctx, c); resilience.Of(err).Class != resilience.Misuse {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"unknown sink": s.Ack("x", 1),
		"ahead":        s.Ack("s", 2),
	} {
		if resilience.Of(err).Class != resilience.Misuse {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []Config{{}, {Sinks: []string{"A/b"}}, {Sinks: []string{"a", "a"}}, {Sinks: []string{"a"}, MaxBytes: -1}} {
		if _, err := Open(t.TempDir(), c); resilience.Of(err).Class != resilience.Misuse {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	c := feedChunk("a", 1)
	h := headerOf(&c)
	f.Add(appendRecord(nil, 7, &h, c.Body), uint64(7))
	f.Fuzz(func(t *testing.T, b []byte, salt uint64) {
		h, ok := decodeHeader(b, salt)
		if !ok {
			return
		}
		if h.size() > padded(recordHeader+MaxFeed+MaxBody) {
			t.Errorf("%+v", h)
		}
		again, ok := decodeHeader(appendRecord(nil, salt, &h, make([]byte, h.length)), salt)
		if !ok || again != h {
			t.Errorf("%+v became %+v", h, again)
		}
	})
}

func FuzzSegment(f *testing.F) {
	d := newDisk()
	s := openOn(f, d, Config{})
	for n := range 3 {
		if err := s.Append(ctx, feedChunk("a", n)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(d.names[segmentName(1)].data)
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDisk()
		d.names[segmentName(1)] = &inode{data: b}
		config := Config{Sinks: []string{"s"}, SegmentBytes: 1000}
		s, err := open(d, config)
		if err != nil {
			return // another tenant's, or a newer release's
		}
		synctest.Test(t, func(t *testing.T) { drain(t, openOn(t, d, config), "s") })
		if err := s.Append(ctx, Chunk{Feed: "new", First: 1, Last: 1, Body: []byte("x")}); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkAppend1MB(b *testing.B) {
	s, err := Open(b.TempDir(), Config{Sinks: []string{"s"}, MaxBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	body := make([]byte, 1_000_000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		if err := s.Append(ctx, Chunk{Feed: "a", First: n, Last: n, Body: body}); err != nil {
			b.Fatal(err)
		}
		if n%64 == 0 {
			if err := s.Ack("s", n); err != nil {
				b.Fatal(err)
			}
		}
	}
}
