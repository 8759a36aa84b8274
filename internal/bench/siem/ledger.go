package main

import (
	"sync"
	"time"
)

// ledger counts what arrived. It is safe for concurrent use.
type ledger struct {
	ev *events

	mu      sync.Mutex
	seen    [][]uint64 // a bit for each event of a partition
	highest []int      // the latest of a partition that has arrived
	counts  counts
	last    time.Time // when an event arrived that had not before
	fresh   histogram
}

// counts are what a contender is judged by.
type counts struct {
	Delivered  int // rows that were acknowledged
	Distinct   int // events among them
	Disordered int // events that arrived after a later one of their partition
	Foreign    int // rows of no event that the source has sent
}

func newLedger(ev *events) *ledger {
	l := &ledger{ev: ev, seen: make([][]uint64, len(ev.created)), highest: make([]int, len(ev.created))}
	for p := range l.seen {
		l.seen[p] = make([]uint64, (len(ev.created[p])+63)/64)
		l.highest[p] = -1
	}
	return l
}

// add notes the rows of a body that is about to be acknowledged.
func (l *ledger) add(offsets []int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Delivered += len(offsets)
	for _, offset := range offsets {
		p, i, ok := l.ev.indexOf(offset)
		if !ok {
			l.counts.Foreign++
			continue
		}
		age, happened := l.ev.age(p, i, now)
		if !happened {
			l.counts.Foreign++
			continue
		}
		word, bit := &l.seen[p][i/64], uint64(1)<<(i%64)
		if *word&bit != 0 {
			continue
		}
		*word |= bit
		l.counts.Distinct++
		l.last = now
		l.fresh.add(age)
		if i < l.highest[p] {
			l.counts.Disordered++
		}
		l.highest[p] = max(l.highest[p], i)
	}
}

// now returns the counts, and when the last event arrived.
func (l *ledger) now() (counts, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts, l.last
}

// freshness is how old events were on arrival, at a quantile.
func (l *ledger) freshness(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh.quantile(q)
}

// histogram of ages by the millisecond, up to two minutes; older ones count as that.
type histogram struct {
	buckets [120_000]uint32
	n       int
}

func (h *histogram) add(age time.Duration) {
	h.buckets[min(max(int(age.Milliseconds()), 0), len(h.buckets)-1)]++
	h.n++
}

func (h *histogram) quantile(q float64) time.Duration {
	left := int(q * float64(h.n))
	for ms, n := range h.buckets {
		if left -= int(n); left < 0 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return 0
}
