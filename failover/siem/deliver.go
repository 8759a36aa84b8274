package siem

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/siem/spool"
	"github.com/jurymast/jurymast/resilience"
)

// delivery is the way from the spool to the sinks: one goroutine reads, Config.Senders
// send, and the spool hears of a load when all before it are delivered too.
type delivery struct {
	pump  *Pump
	queue *queue

	take chan struct{} // held while a load is taken and enrolled, as one
	mu   sync.Mutex
	way  []*load // taken and not acknowledged yet, in order
}

func (d *delivery) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() { d.queue.end(d.read(ctx)) })
	for range d.pump.config.Senders {
		wg.Go(func() { stop(d.sendAll(ctx)) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// read moves chunks from the spool to the queue. It ends with an error only.
func (d *delivery) read(ctx context.Context) error {
	for c, err := range d.pump.spool.Read(ctx, live) {
		if gap, ok := errors.AsType[*spool.GapError](err); ok {
			d.pump.lost(ctx, gap)
			continue
		}
		if err != nil {
			return err
		}
		d.pump.lease.behind(c.Feed, c.First)
		h, err := d.pump.hold(&c)
		if err != nil {
			return err
		}
		d.pump.fresh.found(&h, c.MinTime)
		if d.pump.expired(ctx, &c, h.spooled) {
			h.chunk = chunk{}
		}
		if err := d.queue.push(ctx, h); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// hold reads a chunk of the spool.
func (p *Pump) hold(c *spool.Chunk) (h held, err error) {
	h = held{position: c.Position, feed: c.Feed, offset: c.Last, events: int(c.Count), size: len(c.Body), raw: int(c.RawLength)}
	h.chunk, err = open(c, p.config.AEAD)
	return h, err
}

// sendAll ends with an error only.
func (d *delivery) sendAll(ctx context.Context) error {
	s := sender{pump: d.pump, group: d.pump.group, health: &d.pump.health, count: &d.pump.counts.delivered}
	for {
		l, err := d.next(ctx)
		if err != nil {
			return err
		}
		if l.elsewhere, err = s.send(ctx, l); err != nil {
			return err
		}
		if err := d.finish(ctx, l); err != nil {
			return err
		}
	}
}

func (d *delivery) next(ctx context.Context) (*load, error) {
	d.take <- struct{}{}
	defer func() { <-d.take }()
	l, err := d.queue.pop(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.way = append(d.way, l)
	return l, nil
}

// finish acknowledges what is delivered up to here without a hole.
func (d *delivery) finish(ctx context.Context, l *load) error {
	d.pump.fresh.delivered(ctx, time.Now(), l.times)
	d.mu.Lock()
	defer d.mu.Unlock()
	l.done = true
	n := 0
	for n < len(d.way) && d.way[n].done {
		if err := d.pump.routes.delivered(ctx, d.way[n]); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return nil
	}
	done := d.way[:n]
	d.pump.fresh.acknowledged(done)
	d.way = d.way[n:]
	if err := d.pump.acknowledge(done[n-1].last); err != nil {
		return err
	}
	for _, l := range done {
		for _, h := range l.items {
			d.pump.lease.delivered(h.feed, h.offset)
		}
	}
	return nil
}

// sender sends loads, one after the other.
type sender struct {
	pump    *Pump
	group   *failover.Group[Sink]
	health  *health
	count   *atomic.Int64 // of rows that were accepted
	refused streak
}

// send delivers a load, whatever it takes. elsewhere says that not all of it went to
// the primary. The error is that of ctx, or of the dead letters.
func (s *sender) send(ctx context.Context, l *load) (elsewhere bool, err error) {
	batches, err := l.batches()
	if err != nil {
		return false, err
	}
	for _, b := range batches {
		there, err := s.deliver(ctx, b)
		if err != nil {
			return elsewhere, err
		}
		elsewhere = elsewhere || there
	}
	return elsewhere, nil
}

const (
	firstWait = time.Second
	maxWait   = 10 * time.Second
)

// answer is what a sink said of a batch: a receipt, or that its rows are at fault.
type answer struct {
	receipt Receipt
	refused error
}

// unfit is why a sink did not take a batch. Whatever is wrong there, the next sink may
// take it: also after what would be the caller's mistake in a call of another kind.
type unfit struct{ error }

func (u unfit) Unwrap() error { return u.error }

func (u unfit) Failure() resilience.Failure {
	f := resilience.Of(u.error)
	if !f.Class.TryNext() && f.Class != resilience.Canceled {
		f.Class = resilience.Denied
	}
	return f
}

// try sends a batch once, to the sink that takes it.
func (s *sender) try(ctx context.Context, b *Batch) (answer, string, error) {
	res, err := failover.Do(ctx, s.group, sendCall, func(ctx context.Context, sink Sink) (a answer, err error) {
		a.receipt, err = callSink(ctx, sink, b)
		switch {
		case errors.Is(err, ErrRefused):
			return answer{refused: err}, nil
		case err != nil:
			return answer{}, unfit{err}
		}
		return a, nil
	})
	return res.Value, res.By(), err
}

// A row has an id by which copies are removed, so that it is no harm if two sinks get
// it: a batch may go on to the next one whatever became of it at the last.
var sendCall = failover.Call{Name: "send", Kind: resilience.Read}

func retryAfter(err error) (d time.Duration) {
	if all, ok := errors.AsType[*failover.Error](err); ok {
		for i, g := range all.Gaps { // whoever is first to be ready
			if after := resilience.Of(g.Err).RetryAfter; i == 0 || after < d {
				d = after
			}
		}
	}
	return min(d, time.Hour)
}
