package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a spool as a slice: the chunks that are promised, in order.
type model struct {
	t        *rapid.T
	d        *faultDisk
	s        *Spool
	config   Config
	promised []Chunk
	acked    map[string]uint64
	doubtful bool // an Append failed: after a crash its chunk may be there
}

func (m *model) open() {
	var err error
	if m.s, err = open(m.d, m.config); err != nil {
		m.t.Fatal(err)
	}
}

// append appends the next chunk of a feed. The stream goes on where the cursor is.
func (m *model) append() error {
	feed := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(m.t, "feed")
	n := 0
	if cursor, ok := m.s.Cursor(feed); ok {
		n = int(cursor)/10 + 1
	}
	c := feedChunk(feed, n)
	if err := m.s.Append(ctx, c); err != nil {
		return err
	}
	c.Position = m.s.Stats().Durable
	m.promised = append(m.promised, c)
	return nil
}

// read returns what there is behind a position.
func (m *model) read(sink string, after uint64) (got []Chunk) {
	durable := m.s.Stats().Durable
	if after >= durable || m.s.Stats().Oldest > durable {
		return nil // nothing is left, and a reader would wait
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // only a chunk that never comes waits
	defer cancel()
	chunks := m.s.ReadFrom(ctx, sink, after)
	if after == m.s.Stats().Acked[sink] {
		chunks = m.s.Read(ctx, sink)
	}
	for c, err := range chunks {
		var gap *GapError
		if errors.As(err, &gap) && after < m.s.Stats().Acked[sink] && gap.Feed == "" && gap.Last < m.s.Stats().Oldest {
			continue // all acknowledged it
		}
		if err != nil {
			m.t.Fatalf("%s from %d on: %v", sink, after, err)
		}
		if !same(c, feedChunk(c.Feed, int(c.First)/10)) {
			m.t.Fatalf("wrong bytes: %+v", c)
		}
		if got = append(got, c); c.Position >= durable {
			break
		}
	}
	return got
}

// expect compares what is behind a position with the model.
func (m *model) expect(sink string, after uint64) {
	oldest := m.s.Stats().Oldest
	want := slices.DeleteFunc(slices.Clone(m.promised), func(c Chunk) bool { return c.Position <= after || c.Position < oldest })
	got := m.read(sink, after)
	if !slices.EqualFunc(got, want, func(a, b Chunk) bool { return same(a, b) && a.Position == b.Position }) {
		m.t.Fatalf("%s from %d on: got %s, want %s", sink, after, positions(got), positions(want))
	}
}

func positions(chunks []Chunk) string {
	var b strings.Builder
	for _, c := range chunks {
		fmt.Fprintf(&b, "%d:%s%d ", c.Position, c.Feed, c.First)
	}
	return b.String()
}

// reopened proves that what was promised is there, and takes over what a failed
// Append left, which may be there too.
func (m *model) reopened() {
	m.open()
	if r := m.s.Recovered(); len(r.Gaps)+len(r.Sinks) > 0 || slices.ContainsFunc(r.Cuts, func(c Cut) bool { return c.Promised }) {
		m.t.Fatalf("recovered %+v", r)
	}
	for _, sink := range m.config.Sinks {
		got := m.read(sink, m.s.Stats().Acked[sink])
		for _, c := range m.promised {
			if c.Position > m.acked[sink] && !slices.ContainsFunc(got, func(g Chunk) bool { return same(g, c) && g.Position == c.Position }) {
				m.t.Fatalf("%s: %d:%s%d is lost of %s", sink, c.Position, c.Feed, c.First, positions(m.promised))
			}
		}
		for _, c := range got {
			if !slices.ContainsFunc(m.promised, func(p Chunk) bool { return p.Position == c.Position }) {
				if !m.doubtful {
					m.t.Fatalf("%s: %d:%s%d was never promised", sink, c.Position, c.Feed, c.First)
				}
				m.promised = append(m.promised, c)
			}
		}
	}
	slices.SortFunc(m.promised, func(a, b Chunk) int { return int(a.Position) - int(b.Position) })
	m.doubtful = false
}

// check is what holds at any time.
func (m *model) check(*rapid.T) {
	stats := m.s.Stats()
	last := map[string]uint64{}
	for _, c := range m.promised {
		if c.First <= last[c.Feed] && !m.doubtful {
			m.t.Fatalf("feed %s goes back: %s", c.Feed, positions(m.promised))
		}
		last[c.Feed] = max(last[c.Feed], c.Last)
	}
	for feed, want := range last {
		if cursor, ok := m.s.Cursor(feed); !ok || cursor != want {
			m.t.Fatalf("feed %s: cursor %d, %v, and %d is durable", feed, cursor, ok, want)
		}
	}
	for sink, acked := range stats.Acked {
		if acked > stats.Durable || acked < m.acked[sink] {
			m.t.Fatalf("%s: at %d, acknowledged %d, durable %d", sink, acked, m.acked[sink], stats.Durable)
		}
	}
}

func (m *model) ack(sink string, position uint64) {
	if err := m.s.Ack(sink, position); err != nil {
		m.t.Fatal(err)
	}
	m.acked[sink] = max(m.acked[sink], position)
}

func TestAgainstASlice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, d: newDisk(), acked: map[string]uint64{}, config: Config{Sinks: []string{"s", "t"}, SegmentBytes: 700, QuarantineBytes: 1 << 20}}
		m.open()
		sink := rapid.SampledFrom(m.config.Sinks)
		room := func() { m.d.limit = 0 }
		t.Repeat(map[string]func(*rapid.T){
			"": m.check,
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 4).Draw(t, "chunks") {
					if err := m.append(); err != nil {
						t.Fatal(err)
					}
				}
			},
			"append, and the sync fails": func(t *rapid.T) {
				m.d.failRecords(rapid.SampledFrom([]error{syscall.EIO, syscall.ENOSPC}).Draw(t, "error"))
				defer m.d.failRecords(nil)
				if m.append() == nil {
					t.Fatal("a failed sync was not told")
				}
				m.doubtful = true
			},
			"append to a full disk": func(t *rapid.T) {
				m.d.limit = m.d.used() + int64(rapid.IntRange(0, 600).Draw(t, "room"))
				defer room()
				for range 8 {
					if err := m.append(); err != nil && !errors.Is(err, ErrFull) {
						t.Fatal(err)
					} else if err != nil {
						m.doubtful = true
						return
					}
				}
			},
			"read": func(t *rapid.T) {
				name := sink.Draw(t, "sink")
				m.expect(name, m.s.Stats().Acked[name])
			},
			"read from": func(t *rapid.T) {
				m.expect(sink.Draw(t, "sink"), rapid.Uint64Range(0, m.s.Stats().Durable).Draw(t, "after"))
			},
			"ack": func(t *rapid.T) {
				name := sink.Draw(t, "sink")
				m.ack(name, rapid.Uint64Range(m.acked[name], max(m.acked[name], m.s.Stats().Durable)).Draw(t, "position"))
			},
			"ack all": func(t *rapid.T) {
				for _, name := range m.config.Sinks {
					m.ack(name, m.s.Stats().Durable)
				}
				if stats := m.s.Stats(); stats.Segments > 1 || stats.Bytes > 700+600 {
					t.Fatalf("all is delivered, and there are %+v", stats)
				}
			},
			"reopen": func(*rapid.T) {
				_ = m.s.Close()
				m.reopened()
			},
			"kill": func(*rapid.T) {
				m.d = m.d.kill()
				m.reopened()
			},
			"crash": func(t *rapid.T) {
				m.d = m.d.crash(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
				m.reopened()
			},
			"crash with a torn tail": func(t *rapid.T) {
				m.d = m.d.crash(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
				names, _ := m.d.list(".")
				slices.Sort(names)
				for _, name := range slices.Backward(names) {
					if strings.HasSuffix(name, suffix) {
						n := m.d.names[name]
						n.data = append(n.data, rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "torn")...)
						n.synced = slices.Clone(n.data)
						break
					}
				}
				m.reopened()
			},
		})
	})
}
