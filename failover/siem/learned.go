package siem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
)

// What was learned outlives the process, as one record of the pump's store. It is no
// more than that: damaged, or of another release, it is learned again.

const (
	learnedKey     = "siem/rhythm"
	learnedVersion = 1
)

type learnedRecord struct {
	Version int             `json:"version"`
	Rhythms []learnedRhythm `json:"rhythms"`
}

type learnedRhythm struct {
	Source string         `json:"source"`
	Feed   string         `json:"feed,omitempty"`
	Type   string         `json:"type,omitempty"` // empty: it is the feed's
	Last   time.Time      `json:"last"`
	Silent time.Time      `json:"silent,omitzero"`
	Beats  int64          `json:"beats,omitempty"`
	Events int64          `json:"events,omitempty"`
	First  int64          `json:"first,omitempty"`
	Newest int64          `json:"newest,omitempty"`
	Hours  int64          `json:"hours,omitempty"`
	Days   int64          `json:"days,omitempty"`
	Hour   int64          `json:"hour,omitempty"`
	Pauses []learnedPause `json:"pauses,omitempty"`
}

// learnedPause is the hour of the day, or 24 for the pause between signs of life, the
// longest one in milliseconds, and pause's days and day.
type learnedPause [4]int64

func (r *rhythm) record() learnedRhythm {
	out := learnedRhythm{
		Last: r.last.UTC(), Silent: r.silent.UTC(), Beats: r.beats, Events: r.events,
		First: r.first, Newest: r.newest, Hours: r.hours, Days: r.days, Hour: r.hour,
	}
	for i, p := range append(r.pauses[:], r.between) {
		if p != (pause{}) {
			out.Pauses = append(out.Pauses, learnedPause{int64(i), p.longest.Milliseconds(), p.days, p.day})
		}
	}
	return out
}

var errLearned = errors.New("siem: what was learned of the sources is not readable")

func (l *learnedRhythm) rhythm() (*rhythm, error) {
	r := &rhythm{
		last: l.Last, silent: l.Silent, beats: l.Beats, events: l.Events,
		first: l.First, newest: l.Newest, hours: l.Hours, days: l.Days, hour: l.Hour,
	}
	for _, n := range []int64{l.Beats, l.Events, l.Hours, l.Days, l.Hour} {
		if n < 0 {
			return nil, errLearned
		}
	}
	for _, p := range l.Pauses {
		if p[0] < 0 || p[0] > 24 || p[1] < 0 || p[1] > mostPause.Milliseconds() || p[2] < 0 || p[3] < 0 {
			return nil, errLearned
		}
		at := &r.between
		if p[0] < 24 {
			at = &r.pauses[p[0]]
		}
		*at = pause{time.Duration(p[1]) * time.Millisecond, p[2], p[3]}
	}
	return r, nil
}

// parseLearned reads a record. One of another version is none.
func parseLearned(value []byte) ([]learnedRhythm, error) {
	var rec learnedRecord
	if err := json.Unmarshal(value, &rec); err != nil {
		return nil, fmt.Errorf("%w: %w", errLearned, err)
	}
	if rec.Version != learnedVersion {
		return nil, fmt.Errorf("%w: it is of version %d", errLearned, rec.Version)
	}
	return rec.Rhythms, nil
}

// load takes in what was learned before, of the sources that there still are.
func (w *watch) load(ctx context.Context) {
	e, err := w.pump.state.Get(ctx, learnedKey)
	var all []learnedRhythm
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return
	case err == nil:
		w.rev = e.Rev
		all, err = parseLearned(e.Value)
	default:
		if corrupt, ok := errors.AsType[*kv.CorruptError](err); ok && corrupt.Key != "" {
			err = errors.Join(err, w.pump.state.Delete(ctx, learnedKey, 0))
		}
	}
	if err == nil {
		err = w.take(all)
	}
	if err != nil {
		w.pump.config.Logger.WarnContext(ctx, "siem: how often the sources speak is learned again", "error", err)
	}
}

func (w *watch) take(all []learnedRhythm) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	named := func(name string) bool {
		return slices.ContainsFunc(w.pump.config.Sources, func(s Source) bool { return s.Name() == name })
	}
	for i := range all {
		l := &all[i]
		r, err := l.rhythm()
		if err != nil {
			w.sources = map[string]*listened{}
			return err
		}
		if !named(l.Source) {
			continue
		}
		s := w.source(l.Source)
		if l.Type == "" && len(s.feeds) <= mostFeeds {
			s.feeds[l.Feed] = r
		} else if l.Type != "" && len(s.types) <= mostTypes {
			s.types[l.Type] = r
		}
	}
	return nil
}

// save keeps what was learned, if it is news. That it cannot is no reason to stop.
func (w *watch) save(ctx context.Context) {
	value, news := w.record()
	if !news {
		return
	}
	rev, err := w.pump.state.Put(ctx, learnedKey, value, w.rev)
	if err == nil {
		w.rev = rev
		return
	}
	w.pump.config.Logger.WarnContext(ctx, "siem: how often the sources speak is not saved", "error", err)
	w.mu.Lock()
	w.changed = true // for the next time
	w.mu.Unlock()
	if e, err := w.pump.state.Get(ctx, learnedKey); err == nil {
		w.rev = e.Rev // the error did not say whether it was kept
	}
}

func (w *watch) record() (value []byte, news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.changed {
		return nil, false
	}
	w.changed = false
	rec := learnedRecord{Version: learnedVersion}
	for _, source := range slices.Sorted(maps.Keys(w.sources)) {
		s := w.sources[source]
		for _, feed := range slices.Sorted(maps.Keys(s.feeds)) {
			l := s.feeds[feed].record()
			l.Source, l.Feed = source, feed
			rec.Rhythms = append(rec.Rhythms, l)
		}
		for _, name := range slices.Sorted(maps.Keys(s.types)) {
			l := s.types[name].record()
			l.Source, l.Type = source, name
			rec.Rhythms = append(rec.Rhythms, l)
		}
	}
	value, err := json.Marshal(rec)
	return value, err == nil // it is numbers, texts and times of our own
}
