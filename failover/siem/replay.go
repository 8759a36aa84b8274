package siem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jurymast/jurymast/internal/disk"
	"github.com/jurymast/jurymast/resilience"
)

// Replay sends the dead letters that pick accepts, nil for all, to the sinks again: a
// refused row as it is, an event that no row could be made of through the Mapping.
// Those that a sink takes are removed; those that are refused again stay, and so does
// a line that is no letter. It returns how many were delivered, and ends with the
// first failure that is no refusal. The letters that come meanwhile are not looked at.
//
// A letter is removed after it is delivered: a crash in between delivers it twice,
// with the same JurymastId. What a sink other than the primary takes is not part of
// Config.Backfill. Run may run at the same time, a second Replay may not.
func (p *Pump) Replay(ctx context.Context, pick func(DeadLetter) bool) (delivered int, err error) {
	if !p.redo.CompareAndSwap(false, true) {
		return 0, resilience.Misusef("siem: Replay is running already")
	}
	defer p.redo.Store(false)
	if err := p.dead.rotate(ctx); err != nil {
		return 0, fmt.Errorf("siem: replay: %w", err)
	}
	files, err := p.dead.list()
	if err != nil {
		return 0, fmt.Errorf("siem: replay: %w", err)
	}
	for _, x := range files {
		n, err := p.replay(ctx, x.path, pick)
		delivered += n
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody took it away
		}
		if err != nil {
			return delivered, fmt.Errorf("siem: replay: %w", err)
		}
	}
	return delivered, nil
}

// replay deals with one file. What stays of it is written anew and takes its place.
func (p *Pump) replay(ctx context.Context, path string, pick func(DeadLetter) bool) (delivered int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	rest := &rest{path: path}
	defer rest.drop()
	r := replayer{pump: p, pick: pick}
	var failed error // of the sinks: nothing more is sent, and the rest stays
	flush := func() error {
		if failed == nil && ctx.Err() == nil {
			failed = r.send(ctx)
		}
		for _, l := range r.letters {
			if l.waits == 0 {
				delivered++
			}
		}
		for _, l := range r.letters {
			if l.waits == 0 {
				continue
			}
			if err := rest.add(l.line); err != nil {
				return err
			}
		}
		r.letters, r.bytes = r.letters[:0], 0
		return nil
	}
	for l, err := range readLetters(f, filepath.Base(path)) {
		if l.line == nil {
			return delivered, err // and the file stays as it is
		}
		r.add(l, err != nil || failed != nil || ctx.Err() != nil)
		if r.bytes < maxBatch {
			continue
		}
		if err := flush(); err != nil {
			return delivered, err
		}
	}
	if err := flush(); err != nil {
		return delivered, err
	}
	if delivered > 0 {
		if err := rest.replace(); err != nil {
			return delivered, err
		}
	}
	if failed == nil && ctx.Err() != nil {
		failed = context.Cause(ctx)
	}
	return delivered, failed
}

// replayer collects letters and sends their rows, a table at a time.
type replayer struct {
	pump    *Pump
	pick    func(DeadLetter) bool
	letters []*returning
	bytes   int
}

// returning is a letter on its way back.
type returning struct {
	line  []byte
	time  time.Time // when it happened, or when it was buried
	rows  []returningRow
	waits int // for so many of its rows, or for ever
}

type returningRow struct {
	table string
	row   json.RawMessage
	of    *returning
}

const never = 1

// add takes a letter; stays says that it is none, or not to be sent.
func (r *replayer) add(l storedLetter, stays bool) {
	out := &returning{line: l.line, waits: never}
	r.letters = append(r.letters, out)
	r.bytes += len(l.line)
	if stays || r.pick != nil && !r.pick(l.DeadLetter) {
		return
	}
	e := l.event()
	out.time = e.Time
	var rows Rows
	if l.Table != "" {
		rows.Add(l.Table, l.Row)
	} else if r.pump.mapped(e, &rows) != nil {
		return
	}
	if rows.check() != nil {
		return // it stays as it is
	}
	for _, w := range rows.rows {
		out.rows = append(out.rows, returningRow{w.table, rows.bytes(w), out})
	}
	out.waits = len(out.rows)
}

// event is what the letter was made of.
func (letter *DeadLetter) event() *Event {
	e := &Event{
		ID: letter.ID, Offset: letter.Offset, Time: letter.Time, Type: letter.Type,
		Raw: json.RawMessage(letter.Raw), Feed: letter.Feed,
	}
	e.Source = sourceOf(letter.Feed)
	if e.Time.IsZero() {
		e.Time = letter.At
	}
	if e.ID == "" && e.Offset == 0 {
		// Nothing but when it was buried tells it from others that could not be read.
		e.ID = letter.Feed + ":dead:" + letter.At.Format(time.RFC3339Nano)
	}
	e.id()
	return e
}

func (r *replayer) send(ctx context.Context) error {
	var tables []string
	by := map[string][]returningRow{}
	for _, l := range r.letters {
		for _, row := range l.rows {
			if by[row.table] == nil {
				tables = append(tables, row.table)
			}
			by[row.table] = append(by[row.table], row)
		}
	}
	s := &sender{pump: r.pump, group: r.pump.group}
	for _, table := range tables {
		if err := s.sendBack(ctx, table, by[table]); err != nil {
			return err
		}
	}
	return nil
}

// sendBack sends rows once, and in halves if they are too many or refused.
func (s *sender) sendBack(ctx context.Context, table string, rows []returningRow) error {
	b := &Batch{Table: table, Oldest: rows[0].of.time, Newest: rows[0].of.time}
	all := make([]json.RawMessage, len(rows))
	for i, x := range rows {
		all[i] = x.row
		if t := x.of.time; t.Before(b.Oldest) {
			b.Oldest = t
		} else if t.After(b.Newest) {
			b.Newest = t
		}
	}
	b = b.part(all)
	many := len(rows) > 1
	if !many || b.Bytes <= maxBatch {
		a, _, err := s.try(ctx, b)
		if err != nil {
			return err
		}
		if a.refused == nil {
			s.accept(rows, a.receipt)
		}
		if a.refused == nil || !many {
			return nil
		}
	}
	half := len(rows) / 2
	if err := s.sendBack(ctx, table, rows[:half]); err != nil {
		return err
	}
	return s.sendBack(ctx, table, rows[half:])
}

func (s *sender) accept(rows []returningRow, r Receipt) {
	not := map[int]bool{}
	for _, x := range r.Rejected {
		not[x.Index] = true
	}
	for _, i := range r.Unknown {
		not[i] = true
	}
	for i, x := range rows {
		if !not[i] {
			x.of.waits--
		}
	}
	s.pump.counts.delivered.Add(int64(len(rows) - len(not)))
}

// rest is what stays of a file, in the making.
type rest struct {
	path string
	f    *os.File
}

const restSuffix = ".rest"

func (r *rest) add(line []byte) (err error) {
	if r.f == nil {
		if r.f, err = os.OpenFile(r.path+restSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	_, err = r.f.Write(line)
	return err
}

// replace puts it into the place of the file, which goes if nothing stays.
func (r *rest) replace() error {
	err := error(nil)
	if r.f == nil {
		err = os.Remove(r.path)
	} else if err = r.f.Sync(); err == nil {
		err = os.Rename(r.f.Name(), r.path)
	}
	if err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(r.path))
}

// drop removes what did not take the file's place.
func (r *rest) drop() {
	if r.f != nil {
		_ = r.f.Close()
		_ = os.Remove(r.f.Name()) // no harm if it has another name by now
	}
}
