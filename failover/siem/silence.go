package siem

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/wait"
)

// Silence is that a source, one of its feeds or one of its event types has not been
// heard for much longer than it ever is at that hour. Such was the 30th of September
// 2025, when DetectionSummaryEvent of the Falcon stream became EppDetectionSummaryEvent:
// the heartbeats went on, and programs that waited for the old name stayed green.
//
// A source that fails, and is not heard, for two minutes is silent; a feed with
// heartbeats after three minutes, and four times its longest pause of late; a feed
// without them, and an event type, after five minutes, and three times the longest pause
// that began at about that hour of the day. In its first days that is six times, and on
// its first day no less than 16 hours. A type is missed only after 50 events in 12
// different hours, and until it was silent for two weeks; of a source 500 types are
// known by name, and the rest as "(other)". While all of a source is silent its types
// are not, and none is while a full spool makes the sources wait.
type Silence struct {
	Source string `json:"source"`
	// Feed and EventType are empty if the whole source is silent; one of them at most
	// is set.
	Feed      string        `json:"feed,omitempty"`
	EventType string        `json:"event_type,omitempty"`
	Since     time.Time     `json:"since"`    // it was heard last, or could have been
	Usual     time.Duration `json:"usual_ns"` // the longest pause of late; 0: not known
}

// String tells it in a line.
func (s Silence) String() string {
	what := "source " + s.Source
	switch {
	case s.Feed != "":
		what += ", feed " + s.Feed
	case s.EventType != "":
		what += ", event type " + s.EventType
	}
	text := fmt.Sprintf("%s: silent since %s", what, clock(s.Since))
	if s.Usual > 0 {
		text += fmt.Sprintf(", pauses of late lasted %v at most", s.Usual.Round(time.Second))
	}
	return text
}

const (
	others    = "(other)"
	mostTypes = 500 // of a source
	mostFeeds = 100

	listenEvery = 15 * time.Second
	saveEvery   = 5 * time.Minute
	failedFor   = 2 * time.Minute // it is silent then
	unheardFor  = 10 * time.Minute
	strange     = 7 * 24 * time.Hour  // after which what was never known is forgotten
	missed      = 14 * 24 * time.Hour // after which a silence is
)

// watch knows how often each source speaks.
type watch struct {
	pump *Pump

	mu      sync.Mutex
	runs    time.Time // when Run began; zero: it does not run
	begun   time.Time // when the sources began to be read; zero: they are not
	held    time.Time // until when sources could not speak: the spool was full
	sources map[string]*listened
	changed bool   // since it was saved
	rev     uint64 // of the saved one
	deadAt  time.Time
	dead    int64 // letters, when it looked last
}

// listened is one source.
type listened struct {
	feeds, types map[string]*rhythm
	heard, event time.Time
	err          error // of the last Read that ended
	failed       time.Time
	failures     int64
	silent       time.Time // since when all of it is; zero: it is not
	away         time.Time // until when it was: not the fault of a feed
	mute         time.Time // until when no feed spoke: not the fault of a type
}

func newWatch() *watch { return &watch{sources: map[string]*listened{}} }

// source with its name; the caller holds w.mu.
func (w *watch) source(name string) *listened {
	s := w.sources[name]
	if s == nil {
		s = &listened{feeds: map[string]*rhythm{}, types: map[string]*rhythm{}}
		w.sources[strings.Clone(name)] = s
	}
	return s
}

// rhythmOf gives everything a place, however many there are.
func rhythmOf(all map[string]*rhythm, name string, most int) *rhythm {
	r := all[name]
	if r == nil && len(all) >= most {
		name = others
		r = all[name]
	}
	if r == nil {
		r = &rhythm{}
		all[strings.Clone(name)] = r // the name may be a piece of something large
	}
	return r
}

// heard is a heartbeat, or the beginning of a Put, which is none.
func (w *watch) heard(feed string, heartbeat bool) {
	source, name, _ := strings.Cut(feed, ":")
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	s := w.source(source)
	r := rhythmOf(s.feeds, name, mostFeeds)
	if r.sign(now, w.base(r, s.away)); heartbeat {
		r.beats++
	}
	s.heard, w.changed = now, true
}

// put is the end of a Put.
func (w *watch) put(feed string, t *tally) {
	if t.all.events == 0 {
		return
	}
	source, name, _ := strings.Cut(feed, ":")
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	s := w.source(source)
	rhythmOf(s.feeds, name, mostFeeds).spoke(now, time.Time{}, &t.all)
	for i := range t.seen {
		r := rhythmOf(s.types, t.seen[i].name, mostTypes)
		r.spoke(now, w.base(r, s.mute), &t.seen[i])
	}
	s.heard, s.event, w.changed = now, now, true
}

// base is from when on a pause counts: when it was heard, or could be again. Zero if
// that is not known. The caller holds w.mu.
func (w *watch) base(r *rhythm, excused time.Time) time.Time {
	if w.begun.IsZero() {
		return time.Time{}
	}
	return later(later(later(r.last, w.begun), w.held), excused)
}

func (w *watch) failed(source string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.source(source)
	s.err, s.failed = err, time.Now()
	s.failures++
}

// failing says that it has not been heard since it failed.
func (s *listened) failing() bool { return s.err != nil && !s.heard.After(s.failed) }

// reading hears that the sources begin to be read, which with a Lease is not all the
// time, and is told when they are not any more.
func (w *watch) reading() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = time.Now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.begun = time.Time{}
		w.pump.health.ended()
	}
}

// run looks for silence, and keeps what was learned.
func (w *watch) run(ctx context.Context) error {
	end, err := w.pump.observe()
	if err != nil {
		return fmt.Errorf("siem: Config.MeterProvider: %w", err)
	}
	defer end()
	w.mu.Lock()
	w.runs = time.Now()
	w.mu.Unlock()
	saved := time.Now()
	for {
		if err := wait.For(ctx, listenEvery); err != nil {
			w.save(context.WithoutCancel(ctx))
			w.mu.Lock()
			w.runs = time.Time{}
			w.mu.Unlock()
			return err
		}
		w.look(ctx)
		w.pump.fresh.tidy(w.pump.spool)
		if time.Since(saved) >= saveEvery {
			saved = time.Now()
			w.save(ctx)
		}
	}
}

// look begins and ends silences.
func (w *watch) look(ctx context.Context) {
	full := w.pump.health.isFull()
	dead := w.pump.counts.dead.Load()
	var news []change
	w.mu.Lock()
	now := time.Now()
	if full {
		w.held = now
	}
	if dead != w.dead {
		w.dead, w.deadAt = dead, now
	}
	for name, s := range w.sources {
		if w.begun.IsZero() {
			break // nobody can be heard
		}
		n := w.lookAt(s, now)
		for i := range n {
			n[i].Source = name
		}
		news = append(news, n...)
	}
	w.changed = w.changed || len(news) > 0
	w.mu.Unlock()
	for _, c := range news {
		c.log(ctx, w.pump.config.Logger)
	}
}

// change is the beginning or the end of a silence, or that it is not waited for any
// more.
type change struct {
	Silence
	text  string
	level slog.Level
}

func (c change) log(ctx context.Context, l *slog.Logger) {
	l.Log(ctx, c.level, "siem: "+c.text, "source", c.Source, "feed", c.Feed, "event_type", c.EventType,
		"since", c.Since, "lasted", time.Since(c.Since).Round(time.Second), "usual", c.Usual)
}

const (
	silenceBegun     = "silence"
	silenceOver      = "the silence is over"
	silenceForgotten = "the silence has lasted so long that it is usual now"
)

func (w *watch) lookAt(s *listened, now time.Time) (news []change) {
	// The whole source.
	heard := later(later(s.heard, w.begun), w.held)
	switch {
	case s.silent.IsZero() && s.failing() && now.Sub(heard) >= failedFor:
		s.silent = heard
		news = append(news, change{Silence{Since: heard}, silenceBegun, slog.LevelWarn})
	case s.heard.After(s.silent) && !s.silent.IsZero():
		news = append(news, change{Silence{Since: s.silent}, silenceOver, slog.LevelInfo})
		s.silent = time.Time{}
	}
	if !s.silent.IsZero() {
		s.away = now
	}
	quiet := 0
	for name, r := range s.feeds {
		n := w.lookFor(r, s.feeds, name, w.base(r, s.away), now)
		for i := range n {
			n[i].Feed = name
		}
		news = append(news, n...)
		if !r.silent.IsZero() {
			quiet++
		}
	}
	if !s.silent.IsZero() || quiet > 0 && quiet == len(s.feeds) {
		s.mute = now
	}
	for name, r := range s.types {
		n := w.lookFor(r, s.types, name, w.base(r, s.mute), now)
		for i := range n {
			n[i].EventType = name
		}
		news = append(news, n...)
	}
	return news
}

// lookFor looks at one rhythm, of which a pause counts from base on.
func (w *watch) lookFor(r *rhythm, of map[string]*rhythm, name string, base, now time.Time) []change {
	usual, silence := r.usual(base.UnixMilli())
	switch {
	case !r.silent.IsZero() && r.last.After(r.silent):
		over := change{Silence{Since: r.silent, Usual: usual}, silenceOver, slog.LevelInfo}
		r.silent = time.Time{}
		return []change{over}
	case !r.silent.IsZero() && now.Sub(r.silent) > missed+silence:
		delete(of, name)
		return []change{{Silence{Since: r.silent, Usual: usual}, silenceForgotten, slog.LevelWarn}}
	case r.silent.IsZero() && r.known() && now.Sub(base) >= silence:
		r.silent = r.last
		return []change{{Silence{Since: r.silent, Usual: usual}, silenceBegun, slog.LevelWarn}}
	case !r.known() && now.Sub(later(r.last, w.begun)) > strange:
		delete(of, name)
	}
	return nil
}

// silences are those that go on, in order of their names.
func (w *watch) silences() (all []Silence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for source, s := range w.sources {
		if !s.silent.IsZero() {
			all = append(all, Silence{Source: source, Since: s.silent})
		}
		for feed, r := range s.feeds {
			if !r.silent.IsZero() && !r.last.After(r.silent) {
				all = append(all, r.silence(source, feed, ""))
			}
		}
		for name, r := range s.types {
			if !r.silent.IsZero() && !r.last.After(r.silent) {
				all = append(all, r.silence(source, "", name))
			}
		}
	}
	slices.SortFunc(all, func(a, b Silence) int {
		return strings.Compare(a.Source+"\x00"+a.Feed+"\x00"+a.EventType, b.Source+"\x00"+b.Feed+"\x00"+b.EventType)
	})
	return all
}

func (r *rhythm) silence(source, feed, eventType string) Silence {
	usual, _ := r.usual(r.silent.UnixMilli())
	return Silence{Source: source, Feed: feed, EventType: eventType, Since: r.silent, Usual: usual}
}
