package spool

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// script appends, acknowledges and reopens until the disk fails, and says what
// was promised: the chunks whose Append returned, and the last Ack tried.
type script struct {
	promised  []Chunk
	attempted uint64 // the last Ack that was tried
}

var small = Config{Sinks: []string{"s", "t"}, SegmentBytes: 900, QuarantineBytes: 1 << 20}

func (p *script) run(t *testing.T, d *faultDisk) {
	s, err := open(d, small)
	if err != nil {
		return
	}
	for n := range 14 {
		c := feedChunk([]string{"a", "b", "b"}[n%3], n)
		if n == 4 || n == 8 { // the open segment is given up, and then the next, which is empty
			d.failRecords(syscall.EIO)
			for range 2 {
				if err := s.Append(ctx, c); !errors.Is(err, syscall.EIO) {
					return
				}
			}
			d.failRecords(nil)
		}
		if s.Append(ctx, c) != nil {
			return
		}
		c.Position = s.durable
		p.promised = append(p.promised, c)
		if n%3 == 2 {
			p.attempted = s.durable - 1
			for _, sink := range s.config.Sinks {
				if s.Ack(sink, s.durable-1) != nil {
					return
				}
			}
		}
		if n == 9 {
			if s.Close() != nil {
				return
			}
			if s, err = open(d, small); err != nil {
				return
			}
		}
	}
	_ = s.Close()
}

// holds proves that nothing promised is lost, and that the spool goes on.
func (p *script) holds(t *testing.T, d *faultDisk) {
	t.Helper()
	s := openOn(t, d, small)
	defer func() { _ = s.Close() }()
	for _, cut := range s.Recovered().Cuts {
		if cut.Promised {
			t.Errorf("a power cut is taken for rot: %+v", cut)
		}
	}
	if r := s.Recovered(); len(r.Gaps) > 0 { // a cursor may be torn when it is made
		t.Errorf("recovered %+v", r)
	}
	next := map[string]uint64{}
	for _, c := range p.promised {
		if cursor, ok := s.Cursor(c.Feed); !ok || cursor < c.Last {
			t.Errorf("feed %s: cursor %d, and %d was promised", c.Feed, cursor, c.Last)
		}
	}
	for _, feed := range []string{"a", "b"} {
		cursor, ok := s.Cursor(feed)
		c := feedChunk(feed, int(cursor)/10+1)
		if !ok {
			c = feedChunk(feed, 0)
		}
		if err := s.Append(ctx, c); err != nil {
			t.Fatal(err)
		}
		next[feed] = c.Last
		c.Position = s.durable
	}
	for _, sink := range s.config.Sinks {
		got, gaps := drain(t, s, sink)
		if len(gaps) > 0 {
			t.Errorf("gaps %v", gaps)
		}
		for _, c := range p.promised {
			if c.Position > p.attempted && !slices.ContainsFunc(got, func(g Chunk) bool { return same(g, c) }) {
				t.Errorf("%s: position %d, %s %d, is lost; acknowledged %d", sink, c.Position, c.Feed, c.First, p.attempted)
			}
		}
		for feed, last := range next {
			if !slices.ContainsFunc(got, func(g Chunk) bool { return g.Feed == feed && g.Last == last }) {
				t.Errorf("%s: feed %s does not go on", sink, feed)
			}
		}
		for _, g := range got {
			if !same(g, feedChunk(g.Feed, int(g.First)/10)) {
				t.Errorf("wrong bytes: %+v", g)
			}
		}
	}
}

func TestPowerCutAtEveryOperation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		(&script{}).run(t, d)
		total := d.ops
		for k := 1; k <= total+1; k++ {
			for seed := range uint64(8) {
				d, p := newDisk(), &script{}
				d.cutAt = k
				p.run(t, d)
				after := d.crash(rand.New(rand.NewPCG(seed, uint64(k))))
				p.holds(t, after)
				if t.Failed() {
					t.Fatalf("the power went at operation %d, seed %d", k, seed)
				}
			}
		}
		if total < 50 {
			t.Errorf("only %d operations", total)
		}
	})
}

// A killed process leaves bytes that it had not synced; the next one reads them
// from memory and moves its cursor past them. A power cut must not take them then.
func TestKillThenPowerCut(t *testing.T) {
	d := newDisk()
	s := openOn(t, d, small)
	if err := s.Append(ctx, feedChunk("a", 0)); err != nil {
		t.Fatal(err)
	}
	d.cutAt = d.ops + 2 // the write is done, the sync is not
	if err := s.Append(ctx, feedChunk("a", 1)); !errors.Is(err, errPower) {
		t.Fatal(err)
	}
	s = openOn(t, d.kill(), small)
	if cursor, _ := s.Cursor("a"); cursor != 19 {
		t.Fatalf("cursor %d: the test is void", cursor)
	}
	for seed := range uint64(8) {
		s := openOn(t, d.crash(rand.New(rand.NewPCG(seed, 0))), small)
		if cursor, _ := s.Cursor("a"); cursor != 19 {
			t.Errorf("the cursor fell back to %d: it stood on unsynced bytes", cursor)
		}
	}
}

func TestFailedSyncPoisonsTheSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := openOn(t, d, Config{})
		for n := range 2 {
			if err := s.Append(ctx, feedChunk("a", n)); err != nil {
				t.Fatal(err)
			}
		}
		d.syncError = syscall.EIO
		if err := s.Append(ctx, feedChunk("a", 2)); !errors.Is(err, syscall.EIO) {
			t.Fatalf("got %v", err)
		}
		d.syncError = nil
		if cursor, _ := s.Cursor("a"); cursor != 19 {
			t.Errorf("cursor %d: it moved past a chunk that is not durable", cursor)
		}
		for n := 2; n < 4; n++ {
			if err := s.Append(ctx, feedChunk("a", n)); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.segments) != 2 {
			t.Errorf("%d segments, want a new one", len(s.segments))
		}
		for seed := range uint64(8) {
			got, gaps := drain(t, openOn(t, d.crash(rand.New(rand.NewPCG(seed, 1))), Config{}), "s")
			if len(got) != 4 || len(gaps) > 0 {
				t.Errorf("%d chunks of 4, gaps %v", len(got), gaps)
			}
		}
	})
}

func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.limit = 4000 + reserveFor(0)
		s := openOn(t, d, Config{SegmentBytes: 600})
		n := 0
		for ; n < 100; n++ {
			if err := s.Append(ctx, feedChunk("a", n)); errors.Is(err, ErrFull) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		segments := len(s.segments)
		for range 5 {
			if err := s.Append(ctx, feedChunk("a", n)); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("got %v", err)
			}
		}
		if len(s.segments) > segments {
			t.Errorf("refused Appends left segments: %d, before %d", len(s.segments), segments)
		}
		got, gaps := drain(t, s, "s")
		if len(got) != n || len(gaps) > 0 {
			t.Fatalf("%d chunks of %d, gaps %v", len(got), n, gaps)
		}
		if err := s.Ack("s", got[n-1].Position); err != nil {
			t.Fatal(err)
		}
		for range 3 { // goes on by itself
			if err := s.Append(ctx, feedChunk("a", n)); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if got, _ := drain(t, openOn(t, d.clone(), Config{}), "s"); len(got) != 3 {
			t.Errorf("%d chunks of 3", len(got))
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One segment larger than the budget: room comes back all the same.
		s := openOn(t, newDisk(), Config{MaxBytes: 2000})
		n := 0
		for round := range 4 {
			began := n
			for ; ; n++ {
				if err := s.Append(ctx, feedChunk("a", n)); errors.Is(err, ErrFull) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if s.Stats().Bytes > 2000 || n == began {
				t.Fatalf("round %d: %d bytes, %d chunks", round, s.Stats().Bytes, n-began)
			}
			got, gaps := drain(t, s, "s")
			if len(got) != n-began || len(gaps) > 0 {
				t.Fatalf("round %d: %d chunks of %d, gaps %v", round, len(got), n-began, gaps)
			}
			if err := s.Ack("s", got[len(got)-1].Position); err != nil {
				t.Fatal(err)
			}
		}
		c := feedChunk("a", n)
		c.Body = make([]byte, 2000)
		if err := s.Append(ctx, c); err == nil || errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "MaxBytes") {
			t.Errorf("a chunk that never fits: %v", err)
		}
	})
}

func TestTruncationReturnsSpaceAndKeepsTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		config := Config{Sinks: []string{"s", "t"}, SegmentBytes: 600}
		s := openOn(t, d, config)
		_ = s.Append(ctx, feedChunk("rare", 0))
		for n := range 40 {
			if err := s.Append(ctx, feedChunk("a", n)); err != nil {
				t.Fatal(err)
			}
		}
		before := s.Stats().Bytes
		if err := s.Ack("s", 41); err != nil {
			t.Fatal(err)
		}
		if s.Stats().Bytes != before {
			t.Error("a segment went before each sink had it")
		}
		if err := s.Ack("t", 41); err != nil {
			t.Fatal(err)
		}
		if s.Stats().Bytes > 1000 || d.used() > 4000+reserveFor(0) {
			t.Errorf("%d bytes are left of %d", s.Stats().Bytes, before)
		}
		for range 3 { // also when nothing was appended in between
			s = openOn(t, d, config)
			if c, ok := s.Cursor("rare"); c != 9 || !ok {
				t.Errorf("cursor of a feed whose chunks are gone: %d, %v", c, ok)
			}
		}
		if got, gaps := drain(t, s, "s"); len(got)+len(gaps) > 0 {
			t.Errorf("%d chunks, gaps %v", len(got), gaps)
		}
		if err := s.Append(ctx, feedChunk("rare", 1)); err != nil {
			t.Fatal(err)
		}
		if got, gaps := drain(t, s, "t"); len(got) != 1 || len(gaps) > 0 {
			t.Errorf("%d chunks of 1, gaps %v", len(got), gaps)
		}
	})
}

// The cursor is durable before a segment goes, in both slots.
func TestUnlinkFollowsTheCursor(t *testing.T) {
	d := newDisk()
	s := openOn(t, d, Config{SegmentBytes: 300})
	for n := range 4 {
		if err := s.Append(ctx, feedChunk("a", n)); err != nil {
			t.Fatal(err)
		}
	}
	d.operationLog = nil
	if err := s.Ack("s", 3); err != nil {
		t.Fatal(err)
	}
	want := []string{"write ack-s", "sync ack-s", "write ack-s", "sync ack-s", "remove " + segmentName(1)}
	if len(d.operationLog) < 5 || !slices.Equal(d.operationLog[:5], want) {
		t.Errorf("got %q", d.operationLog)
	}
}

func holdsInBubble(t *testing.T, p *script, d *faultDisk) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { p.holds(t, d) })
}
