package siem

import (
	"context"
	"sync"
	"time"
)

// held is a chunk on its way.
type held struct {
	position uint64
	feed     string
	offset   uint64 // of its last event
	events   int    // with rows and without
	size     int    // bytes in memory
	raw      int    // bytes of rows
	chunk
}

// queue hands chunks from the spool to the senders, in order, and bounds how much of
// them is in memory.
type queue struct {
	mu     sync.Mutex
	items  []held
	bytes  int
	moved  chan struct{} // closed and replaced at every change
	closed error
}

const (
	queueBytes = 2 << 20
	queueItems = 4096
)

func newQueue() *queue { return &queue{moved: make(chan struct{})} }

func (q *queue) change() {
	close(q.moved)
	q.moved = make(chan struct{})
}

// push waits for room.
func (q *queue) push(ctx context.Context, h held) error {
	for {
		q.mu.Lock()
		if len(q.items) == 0 || q.bytes < queueBytes && len(q.items) < queueItems {
			q.items = append(q.items, h)
			q.bytes += h.size
			q.change()
			q.mu.Unlock()
			return nil
		}
		moved := q.moved
		q.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// end lets pop return err once the queue is empty.
func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = err
	q.change()
}

// load is consecutive chunks that go out together.
type load struct {
	first, last uint64 // positions
	items       []held
	done        bool
	elsewhere   bool // not all of it went to the primary
}

// worthIt is from how many bytes of rows a chunk goes out as it is, compressed once.
// Smaller ones are put together, so that a backlog of a quiet time does not take a
// request for every event.
const worthIt = 250_000

// pop waits for chunks and takes one, or some small ones.
func (q *queue) pop(ctx context.Context) (*load, error) {
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			l := q.take()
			q.mu.Unlock()
			return l, nil
		}
		moved, closed := q.moved, q.closed
		q.mu.Unlock()
		if closed != nil {
			return nil, closed
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (q *queue) take() *load {
	n, raw := 1, q.items[0].raw
	for raw < worthIt && n < len(q.items) && raw+q.items[n].raw <= maxBatch {
		raw += q.items[n].raw
		n++
	}
	l := &load{items: append([]held(nil), q.items[:n]...), first: q.items[0].position, last: q.items[n-1].position}
	for _, h := range l.items {
		q.bytes -= h.size
	}
	clear(q.items[:n])
	if q.items = q.items[n:]; len(q.items) == 0 {
		q.items = nil
	}
	q.change()
	return l
}

// batches are what goes out, one for each table.
func (l *load) batches() ([]*Batch, error) {
	if len(l.items) == 1 {
		out := make([]*Batch, len(l.items[0].batches))
		for i := range out {
			out[i] = &l.items[0].batches[i]
		}
		return out, nil
	}
	var out []*Batch
	by := map[string]*Batch{}
	for i := range l.items {
		for j := range l.items[i].batches {
			b := &l.items[i].batches[j]
			rows, err := b.All()
			if err != nil {
				return nil, err
			}
			all := by[b.Table]
			if all == nil {
				all = &Batch{Table: b.Table, Bytes: len("[]") - len(separator), Oldest: b.Oldest, Newest: b.Newest}
				by[b.Table] = all
				out = append(out, all)
			}
			all.join(b, rows)
		}
	}
	return out, nil
}

func (l *load) times(yield func(feed string, t time.Time) bool) {
	for _, h := range l.items {
		for _, ms := range h.chunk.times {
			if !yield(h.feed, time.UnixMilli(ms)) {
				return
			}
		}
	}
}
