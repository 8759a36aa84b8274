package siem

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/siem/spool"
)

// fillingSource is a toySource that can read gaps again.
type fillingSource struct {
	toySource
	mu    sync.Mutex
	asked []Gap
	says  func(n int) (Proof, error) // of the n-th Fill; nil: it fills
}

func (s *fillingSource) Fill(ctx context.Context, gaps []Gap, in *Intake) (map[string]Proof, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	proofs := map[string]Proof{}
	s.asked = append(s.asked, gaps...)
	for _, gap := range gaps {
		if s.says != nil {
			p, err := s.says(len(s.asked))
			if err != nil {
				return proofs, err
			}
			if p.By != "" {
				proofs[gap.ID] = p
				continue
			}
		}
		feed := gap.Feed + "-fill"
		next, _ := in.Cursor(feed)
		p := Proof{By: "toy", First: gap.First, Last: gap.Last, Feed: feed, PutFirst: next + 1, Complete: true}
		for n := gap.First; n <= gap.Last; n++ {
			e := s.event(gap.Feed, n)
			e.ID = expected(&toySource{name: s.name, until: n}, gap.Feed)[n-1]
			next++
			e.Offset = next
			if err := in.Put(ctx, feed, e); err != nil {
				return proofs, err
			}
			p.Count++
		}
		p.PutLast = next
		proofs[gap.ID] = p
	}
	return proofs, nil
}

func (s *fillingSource) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// stored puts n chunks of ten events into a spool and delivers none of them.
func stored(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = memory(t)
	src := &toySource{name: "toy", feeds: []string{"0"}, until: uint64(10 * n), batch: 10}
	sink := &toySink{}
	sink.set(func(*Batch) (Receipt, error) { return Receipt{}, errors.New("503") })
	_, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: members(sink)})
	time.Sleep(10 * time.Second)
	stop()
	return dir
}

// rot damages the body of the n-th of the chunks, counted from 0.
func rot(t *testing.T, dir string, n int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "spool", "*.seg"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for range n + 1 { // a chunk's body names the table
		at += strings.Index(string(b[at:]), EventsTable) + len(EventsTable)
	}
	b[at+20] ^= 0x40
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Promised, rotten, and read again: every event is at the sink, and the gap is closed
// with the proof; later starts find nothing new.
func TestAGapIsFilledAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := stored(t, 5)
		rot(t, dir, 1)
		rot(t, dir, 2)
		src := &fillingSource{toySource: toySource{name: "toy", feeds: []string{"0"}, until: 50, batch: 10}}
		sink := &toySink{}
		cfg := Config{Dir: dir, Sources: []Source{src}, Sinks: members(sink)}
		p, stop := running(t, cfg)
		time.Sleep(time.Minute)
		all := expected(&src.toySource, "0")
		got := sink.got()
		slices.SortFunc(got, func(a, b string) int { return slices.Index(all, a) - slices.Index(all, b) })
		if !slices.Equal(got, all) {
			t.Errorf("%d rows of %d: %v", len(got), len(all), got)
		}
		gaps := p.Gaps()
		stop()
		if len(gaps) != 1 {
			t.Fatalf("gaps %+v", gaps)
		}
		g := gaps[0]
		if g.Source != "toy" || g.Feed != "0" || g.First != 11 || g.Last != 30 || g.Closed.IsZero() || g.Proof == nil || g.Proof.Count != 20 || !g.Proof.Complete {
			t.Errorf("gap %+v, proof %+v", g, g.Proof)
		}
		for range 3 {
			p, stop = running(t, cfg)
			time.Sleep(time.Hour)
			if again := p.Gaps(); len(again) != 1 || again[0].Closed != g.Closed || src.times() != 1 || len(sink.got()) != 50 {
				t.Errorf("after a restart: %+v, filled %d times, %d rows", again, src.times(), len(sink.got()))
			}
			stop()
		}
	})
}

// Nobody can read it again: it stays open and is listed, also after restarts in which
// the same damage is met once more, until somebody closes it.
func TestAnOpenGapStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := stored(t, 5)
		rot(t, dir, 2)
		sink := &toySink{}
		sink.set(func(*Batch) (Receipt, error) { return Receipt{}, errors.New("503") })
		cfg := Config{
			Dir: dir, Sinks: members(sink),
			Sources: []Source{&toySource{name: "toy", feeds: []string{"0"}, until: 50, batch: 10}},
		}
		var first Gap
		for n := range 3 {
			p, stop := running(t, cfg)
			time.Sleep(time.Minute)
			gaps := p.Gaps()
			if len(gaps) != 1 || gaps[0].First != 21 || gaps[0].Last != 30 || !gaps[0].Closed.IsZero() || gaps[0].Proof != nil {
				t.Fatalf("start %d: %+v", n, gaps)
			}
			if first.ID == "" {
				first = gaps[0]
			}
			if gaps[0].ID != first.ID || gaps[0].Opened != first.Opened || gaps[0].From.IsZero() || gaps[0].To.IsZero() || gaps[0].To.Before(gaps[0].From) {
				t.Errorf("start %d: %+v, at first %+v", n, gaps[0], first)
			}
			stop()
		}
		p, stop := running(t, cfg)
		defer stop()
		sink.set(nil)
		time.Sleep(time.Minute)
		if len(sink.got()) != 40 {
			t.Errorf("%d rows", len(sink.got()))
		}
		if err := p.CloseGap(t.Context(), first.ID, "seen by Ada"); err != nil {
			t.Fatal(err)
		}
		if g := p.Gaps()[0]; g.Closed.IsZero() || g.Proof.Note != "seen by Ada" || g.Proof.Complete {
			t.Errorf("%+v %+v", g, g.Proof)
		}
		if err := p.CloseGap(t.Context(), "none", ""); err == nil {
			t.Error("a gap that does not exist was closed")
		}
	})
}

// A Fill that fails or panics is tried again, ever more rarely; one that says it is the
// best there will be is not, and the gap stays open.
func TestFillsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := stored(t, 3)
		rot(t, dir, 1)
		src := &fillingSource{toySource: toySource{name: "toy", feeds: []string{"0"}, until: 30, batch: 10}}
		src.says = func(n int) (Proof, error) {
			switch n {
			case 1:
				panic("boom")
			case 2, 3, 4:
				return Proof{}, errors.New("503")
			}
			return Proof{By: "toy", Note: "only half of it"}, nil
		}
		p, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: members(&toySink{})})
		defer stop()
		time.Sleep(3 * time.Minute)
		if n := src.times(); n != 1 {
			t.Errorf("tried %d times in three minutes", n)
		}
		time.Sleep(24 * time.Hour)
		g := p.Gaps()[0]
		if n := src.times(); n != 5 || !g.Closed.IsZero() || g.Proof == nil || g.Proof.Note != "only half of it" {
			t.Errorf("tried %d times: %+v %+v", n, g, g.Proof)
		}
	})
}

// What was filled and is lost in its turn is asked for again.
func TestWhatWasFilledIsLostToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := stored(t, 3)
		rot(t, dir, 1)
		src := &fillingSource{toySource: toySource{name: "toy", feeds: []string{"0"}, until: 30, batch: 10}}
		p, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: members(&toySink{})})
		defer stop()
		time.Sleep(time.Minute)
		if g := p.Gaps()[0]; g.Closed.IsZero() || g.Proof.PutFirst != 1 || g.Proof.PutLast != 10 {
			t.Fatalf("%+v %+v", g, g.Proof)
		}
		p.lost(t.Context(), &spool.GapError{Feed: "toy:0-fill", First: 10, Last: 10})
		if g := p.Gaps(); len(g) != 1 || !g[0].Closed.IsZero() {
			t.Errorf("%+v", g)
		}
		time.Sleep(time.Minute)
		if g := p.Gaps(); len(g) != 1 || g[0].Closed.IsZero() || g[0].Proof.PutFirst != 11 || src.times() != 2 {
			t.Errorf("%+v, filled %d times", g, src.times())
		}
		p.lost(t.Context(), &spool.GapError{Feed: "toy:0-fill", First: 1, Last: 10}) // and of these nothing is left
		if g := p.Gaps(); len(g) != 2 {
			t.Errorf("%+v", g)
		}
	})
}

// With MaxAge what no sink takes is given up, each stretch of it as one gap that
// nobody fills; what is young is delivered.
func TestWhatIsTooOldIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memory(t)
		src := &fillingSource{toySource: toySource{name: "toy", feeds: []string{"0"}, until: 30, every: time.Minute}}
		sink := &toySink{}
		sink.set(func(*Batch) (Receipt, error) { return Receipt{}, errors.New("503") })
		cfg := Config{Dir: dir, Sources: []Source{src}, Sinks: members(sink), MaxAge: 20*time.Minute + time.Second}
		_, stop := running(t, cfg)
		time.Sleep(29*time.Minute + 30*time.Second) // the last one is put
		stop()
		sink.set(nil)
		p, stop := running(t, cfg)
		time.Sleep(time.Hour)
		gaps := p.Gaps()
		stop()
		if len(gaps) != 1 || gaps[0].First != 1 || gaps[0].Last != 10 || !gaps[0].Closed.IsZero() || gaps[0].From.IsZero() || gaps[0].To.Sub(gaps[0].From) != 9*time.Minute {
			t.Errorf("%+v", gaps)
		}
		if got := sink.got(); !slices.Equal(got, expected(&src.toySource, "0")[10:]) || src.times() != 0 {
			t.Errorf("got %v, asked to fill %d times", got, src.times())
		}
	})
}

// A gap that cannot be stored must not be passed: the chunk is delivered instead.
func TestNothingIsGivenUpWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Open(Config{Dir: memory(t), Sources: []Source{&toySource{name: "toy"}}, Sinks: members(&toySink{}), MaxAge: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		c := &spool.Chunk{Feed: "toy:0", First: 1, Last: 2}
		if !p.expired(t.Context(), c, old) {
			t.Error("it is not given up")
		}
		_ = p.Close()
		c = &spool.Chunk{Feed: "toy:1", First: 1, Last: 2}
		if p.expired(t.Context(), c, old) {
			t.Error("it is given up, and nobody will know")
		}
	})
}

// A source may say what it could not read, as often as it likes.
func TestSourcesNoteGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Dir: memory(t), Sources: []Source{&toySource{name: "toy"}}, Sinks: members(&toySink{})}
		p, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		in := &Intake{pump: p, source: "toy"}
		from := time.Now()
		for _, g := range []Gap{
			{First: 5, Last: 9, Reason: "a"},
			{First: 5, Last: 9, Reason: "a"},
			{First: 6, Last: 7, Reason: "b"},
			{Last: 9, Reason: "c"},
			{From: from, To: from.Add(time.Hour), Reason: "blind"},
			{From: from, To: from.Add(time.Hour), Reason: "blind"},
			{First: 11, Last: 12, Reason: "a"},
		} {
			if err := in.Gap(t.Context(), "0", g); err != nil {
				t.Error(err)
			}
		}
		for field, g := range map[string]Gap{"Reason": {First: 1, Last: 2}, "First": {First: 2, Last: 1, Reason: "a"}} {
			if err := in.Gap(t.Context(), "0", g); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s: %v", field, err)
			}
		}
		check := func() {
			t.Helper()
			gaps := p.Gaps()
			if len(gaps) != 3 {
				t.Errorf("%+v", gaps)
			}
			for _, g := range gaps {
				if g.Source != "toy" || g.Feed != "0" || g.Opened.IsZero() {
					t.Errorf("%+v", g)
				}
			}
		}
		check()
		_ = p.Close()
		if p, err = Open(cfg); err != nil {
			t.Fatal(err)
		}
		check()
		_ = p.Close()
	})
}

// Closed gaps are kept for a while, open ones for ever. A record that cannot be read
// may have been an open one.
func TestWhichGapsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Dir: memory(t), Sources: []Source{&toySource{name: "toy"}}, Sinks: members(&toySink{})}
		p, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		in := &Intake{pump: p, source: "toy"}
		for n := range uint64(3) {
			if err := in.Gap(t.Context(), "0", Gap{First: 10*n + 1, Last: 10*n + 1, Reason: "a"}); err != nil {
				t.Fatal(err)
			}
		}
		gaps := p.Gaps()
		if err := p.CloseGap(t.Context(), gaps[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		reopen := func() {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if p, err = Open(cfg); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(89 * 24 * time.Hour)
		reopen()
		if n := len(p.Gaps()); n != 3 {
			t.Errorf("%d after 89 days", n)
		}
		time.Sleep(2 * 24 * time.Hour)
		e, err := p.state.Get(t.Context(), gapPrefix+gaps[1].ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.state.Put(t.Context(), e.Key, []byte("{"), e.Rev); err != nil {
			t.Fatal(err)
		}
		reopen()
		reopen() // what took its place can be read
		left := p.Gaps()
		if len(left) != 2 || left[1].ID != gaps[1].ID || !strings.Contains(left[1].Reason, "cannot be read") || !left[1].Closed.IsZero() {
			t.Errorf("%+v", left)
		}
		_ = p.Close()
	})
}

// refusing is a store that keeps nothing for a while.
type refusing struct {
	kv.Store
	left int
}

func (s *refusing) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if s.left--; s.left >= 0 {
		return 0, errors.New("no space left on device")
	}
	return s.Store.Put(ctx, key, value, rev)
}

// Delivery must not pass a gap that is not noted: then nobody would ever know of it.
func TestAGapWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Open(Config{Dir: memory(t), Sources: []Source{&toySource{name: "toy"}}, Sinks: members(&toySink{})})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close() }()
		p.gaps.store = &refusing{Store: p.state, left: 5}
		begun := time.Now()
		p.lost(t.Context(), &spool.GapError{Feed: "toy:0", First: 1, Last: 2})
		if len(p.Gaps()) != 1 || time.Since(begun) != 31*time.Second {
			t.Errorf("%+v after %v", p.Gaps(), time.Since(begun))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p.gaps.store = &refusing{Store: p.state, left: 5}
		p.lost(ctx, &spool.GapError{Feed: "toy:0", First: 5, Last: 6})
		if len(p.Gaps()) != 1 {
			t.Errorf("%+v", p.Gaps())
		}
	})
}

// What nobody can name is a gap too.
func TestGapsWithoutAFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Open(Config{Dir: memory(t), Sources: []Source{&toySource{name: "toy"}}, Sinks: members(&toySink{})})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close() }()
		for _, g := range []spool.GapError{{First: 3, Last: 9}, {First: 5, Last: 9}, {First: 10, Last: 12}} {
			p.lost(t.Context(), &g)
		}
		gaps := p.Gaps()
		if len(gaps) != 2 || gaps[0].Feed != "" || gaps[0].Last != 0 || !strings.Contains(gaps[0].Reason+gaps[1].Reason, "positions 3 to 9") {
			t.Errorf("%+v", gaps)
		}
	})
}

// A tail that was promised and is rotten: the source reads it again, and it is told.
func TestARottenTailIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := stored(t, 3)
		sink := &toySink{}
		cfg := Config{Dir: dir, Sources: []Source{&toySource{name: "toy", feeds: []string{"0"}, until: 50, batch: 10}}, Sinks: members(sink)}
		_, stop := running(t, cfg) // delivers, so that the cursor proves what was stored
		time.Sleep(time.Minute)
		stop()
		rot(t, dir, 4)
		p, stop := running(t, cfg)
		defer stop()
		time.Sleep(time.Minute)
		if gaps := p.Gaps(); len(gaps) != 1 || gaps[0].Feed != "" || !strings.Contains(gaps[0].Reason, "read it again") {
			t.Errorf("%+v", gaps)
		}
		if got := sink.got(); len(got) != 60 || got[50] != "toy:0:41" {
			t.Errorf("%d rows", len(got))
		}
	})
}
