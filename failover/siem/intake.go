package siem

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover/siem/spool"
	"github.com/jurymast/jurymast/internal/safe"
	"github.com/jurymast/jurymast/internal/wait"
)

// Intake is where a source puts its events. It is safe for concurrent use, but not
// for two calls of one feed at the same time.
type Intake struct {
	pump    *Pump
	source  string
	filling bool // a gap: that is no sign of life of the feed
}

// feed is the name under which the spool knows a feed of the source.
func (in *Intake) feed(name string) string { return in.source + ":" + name }

// Cursor returns the offset of the feed's last event that will not be lost any more:
// read on behind it. ok is false if there has been none; a feed is what a source
// reads in one order, such as a partition.
func (in *Intake) Cursor(feed string) (offset uint64, ok bool) {
	return in.pump.cursor(in.feed(feed))
}

// stored is the offset of the feed's last event that our own spool has had.
func (in *Intake) stored(feed string) (uint64, bool) { return in.pump.spool.Cursor(in.feed(feed)) }

// Put makes events durable and returns then; until it has, a source must not tell
// anybody that it has them. Events must be in order of their offsets; those up to
// [Intake.Cursor] are left out, so that a source may read some again. An event that is
// no JSON object, or that the Mapping refuses, goes to the dead letters.
//
// While the spool or the disk is full Put waits, and with it the source: nothing is
// dropped. The error is that of ctx or of the disk; put what was not stored again,
// from the cursor on.
func (in *Intake) Put(ctx context.Context, feed string, events ...Event) error {
	name := in.feed(feed)
	var seen tally
	if !in.filling {
		in.pump.watch.heard(name, false)
		defer in.pump.watch.put(name, &seen)
	}
	if err := in.pump.lease.check(); err != nil {
		return err
	}
	cursor, known := in.pump.cursor(name)
	if !known && len(events) > 0 {
		if err := in.pump.lease.begin(ctx, name, events[0].Offset); err != nil {
			return err
		}
	}
	now := time.Now()
	w := &packer{pump: in.pump, feed: name}
	defer w.pack.free()
	for i := range events {
		e := &events[i]
		if known && e.Offset <= cursor {
			continue
		}
		e.Source, e.Feed = in.source, name
		if e.Time.IsZero() {
			e.Time = now
		}
		if err := w.add(ctx, e); err != nil {
			return err
		}
		cursor, known = e.Offset, true
		seen.add(e)
	}
	return w.flush(ctx)
}

// Heard says that a feed lives though it has no event: a heartbeat. A source that
// never says so is judged by its events alone.
func (in *Intake) Heard(feed string) {
	if !in.filling {
		in.pump.watch.heard(in.feed(feed), true)
	}
}

// Unreadable keeps what a source could not read as an event in the dead letters. raw
// may be a part of it; offset 0 means that it is not known.
func (in *Intake) Unreadable(ctx context.Context, feed string, offset uint64, raw []byte, cause error) error {
	return in.pump.bury(ctx, DeadLetter{Feed: in.feed(feed), Offset: offset, Reason: cause.Error(), Raw: string(raw)})
}

// packer makes chunks of the events of one Put.
type packer struct {
	pump *Pump
	feed string
	rows Rows
	pack pack
}

func (w *packer) add(ctx context.Context, e *Event) error {
	e.id()
	w.rows.reset()
	err := func() (err error) {
		defer safe.Catch(&err, "Config.Mapping")
		return w.pump.config.Mapping(e, &w.rows)
	}()
	if err == nil {
		err = w.rows.check()
	}
	if err != nil {
		// It must be in the dead letters before the cursor can pass it.
		w.rows.reset()
		letter := DeadLetter{Feed: w.feed, Offset: e.Offset, ID: e.ID, Time: e.Time, Type: e.Type, Reason: err.Error(), Raw: string(e.Raw)}
		if err := w.pump.bury(ctx, letter); err != nil {
			return err
		}
	}
	if !w.pack.fits(&w.rows) || w.pack.events >= maxEvents {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.pack.add(e, &w.rows)
	return nil
}

// maxEvents of a chunk bounds its list of times.
const maxEvents = 50_000

// flush stores what is packed, and waits while there is no room.
func (w *packer) flush(ctx context.Context) error {
	if w.pack.events == 0 {
		return nil
	}
	c := w.pack.chunk(w.feed, time.Now(), w.pump.config.AEAD)
	w.pack.free()
	w.pump.fresh.waiting(&c)
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		err := w.pump.spool.Append(ctx, c)
		w.pump.health.stored(w.feed, err)
		switch {
		case err == nil:
			w.pump.counts.spooled.Add(int64(c.Count))
			w.pump.fresh.stored(&c)
			return nil
		case !errors.Is(err, spool.ErrFull):
			return fmt.Errorf("siem: %w", err)
		}
		if err := w.pump.routes.giveUp(ctx); err != nil {
			return err
		}
		if err := wait.For(ctx, delay); err != nil {
			return fmt.Errorf("siem: the spool is full: %w", err)
		}
	}
}
