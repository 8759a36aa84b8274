package siem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

// Mapping makes the rows of an event, in one or more tables, by [Rows.Add]. It is
// called once an event, before the spool, by several goroutines. An event whose
// Mapping fails goes to the dead letters with the error; an event without a row is
// left out, on purpose.
type Mapping func(e *Event, rows *Rows) error

// Rows collects what a Mapping makes of one event.
type Rows struct {
	buf  []byte
	rows []row
}

type row struct {
	table    string
	from, to int
	checked  bool
}

// Add takes a row: a JSON object. It is copied.
func (r *Rows) Add(table string, object []byte) {
	from := len(r.buf)
	r.buf = append(r.buf, object...)
	r.rows = append(r.rows, row{table: table, from: from, to: len(r.buf)})
}

// Append is Add for a row that is made in place: write appends it to what it is given.
func (r *Rows) Append(table string, write func([]byte) []byte) {
	from := len(r.buf)
	r.buf = write(r.buf)
	r.rows = append(r.rows, row{table: table, from: from, to: len(r.buf)})
}

func (r *Rows) reset() { r.buf, r.rows = r.buf[:0], r.rows[:0] }

func (r *Rows) bytes(w row) []byte { return r.buf[w.from:w.to] }

var (
	errNoObject  = errors.New("a row must be one JSON object")
	errTableName = errors.New("the name of a table must have 1 to 128 bytes")
)

// check makes sure of every row: one object on one line, no longer than a batch.
func (r *Rows) check() error {
	for i := range r.rows {
		w := &r.rows[i]
		if w.table == "" || len(w.table) > 128 {
			return errTableName
		}
		text := r.bytes(*w)
		if !w.checked && !object(text) {
			return fmt.Errorf("table %s: %w", w.table, errNoObject)
		}
		if bytes.IndexByte(text, '\n') >= 0 { // between values: in strings JSON forbids it
			var line bytes.Buffer
			if err := json.Compact(&line, text); err != nil {
				return fmt.Errorf("table %s: %w", w.table, errNoObject)
			}
			w.from = len(r.buf)
			r.buf = append(r.buf, line.Bytes()...)
			w.to = len(r.buf)
		}
		if n := w.to - w.from; n > maxRow {
			return fmt.Errorf("table %s: the row has %d bytes, more than %d", w.table, n, maxRow)
		}
	}
	return nil
}

// object reports that text is one JSON object and nothing else.
func object(text jsonscan.Text) bool {
	start := text.Space(0)
	if start >= len(text) || text[start] != '{' {
		return false
	}
	end := text.Value(start, 0)
	return end >= 0 && text.Space(end) == len(text)
}

// EventsTable is the table of [Envelope].
const EventsTable = "events"

// Envelope is the default Mapping: one row in the table "events", the event as it
// came in the column Event, beside what every query needs.
//
//	{"TimeGenerated":"2026-11-24T16:30:00.123Z","JurymastId":"cid:0:4711","Source":"falcon","EventType":"...","Event":{...}}
func Envelope(e *Event, rows *Rows) error {
	if !e.Valid && !object(jsonscan.Text(e.Raw)) {
		return fmt.Errorf("event %s: %w", e.ID, errNoObject)
	}
	from := len(rows.buf)
	b := append(rows.buf, `{"TimeGenerated":"`...)
	b = AppendTime(b, e.Time)
	b = append(b, `","JurymastId":`...)
	b = AppendString(b, e.ID)
	b = append(b, `,"Source":`...)
	b = AppendString(b, e.Source)
	b = append(b, `,"EventType":`...)
	b = AppendString(b, e.Type)
	b = append(b, `,"Event":`...)
	b = append(b, e.Raw...)
	rows.buf = append(b, '}')
	rows.rows = append(rows.rows, row{table: EventsTable, from: from, to: len(rows.buf), checked: true})
	return nil
}

// AppendTime appends t as Azure Monitor reads it: ISO 8601 in UTC, to the millisecond.
func AppendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// AppendString appends s as a JSON string.
func AppendString(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c >= 0x7F || c == '"' || c == '\\' || c == '<' {
			text, _ := json.Marshal(s) // fails for no string
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// AppendNumber appends n as JSON.
func AppendNumber(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }
