package siem

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// Poll is a Source for what has no stream: it asks again and again what has changed,
// and makes an event of every change, with the id "ID:time of the change". Its feed is
// "changes".
//
// The list may come in any order, and nothing of it is put into the spool before it
// was read to its end: a list that breaks off is read again, and no change is passed
// over. Changes may also become visible late, so that each poll goes back some time
// before the last change, and leaves out what it has put before. What it has put is
// kept in the pump's state; a crash repeats the changes of one poll at most, and a
// standby that takes over (see Lease) those of Overlap, with the same ids.
//
// The fields must not be changed while the pump runs. One Poll may be used by one pump.
type Poll struct {
	// Source is the Name of the source.
	Source string
	// Changed lists what has changed at since or later. Its error ends the list; what
	// is wrong with one row alone is the row's Change.Err.
	Changed func(ctx context.Context, since time.Time) iter.Seq2[Change, error]
	// Every is the pause between two polls. Default 1 minute.
	Every time.Duration
	// Overlap is how long a change may take to become visible. Default 5 minutes. What
	// changed within it before the last change is asked for, and kept in mind (some
	// 100 bytes each), all the time.
	Overlap time.Duration
	// Start is how far back the first poll of all goes. Default 24 h.
	Start time.Duration
}

// Change is how a thing was after a change.
type Change struct {
	ID      string    // of the thing, unique also beyond this source: Event.ID begins with it
	Updated time.Time // when it changed
	Type    string    // as Event.Type
	Raw     json.RawMessage
	// Err says why the row cannot be read: Raw goes to the dead letters with it, once.
	Err error
}

// Event is what a Poll makes of the change. Its offset is missing.
func (c *Change) Event() Event {
	return Event{ID: c.ID + ":" + c.Updated.UTC().Format(time.RFC3339Nano), Time: c.Updated, Type: c.Type, Raw: c.Raw}
}

func (c *Change) size() int { return len(c.ID) + len(c.Raw) + 200 }

// compare orders changes by time; those it calls equal are one change.
func (c Change) compare(other Change) int {
	n := cmp.Or(c.Updated.Compare(other.Updated), strings.Compare(c.ID, other.ID))
	if n == 0 && c.Err != nil && other.Err != nil {
		return bytes.Compare(c.Raw, other.Raw)
	}
	return n
}

var errUndated = errors.New("the row has no id, or no time of its change")

const (
	pollFeed = "changes"
	// pollBytes of new rows are put at a time; of more the oldest.
	pollBytes = 8 << 20
)

func (p *Poll) check() error {
	switch {
	case p.Changed == nil:
		return resilience.Misusef("siem: Poll.Changed of %q is nil", p.Source)
	case p.Every < 0 || p.Overlap < 0 || p.Start < 0:
		return resilience.Misusef("siem: Poll.Every, Overlap and Start of %q must not be negative", p.Source)
	}
	return nil
}

// Name implements Source.
func (p *Poll) Name() string { return p.Source }

// Read implements Source.
func (p *Poll) Read(ctx context.Context, in *Intake) error {
	m, err := remember(ctx, in, orElse(p.Start, 24*time.Hour))
	if err != nil {
		return err
	}
	for {
		more, err := p.poll(ctx, in, m)
		if err != nil {
			return err
		}
		in.Heard(pollFeed)
		if more {
			continue
		}
		if err := wait.For(ctx, orElse(p.Every, time.Minute)); err != nil {
			return err
		}
	}
}

func orElse(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// poll reads the list once. more says that there was more than is put at a time.
func (p *Poll) poll(ctx context.Context, in *Intake, m *pollMemory) (more bool, err error) {
	since := m.begin
	if last, known := in.Cursor(pollFeed); known {
		// The second is more than offsets can be ahead of the changes' times.
		since = time.UnixMicro(int64(last)).Add(-orElse(p.Overlap, 5*time.Minute) - time.Second)
	}
	m.next()
	var b backlog
	for c, err := range p.Changed(ctx, since) {
		if err != nil {
			return false, fmt.Errorf("siem: poll %s: %w", p.Source, err)
		}
		if c.Err == nil && (c.ID == "" || c.Updated.IsZero()) {
			c.Err = errUndated
		}
		if c.Err != nil {
			c.Updated = time.Time{} // before all others
		}
		if !m.has(&c) {
			b.add(c)
		}
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx) // a list may end with it, too
	}
	m.forget(since)
	b.cut(pollBytes)
	return b.more, p.put(ctx, in, m, b.changes)
}

// put gives each change an offset that rises and tells where to read on: the time of
// the change, in microseconds since 1970, and at least one more than the last.
func (p *Poll) put(ctx context.Context, in *Intake, m *pollMemory, changes []Change) error {
	last, _ := in.Cursor(pollFeed)
	now := uint64(time.Now().UnixMicro()) // a time to come would hide all until then
	var events []Event
	var of []*Change
	for i := range changes {
		c := &changes[i]
		if c.Err != nil {
			if err := in.Unreadable(ctx, pollFeed, 0, c.Raw, c.Err); err != nil {
				return err
			}
			m.add(c, 0)
			continue
		}
		last = max(last+1, min(uint64(max(c.Updated.UnixMicro(), 0)), now))
		e := c.Event()
		e.Offset = last
		events = append(events, e)
		of = append(of, c)
	}
	err := in.Put(ctx, pollFeed, events...)
	// Also of a Put that failed some events may be there.
	stored, _ := in.stored(pollFeed)
	for i, c := range of {
		if events[i].Offset <= stored {
			m.add(c, events[i].Offset)
		}
	}
	if len(changes) == 0 {
		return err
	}
	return errors.Join(err, m.save(context.WithoutCancel(ctx), in))
}

// backlog keeps the oldest of what it is given.
type backlog struct {
	changes []Change
	bytes   int
	more    bool
	newest  time.Time // of those kept, if there are more
}

func (b *backlog) add(c Change) {
	if b.more && c.Updated.After(b.newest) {
		return // there is something before it that is not kept
	}
	b.changes = append(b.changes, c)
	b.bytes += c.size()
	if b.bytes > 2*pollBytes {
		b.cut(pollBytes)
	}
}

// cut puts the changes in order, each once, and drops the last ones beyond so many bytes.
func (b *backlog) cut(limit int) {
	slices.SortFunc(b.changes, Change.compare)
	b.changes = slices.CompactFunc(b.changes, func(x, y Change) bool { return x.compare(y) == 0 })
	b.bytes = 0
	for i := range b.changes {
		if b.bytes += b.changes[i].size(); b.bytes > limit && i > 0 {
			b.bytes -= b.changes[i].size()
			clear(b.changes[i:])
			b.changes = b.changes[:i]
			b.more, b.newest = true, b.changes[i-1].Updated
			return
		}
	}
}
