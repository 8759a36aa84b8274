package spool

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// Where the sinks are in a filled spool: in different segments, if there are several.
var ackedAt = map[string]uint64{"s": 3, "t": 9}

// filled returns a spool of a few segments, and what is in it.
func filled(t *testing.T, config Config) (*faultDisk, []Chunk) {
	d := newDisk()
	s := openOn(t, d, config)
	var chunks []Chunk
	for n := range 20 {
		c := feedChunk([]string{"a", "b", "c"}[n%3], n)
		if n == 7 || n == 16 { // the bytes of a record where one may begin, with lies in them
			h := headerOf(&c)
			h.pos, h.last, h.sum = uint64(n+2), 99999, headerOf(&Chunk{Body: []byte("lies!")}).sum
			h.length = 5
			c.Body = appendRecord(make([]byte, 7), 0, &h, []byte("lies!"))
		}
		if err := s.Append(ctx, c); err != nil {
			t.Fatal(err)
		}
		c.Position = s.durable
		chunks = append(chunks, c)
	}
	for _, sink := range config.Sinks {
		if err := s.Ack(sink, ackedAt[sink]); err != nil {
			t.Fatal(err)
		}
	}
	if stats := s.Stats(); config.SegmentBytes < 2000 && stats.Segments < 3 {
		t.Fatalf("%+v: the test is void", stats)
	}
	d.names["quarantine/00000000000000000001.seg.40"] = &inode{data: []byte("from before")}
	return d, chunks
}

// sound proves of a damaged spool that every byte it gives is right, and that
// what it does not give is replayed by the stream or reported.
func sound(t *testing.T, d *faultDisk, config Config, chunks []Chunk, what string) {
	t.Helper()
	s, err := open(d, config)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	before := map[string]int{}
	for _, sink := range config.Sinks {
		got, gaps := drain(t, s, sink)
		before[sink] = len(got)
		for _, g := range got {
			if !slices.ContainsFunc(chunks, func(c Chunk) bool { return same(g, c) && g.Position == c.Position }) {
				t.Fatalf("%s: %s: it gave what was never put in: %+v", what, sink, g)
			}
		}
		gaps = append(gaps, s.Recovered().Gaps...)
		for _, c := range chunks {
			cursor, ok := s.Cursor(c.Feed)
			replayed := !ok || c.Last > cursor
			given := slices.ContainsFunc(got, func(g Chunk) bool { return g.Position == c.Position })
			told := slices.ContainsFunc(gaps, func(g GapError) bool {
				return g.Feed == c.Feed && g.First <= c.First && g.Last >= c.Last || g.Feed == "" && g.First <= c.Position && g.Last >= c.Position
			})
			if c.Position > ackedAt[sink] && !replayed && !given && !told {
				t.Fatalf("%s: %s: position %d, feed %s, offsets %d-%d, vanished: cursor %d, gaps %v", what, sink, c.Position, c.Feed, c.First, c.Last, cursor, gaps)
			}
		}
	}
	for _, c := range chunks {
		if cursor, ok := s.Cursor(c.Feed); !ok || c.Last > cursor { // the stream gives it again
			if err := s.Append(ctx, c); err != nil {
				t.Fatalf("%s: replay: %v", what, err)
			}
		}
	}
	_ = s.Close()
	s, err = open(d, config)
	if err != nil {
		t.Fatalf("%s: again: %v", what, err)
	}
	for _, c := range chunks {
		if cursor, _ := s.Cursor(c.Feed); c.Last > cursor {
			t.Fatalf("%s: a replayed chunk vanished", what)
		}
	}
	for _, sink := range config.Sinks {
		if again, _ := drain(t, s, sink); len(again) < before[sink] {
			t.Fatalf("%s: %s: %d chunks after the replay, %d before", what, sink, len(again), before[sink])
		}
	}
	_ = s.Close()
}

func damaged(t *testing.T, config Config, change func(b []byte, at int) []byte) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, chunks := filled(t, config)
		for _, name := range slices.Sorted(maps.Keys(d.names)) { // quarantine too
			if name == reserveName {
				continue // its bytes mean nothing
			}
			for at := range d.names[name].data {
				hurt := d.clone()
				if hurt.names[name].data = change(hurt.names[name].data, at); hurt.names[name].data == nil {
					continue
				}
				sound(t, hurt, config, chunks, fmt.Sprintf("%s at %d", name, at))
			}
		}
	})
}

var hurt = Config{Sinks: []string{"s", "t"}, SegmentBytes: 1500, QuarantineBytes: 1 << 20}

func TestFlippedAtEveryByte(t *testing.T) {
	damaged(t, hurt, func(b []byte, at int) []byte { b[at] ^= 1 << (at % 8); return b })
}

func TestCutAtEveryByte(t *testing.T) {
	damaged(t, hurt, func(b []byte, at int) []byte { return b[:at] })
}

// A rotten sector, and a hole of zeros over several records.
func TestHoleAtEveryEighthByte(t *testing.T) {
	damaged(t, hurt, func(b []byte, at int) []byte {
		if at%8 != 0 {
			return nil
		}
		clear(b[at:min(len(b), at+512)])
		return b
	})
}

func TestOneSegmentFlippedAtEveryByte(t *testing.T) {
	damaged(t, Config{Sinks: []string{"s"}, SegmentBytes: 1 << 20, QuarantineBytes: 1 << 20}, func(b []byte, at int) []byte { b[at] ^= 0x80; return b })
}

func TestLostSegmentIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, chunks := filled(t, hurt)
		names, _ := d.list(".")
		for _, name := range names {
			if strings.HasSuffix(name, suffix) {
				lost := d.clone()
				delete(lost.names, name)
				sound(t, lost, hurt, chunks, "without "+name)
			}
		}
	})
}

func TestTornTailIsQuarantinedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := filled(t, Config{Sinks: []string{"s"}, SegmentBytes: 1 << 20})
		seg := d.names[segmentName(1)]
		whole := len(seg.data)
		seg.data = append(seg.data, "torn"...)
		s := openOn(t, d, Config{})
		want := Cut{Segment: segmentName(1), At: int64(whole), Bytes: 4, Quarantine: fmt.Sprintf("quarantine/%s.%d", segmentName(1), whole)}
		if r := s.Recovered(); len(r.Cuts) != 1 || r.Cuts[0] != want {
			t.Errorf("recovered %+v, want %+v", r, want)
		}
		if got := string(d.names[want.Quarantine].data); got != "torn" {
			t.Errorf("quarantine holds %q", got)
		}
		if r := openOn(t, d, Config{}).Recovered(); len(r.Cuts) != 0 {
			t.Errorf("reported again: %+v", r)
		}
		// What a cursor proves was synced is not torn but rotten.
		d.names[segmentName(1)].data[whole-20] ^= 1
		if r := openOn(t, d, Config{}).Recovered(); len(r.Cuts) != 1 || !r.Cuts[0].Promised {
			t.Errorf("rot is taken for a torn write: %+v", r)
		}
	})
}

// A sink's cursor must not swallow what the stream replays after rot.
func TestReplayedChunksAreDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, chunks := filled(t, Config{Sinks: []string{"s"}, SegmentBytes: 1 << 20})
		if err := openOn(t, d, Config{}).Ack("s", 20); err != nil {
			t.Fatal(err)
		}
		seg := d.names[segmentName(1)]
		seg.data = seg.data[:len(seg.data)-8]
		s := openOn(t, d, Config{})
		if err := s.Append(ctx, chunks[19]); err != nil {
			t.Fatal(err)
		}
		if got, _ := drain(t, s, "s"); len(got) != 1 || !same(got[0], chunks[19]) {
			t.Errorf("got %d chunks, want the replayed one", len(got))
		}
	})
}

func TestSecondCopyOfTheHeaderServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := filled(t, hurt)
		names, _ := d.list(".")
		for _, name := range names {
			if strings.HasSuffix(name, suffix) {
				d.names[name].data[9] ^= 1
			}
		}
		if got, gaps := drain(t, openOn(t, d, hurt), "s"); len(got) != 17 || len(gaps) > 0 {
			t.Errorf("%d chunks of 17, gaps %v", len(got), gaps)
		}
	})
}
