package siem

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// script is a source that does what a test says.
type script struct {
	name string
	read func(ctx context.Context, in *Intake) error
}

func (s *script) Name() string { return s.name }

func (s *script) Read(ctx context.Context, in *Intake) error { return s.read(ctx, in) }

func occurred(offset uint64, kind string, at time.Time) Event {
	return Event{Offset: offset, Type: kind, Time: at, Raw: json.RawMessage(`{}`)}
}

// late puts an event a second that happened a while ago.
func late(name string, by time.Duration) *script {
	return &script{name, func(ctx context.Context, in *Intake) error {
		next, _ := in.Cursor("0")
		for ; ctx.Err() == nil; time.Sleep(time.Second) {
			next++
			if err := in.Put(ctx, "0", occurred(next, "A", time.Now().Add(-by))); err != nil {
				return err
			}
		}
		return ctx.Err()
	}}
}

func near(got, want time.Duration) bool {
	return math.Abs(float64(got-want)) <= max(0.05*float64(want), float64(2*time.Second))
}

func TestBucketsAreRightToFivePercentFromAMillisecondToThirtyDays(t *testing.T) {
	before := 0
	for d := time.Millisecond; d <= mostFresh; d += max(d/100, time.Millisecond).Truncate(time.Millisecond) {
		b := bucket(d)
		if err := math.Abs(float64(middle(b)-d)) / float64(d); err > 0.05 {
			t.Fatalf("%v is counted as %v", d, middle(b))
		}
		if b < before || b > before+1 {
			t.Fatalf("%v is in bucket %d, after %d", d, b, before)
		}
		before = b
	}
	if n := len(slot{}.buckets); bucket(math.MaxInt64) >= n || bucket(mostFresh) < n-16 || bucket(-time.Hour) != 0 {
		t.Errorf("the ends are in buckets %d, %d and %d of %d", bucket(math.MaxInt64), bucket(mostFresh), bucket(-time.Hour), n)
	}
}

// The stall of the issue: seven minutes in which no sink takes anything.
func TestAStallShowsWhileItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &toySink{}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{late("toy", 0)}, Sinks: members(sink)})
		defer stop()
		only := func() Freshness {
			all := p.Freshness()
			if len(all) != 1 || all[0].Source != "toy" {
				t.Fatalf("%v", all)
			}
			return all[0]
		}
		time.Sleep(20 * time.Minute)
		if f := only(); f.P99 > time.Second || f.Waiting > time.Second || f.Events < 10*60 || f.Events > 11*60 || time.Since(f.Newest) > 2*time.Second {
			t.Errorf("well: %+v", f)
		}
		sink.set(down)
		for m := range 7 {
			if f := only(); !near(f.Waiting, time.Duration(m)*time.Minute) {
				t.Errorf("after %d minutes: %+v", m, f)
			}
			time.Sleep(time.Minute)
		}
		if f := only(); !near(f.Waiting, 7*time.Minute) {
			t.Errorf("in the end: %+v", f)
		}
		sink.set(nil)
		time.Sleep(time.Minute)
		f := only()
		if f.Waiting > time.Second || f.Max < 7*time.Minute || f.Max > 8*time.Minute || !near(f.P99, f.Max) || f.P99 > f.Max || f.P50 < 2*time.Minute {
			t.Errorf("afterwards: %+v", f)
		}
		time.Sleep(11 * time.Minute)
		if f := only(); f.Max > 2*time.Second {
			t.Errorf("it is for ever: %+v", f)
		}
	})
}

func TestFreshnessKeepsSourcesApartAndCountsFromTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := running(t, Config{
			Dir: memory(t), Sinks: members(&toySink{}),
			Sources: []Source{late("old", time.Hour), late("future", -time.Hour), &script{"none", func(ctx context.Context, _ *Intake) error { <-ctx.Done(); return ctx.Err() }}},
		})
		defer stop()
		time.Sleep(5 * time.Minute)
		all := p.Freshness()
		if len(all) != 3 || all[0].Source != "future" || all[1].Source != "none" || all[2].Source != "old" {
			t.Fatalf("%v", all)
		}
		if f := all[0]; f.P99 != 0 || f.Max != 0 || f.Events < 290 {
			t.Errorf("%+v", f)
		}
		if f := all[1]; f.Events != 0 || f.Waiting != 0 {
			t.Errorf("%+v", f)
		}
		if f := all[2]; !near(f.P50, time.Hour) || !near(f.P99, time.Hour) || !near(f.Max, time.Hour) {
			t.Errorf("%+v", f)
		}
	})
}

func TestWhatAnEarlierProcessLeftWaitsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &toySink{fail: down}
		cfg := Config{Dir: memory(t), Sources: []Source{late("toy", time.Hour)}, Sinks: members(sink)}
		_, stop := running(t, cfg)
		time.Sleep(10 * time.Minute)
		stop()
		cfg.Sources = []Source{&script{"toy", func(ctx context.Context, in *Intake) error { <-ctx.Done(); return ctx.Err() }}}
		p, stop := running(t, cfg)
		defer stop()
		time.Sleep(time.Minute)
		if f := p.Freshness()[0]; !near(f.Waiting, time.Hour+11*time.Minute) {
			t.Errorf("%+v", f)
		}
		if s := p.Status(); s.Spool.Drained || !near(s.At.Sub(s.Spool.Oldest), 11*time.Minute) {
			t.Errorf("%+v", s.Spool)
		}
		sink.set(nil)
		time.Sleep(time.Minute)
		if f := p.Freshness()[0]; f.Waiting != 0 || f.Events < 600 || f.Events > 601 {
			t.Errorf("%+v", f)
		}
		if s := p.Status(); !s.Spool.Drained || !s.Spool.Oldest.IsZero() || !s.waits().IsZero() {
			t.Errorf("%+v", s.Spool)
		}
	})
}

// An old event behind newer ones is the oldest, whatever is delivered before it.
func TestTheOldestThatWaitsIsFoundInABoundedLine(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		type waiting struct {
			last uint64
			ms   int64
		}
		var l line
		var all []waiting
		next, clock := uint64(0), int64(1_000_000)
		for range 2000 {
			if r.IntN(3) > 0 {
				next += 1 + r.Uint64N(5)
				clock += r.Int64N(1000)
				ms := clock - r.Int64N(1+int64(round)*100)
				all = append(all, waiting{next, ms})
				l.push(next, ms)
			} else if len(all) > 0 && r.IntN(4) == 0 {
				n := r.IntN(len(all))
				l.settle(all[n].last)
				all = all[n+1:]
			}
			if len(l.marks) > lineMarks {
				t.Fatalf("%d marks", len(l.marks))
			}
			if len(all) == 0 {
				if len(l.marks) > 0 {
					t.Fatalf("nothing waits, and the line says %v", l.marks)
				}
				continue
			}
			oldest, newest := all[0].ms, all[0].ms
			for _, w := range all {
				oldest, newest = min(oldest, w.ms), max(newest, w.ms)
			}
			if len(l.marks) == 0 || l.marks[0].ms > oldest || oldest-l.marks[0].ms > l.step {
				t.Fatalf("the oldest is of %d, the line says %v (step %d)", oldest, l.marks, l.step)
			}
		}
	}
}

func TestWhatIsPutAgainWaitsOnce(t *testing.T) {
	var l line
	for range 3 {
		for n := range uint64(10) {
			l.push(n, int64(100*n))
		}
	}
	l.settle(9)
	if len(l.marks) != 0 {
		t.Errorf("%v", l.marks)
	}
}

// A chunk that is lost in the spool is never acknowledged, and does not wait for ever.
func TestWhatIsLostInTheSpoolDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{"toy", func(ctx context.Context, in *Intake) error {
			if err := in.Put(ctx, "0", occurred(1, "A", time.Now())); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(&toySink{})})
		defer stop()
		time.Sleep(time.Second)
		p.fresh.mu.Lock()
		p.fresh.feed("toy:0").since.push(1, time.Now(), time.Now()) // it was stored, and nobody acknowledges it
		p.fresh.feed("toy:1").since.push(1, time.Now(), time.Now()) // it cannot be stored
		p.fresh.mu.Unlock()
		time.Sleep(time.Minute)
		p.fresh.mu.Lock()
		defer p.fresh.mu.Unlock()
		if lost, _ := p.fresh.feeds["toy:0"].oldest(); !lost.IsZero() {
			t.Error("what is lost waits")
		}
		if unstored, _ := p.fresh.feeds["toy:1"].oldest(); unstored.IsZero() {
			t.Error("what could not be stored does not wait")
		}
	})
}
