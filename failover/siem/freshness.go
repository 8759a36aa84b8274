package siem

import (
	"context"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/jurymast/jurymast/failover/siem/spool"
)

// Freshness is how long the events of a source take from when they happened (by the
// source's clock; what it puts into the future counts as no time) until a sink has
// acknowledged them, over the last ten minutes. P50 and P99 are right to 3 %, up to 30
// days. What waits is in Waiting and not in them: during a stall P99 stands still and
// Waiting grows.
type Freshness struct {
	Source string        `json:"source"`
	Events int64         `json:"events"` // acknowledged in the window
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
	// Newest is when the newest event happened that was ever acknowledged, since Open.
	Newest time.Time `json:"newest,omitzero"`
	// Waiting is the age, from when it happened, of the oldest event that is not
	// acknowledged; 0: none waits. After a restart it counts what has been read of
	// the spool: it may be more than this.
	Waiting time.Duration `json:"waiting_ns"`
}

// String tells it in a line.
func (f Freshness) String() string {
	if f.Events == 0 && f.Waiting == 0 {
		return f.Source + ": nothing delivered in ten minutes, nothing waits"
	}
	s := fmt.Sprintf("%s: %d events in ten minutes, p50 %v, p99 %v, max %v", f.Source, f.Events, f.P50, f.P99, f.Max)
	if f.Waiting > 0 {
		s += fmt.Sprintf("; the oldest that waits happened %v ago", f.Waiting.Round(time.Millisecond))
	}
	return s
}

// Freshness tells it of every source, in order of their names.
func (p *Pump) Freshness() []Freshness {
	all := p.fresh.all(time.Now())
	for _, s := range p.config.Sources {
		if !slices.ContainsFunc(all, func(f Freshness) bool { return f.Source == s.Name() }) {
			all = append(all, Freshness{Source: s.Name()})
		}
	}
	slices.SortFunc(all, func(a, b Freshness) int { return strings.Compare(a.Source, b.Source) })
	return all
}

// windowSlots of a minute: ten whole ones and the one that goes on.
const windowSlots = 11

// slot counts by buckets of which sixteen double the time.
type slot struct {
	minute  int64
	buckets [464]uint32
	events  int64
	longest time.Duration
}

const mostFresh = 30 * 24 * time.Hour

func bucket(d time.Duration) int {
	ms := uint64(min(max(d, 0), mostFresh) / time.Millisecond)
	if ms < 16 {
		return int(ms)
	}
	e := bits.Len64(ms) - 5
	return e<<4 + int(ms>>e)
}

// middle of a bucket, at most 1/32 off what is in it.
func middle(bucket int) time.Duration {
	if bucket < 32 {
		return time.Duration(bucket) * time.Millisecond
	}
	e := bucket>>4 - 1
	from, width := (bucket-16*e)<<e, 1<<e
	return time.Duration(from+width/2) * time.Millisecond
}

func (s *slot) add(late time.Duration) {
	s.buckets[bucket(late)]++
	s.events++
	s.longest = max(s.longest, late)
}

// freshness knows what is delivered when, and what waits. It is called once a chunk or
// a load, not once an event.
type freshness struct {
	begun time.Time // minutes count from there: a changed clock does not matter
	late  metric.Float64Histogram

	mu      sync.Mutex
	sources map[string]*sourceFreshness
	feeds   map[string]*feedWaiting
	moved   time.Time // the last acknowledgement
}

type sourceFreshness struct {
	slots                           [windowSlots]*slot
	newest                          time.Time
	stored, delivered, acknowledged int64 // events
}

func newFreshness() *freshness {
	return &freshness{begun: time.Now(), sources: map[string]*sourceFreshness{}, feeds: map[string]*feedWaiting{}}
}

func sourceOf(feed string) string {
	source, _, _ := strings.Cut(feed, ":")
	return source
}

// source of a feed. The caller holds f.mu.
func (f *freshness) source(feed string) *sourceFreshness {
	name := sourceOf(feed)
	s := f.sources[name]
	if s == nil {
		s = &sourceFreshness{}
		f.sources[strings.Clone(name)] = s
	}
	return s
}

// feed may be nil: the spool has no place for more than that either. The caller holds
// f.mu.
func (f *freshness) feed(name string) *feedWaiting {
	w := f.feeds[name]
	if w == nil && len(f.feeds) < spool.MaxFeeds {
		w = &feedWaiting{}
		f.feeds[strings.Clone(name)] = w
	}
	return w
}

// waiting hears of a chunk before it is stored, so that what cannot be stored waits
// too.
func (f *freshness) waiting(c *spool.Chunk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.feed(c.Feed); w != nil {
		if !w.came {
			w.first, w.came = c.First, true
		}
		w.since.push(c.Last, c.MinTime, time.Now())
	}
}

func (f *freshness) stored(c *spool.Chunk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.source(c.Feed).stored += int64(c.Count)
}

// found hears of a chunk that is read from the spool.
func (f *freshness) found(h *held, oldest time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.feed(h.feed); w != nil && (!w.came || h.offset < w.first) {
		w.before.push(h.offset, oldest, h.spooled)
	}
}

// delivered hears of the events of a load, by their feeds and times.
func (f *freshness) delivered(ctx context.Context, now time.Time, events iter.Seq2[string, time.Time]) {
	f.measure(ctx, now, events)
	minute := int64(now.Sub(f.begun) / time.Minute)
	f.mu.Lock()
	defer f.mu.Unlock()
	var s *sourceFreshness
	var of string
	var here *slot
	for feed, t := range events {
		if s == nil || feed != of {
			s, of = f.source(feed), feed
			here = s.slot(minute)
		}
		here.add(max(now.Sub(t), 0))
		s.delivered++
		s.newest = later(s.newest, t)
	}
}

// slot of a minute, which is the newest one.
func (s *sourceFreshness) slot(minute int64) *slot {
	at := &s.slots[minute%windowSlots]
	if *at == nil {
		*at = new(slot)
	}
	if (*at).minute != minute {
		**at = slot{minute: minute}
	}
	return *at
}

// acknowledged hears of loads that the spool need not keep.
func (f *freshness) acknowledged(loads []*load) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moved = time.Now()
	for _, l := range loads {
		for i := range l.items {
			h := &l.items[i]
			f.source(h.feed).acknowledged += int64(h.events)
			f.settle(h.feed, h.offset)
		}
	}
}

func (f *freshness) settle(feed string, last uint64) {
	if w := f.feeds[feed]; w != nil {
		w.before.settle(last)
		w.since.settle(last)
	}
}

// tidy lets go of what is not in the spool any more though nobody has acknowledged it:
// it is lost, and told as a Gap.
func (f *freshness) tidy(s *spool.Spool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	durable := map[string]uint64{}
	for feed, w := range f.feeds {
		if t, _ := w.oldest(); !t.IsZero() {
			durable[feed], _ = s.Cursor(feed)
		}
	}
	if len(durable) == 0 || !drained(s.Stats()) { // in this order: what was durable is delivered
		return
	}
	for feed, last := range durable {
		f.settle(feed, last)
	}
}

// drained says that all that is in the spool is delivered.
func drained(stats spool.Stats) bool {
	return stats.Acked[live] >= stats.Durable
}

// waits tells when the oldest that waits came here; zero if nothing does.
func (f *freshness) waits() (since, moved time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.feeds {
		_, came := w.oldest()
		since = earlier(since, came)
	}
	return since, f.moved
}

func (f *freshness) all(now time.Time) (all []Freshness) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := map[string]time.Time{}
	for feed, w := range f.feeds {
		if happened, _ := w.oldest(); !happened.IsZero() {
			f.source(feed)
			name := sourceOf(feed)
			waiting[name] = earlier(waiting[name], happened)
		}
	}
	for name, s := range f.sources {
		t := s.tell(int64(now.Sub(f.begun) / time.Minute))
		t.Source = name
		if since := waiting[name]; !since.IsZero() {
			t.Waiting = max(now.Sub(since), time.Nanosecond) // it waits, however new it is
		}
		all = append(all, t)
	}
	return all
}

// tell is what of Freshness the slots know.
func (s *sourceFreshness) tell(minute int64) Freshness {
	t := Freshness{Newest: s.newest}
	var sum [len(slot{}.buckets)]int64
	for _, at := range s.slots {
		if at == nil || at.minute <= minute-windowSlots {
			continue
		}
		for i, n := range at.buckets {
			sum[i] += int64(n)
		}
		t.Events += at.events
		t.Max = max(t.Max, at.longest)
	}
	share := func(percent int64) time.Duration {
		rank := (t.Events*percent + 99) / 100
		for i, n := range sum {
			if rank -= n; rank <= 0 {
				return min(middle(i), t.Max)
			}
		}
		return t.Max
	}
	if t.Events > 0 {
		t.P50, t.P99 = share(50), share(99)
	}
	return t
}

// counted are the events of a source, since Open.
func (f *freshness) counted(source string) (stored, delivered, acknowledged int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sources[source]; s != nil {
		return s.stored, s.delivered, s.acknowledged
	}
	return 0, 0, 0
}
