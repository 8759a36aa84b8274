package crowdstrike

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// EventsConfig says what [Events] reads. The zero value reads everything.
type EventsConfig struct {
	// Name of the source. Default "falcon".
	Name string
	// AppID names the reader to Falcon, with at most 27 letters, digits, - and _.
	// Falcon lets one process at a time read under a name: another one waits, and
	// begins up to half an hour after the first has gone (facts/falcon.md 2.5).
	// Default "jurymast".
	AppID string
	// EventTypes are those to read, spelt as falcon.Event.Type. Default: all.
	EventTypes []string
	// Newest begins partitions of which the spool knows nothing with what happens
	// from now on, and not with the oldest that Falcon still has. Until the first
	// event of a partition is in the spool, what happens while nobody is connected is
	// lost.
	Newest bool
}

// Events is Falcon's event stream as a source of siem, all partitions of it: each is
// a feed, named by its number. An event's id is its customer's, the partition and the
// offset, the same whenever and by whomever it is read:
//
//	5eed0000000000000000000000000c1d:0:4711
//
// Reading begins behind the last event that is in the spool. Broken feeds, silent
// ones, lost sessions and an AppID that somebody else reads under are tried again
// for ever (see falcon.Stream.Run); a line that cannot be read goes to the dead
// letters, and those after it are read. While the spool is full nothing is read, and
// Falcon keeps the events. Scope: Event streams read.
func Events(c *falcon.Client, cfg EventsConfig) siem.Source {
	if cfg.Name == "" {
		cfg.Name = "falcon"
	}
	if cfg.AppID == "" {
		cfg.AppID = "jurymast"
	}
	return &events{c: c, cfg: cfg, begun: map[int]int64{}}
}

type events struct {
	c   *falcon.Client
	cfg EventsConfig

	mu sync.Mutex
	// begun is the offset before the first event that came of a partition. With Newest
	// it is where to begin again if that event did not get into the spool.
	begun map[int]int64
}

// Name implements siem.Source.
func (s *events) Name() string { return s.cfg.Name }

// Read implements siem.Source.
func (s *events) Read(ctx context.Context, in *siem.Intake) error {
	if len(s.cfg.AppID)+len(fillSuffix) > maxAppID {
		return resilience.Misusef("crowdstrike: EventsConfig.AppID %q: want at most %d letters, digits, - and _", s.cfg.AppID, maxAppID-len(fillSuffix))
	}
	p := partitions{put: in.Put, bury: in.Unreadable, lanes: map[int]*lane{}}
	return p.read(ctx, s.c, falcon.StreamConfig{
		AppID: s.cfg.AppID, EventTypes: s.cfg.EventTypes, Newest: s.cfg.Newest,
		Cursor: func(partition int) (int64, bool) {
			stored, ok := in.Cursor(strconv.Itoa(partition))
			return s.after(partition, stored, ok)
		},
		Handle: func(ctx context.Context, events []falcon.Event) error {
			s.note(events)
			return p.handle(ctx, events)
		},
		Heartbeat: func(partition int) { in.Heard(strconv.Itoa(partition)) },
	})
}

const (
	maxAppID   = 32 // falcon.StreamConfig
	fillSuffix = "-fill"
)

// after is where to begin: behind what is stored.
func (s *events) after(partition int, stored uint64, ok bool) (int64, bool) {
	if ok {
		return int64(stored), true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, ok := s.begun[partition]
	return before, ok
}

func (s *events) note(events []falcon.Event) {
	if !s.cfg.Newest {
		return // they begin with the oldest again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		if _, ok := s.begun[e.Partition]; !ok && e.Err == nil && e.Offset >= 0 {
			s.begun[e.Partition] = e.Offset - 1
		}
	}
}

// partitions takes the events of a stream to the spool.
type partitions struct {
	put  func(ctx context.Context, feed string, events ...siem.Event) error
	bury func(ctx context.Context, feed string, offset uint64, raw []byte, cause error) error

	ctx   context.Context
	stop  context.CancelCauseFunc
	mu    sync.Mutex
	lanes map[int]*lane
	wg    sync.WaitGroup
}

// read runs the stream until ctx ends, or an event cannot be put into the spool: what
// is under way then is read again.
func (p *partitions) read(ctx context.Context, c *falcon.Client, cfg falcon.StreamConfig) error {
	p.ctx, p.stop = context.WithCancelCause(ctx)
	err := c.Stream.Run(p.ctx, cfg)
	p.stop(err)
	p.wg.Wait()
	return context.Cause(p.ctx)
}

// handle hands events to the goroutine that puts those of the partition.
func (p *partitions) handle(ctx context.Context, events []falcon.Event) error {
	return p.lane(events[0].Partition).add(ctx, events)
}

func (p *partitions) lane(partition int) *lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[partition]
	if l == nil {
		l = &lane{feed: strconv.Itoa(partition), filled: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
		p.lanes[partition] = l
		p.wg.Go(func() { p.stop(l.run(p.ctx, p)) })
	}
	return l
}

// lane is between the goroutine that reads a partition and the one that puts: while a
// group of events is compressed and synced, the next one is read.
type lane struct {
	feed   string
	filled chan struct{}
	taken  chan struct{}

	mu   sync.Mutex
	next group
}

// group is what is put at once.
type group struct {
	events []siem.Event
	bad    []falcon.Event
	bytes  int
	id     []byte
}

const (
	// groupEvents and groupBytes make one chunk of the spool, in one sync.
	groupEvents = 1000
	groupBytes  = 800_000
	// groupWait is how long an event waits for others: of a trickle not every event
	// must cost a sync.
	groupWait = 25 * time.Millisecond
)

func (g *group) empty() bool { return len(g.events)+len(g.bad) == 0 }

func (g *group) full() bool {
	return len(g.events)+len(g.bad) >= groupEvents || g.bytes >= groupBytes
}

func (g *group) reset() {
	clear(g.events)
	clear(g.bad)
	g.events, g.bad, g.bytes = g.events[:0], g.bad[:0], 0
}

// add appends events, and waits first while the group is full.
func (l *lane) add(ctx context.Context, events []falcon.Event) error {
	for {
		l.mu.Lock()
		if !l.next.full() {
			for i := range events {
				l.next.add(&events[i])
			}
			l.mu.Unlock()
			signal(l.filled)
			return nil
		}
		l.mu.Unlock()
		select {
		case <-l.taken:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errNoOffset = errors.New("the event has no offset")

func (g *group) add(e *falcon.Event) {
	g.bytes += len(e.Raw)
	if e.Err != nil || e.Offset < 0 {
		g.bad = append(g.bad, *e)
		return
	}
	g.events = append(g.events, siem.Event{
		ID: g.eventID(e), Offset: uint64(e.Offset), Time: e.Created, Type: e.Type, Raw: e.Raw, Valid: true, // the stream checks every line
	})
}

func (g *group) eventID(e *falcon.Event) string {
	g.id = append(append(g.id[:0], e.CID...), ':')
	g.id = append(strconv.AppendInt(g.id, int64(e.Partition), 10), ':')
	g.id = strconv.AppendInt(g.id, e.Offset, 10)
	return string(g.id)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run puts what arrives until ctx ends, or it cannot: it ends with an error only.
func (l *lane) run(ctx context.Context, p *partitions) error {
	var g group
	for {
		if err := l.take(ctx, &g); err != nil {
			return err
		}
		if err := g.put(ctx, l.feed, p); err != nil {
			return err
		}
		g.reset()
	}
}

// take exchanges an empty group for one with events.
func (l *lane) take(ctx context.Context, g *group) error {
	var alarm <-chan time.Time
	for late := false; ; {
		some, done := l.exchange(g, late)
		if done {
			return nil
		}
		if some && alarm == nil {
			t := time.NewTimer(groupWait)
			defer t.Stop()
			alarm = t.C
		}
		select {
		case <-l.filled:
		case <-alarm:
			late = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (l *lane) exchange(g *group, late bool) (some, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if some = !l.next.empty(); !some || !late && !l.next.full() {
		return some, false
	}
	*g, l.next = l.next, *g
	signal(l.taken)
	return true, true
}

// put puts the group, the unreadable ones first: the cursor must not pass them
// before they are in the dead letters. A disk that fails gets a few more chances:
// after the end of the stream Falcon may keep its name taken for half an hour.
func (g *group) put(ctx context.Context, feed string, p *partitions) error {
	for delay := time.Second; ; delay *= 2 {
		err := g.try(ctx, feed, p)
		if err == nil || ctx.Err() != nil || delay > lastPut || resilience.Of(err).Class == resilience.Misuse {
			return err
		}
		if err := wait.For(ctx, delay); err != nil {
			return err
		}
	}
}

const lastPut = 8 * time.Second

func (g *group) try(ctx context.Context, feed string, p *partitions) error {
	for len(g.bad) > 0 {
		e := &g.bad[0]
		cause := e.Err
		if cause == nil {
			cause = errNoOffset
		}
		if err := p.bury(ctx, feed, uint64(max(e.Offset, 0)), e.Raw, cause); err != nil {
			return err
		}
		g.bad = g.bad[1:]
	}
	if len(g.events) == 0 {
		return nil
	}
	return p.put(ctx, feed, g.events...) // of what it has put already it takes no notice
}
