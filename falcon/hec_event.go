package falcon

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// HECEvent is a structured event. Event is required; what else is empty is left out.
type HECEvent struct {
	// Event is what happened: anything that encoding/json makes JSON of, for
	// instance a struct, a json.RawMessage or a string.
	Event any
	// Time is when it happened, kept to the millisecond. Default: Falcon's own, when
	// it arrives.
	Time       time.Time
	Host       string
	Source     string
	SourceType string
	Index      string
	// Fields are searchable beside what the parser finds in Event.
	Fields map[string]string
}

// line is the event as it is sent, with the end of the line.
func (e HECEvent) line() ([]byte, error) {
	out := struct {
		Time       json.RawMessage   `json:"time,omitempty"`
		Host       string            `json:"host,omitempty"`
		Source     string            `json:"source,omitempty"`
		SourceType string            `json:"sourcetype,omitempty"`
		Index      string            `json:"index,omitempty"`
		Event      json.RawMessage   `json:"event"`
		Fields     map[string]string `json:"fields,omitempty"`
	}{nil, e.Host, e.Source, e.SourceType, e.Index, nil, e.Fields}
	if !e.Time.IsZero() {
		// Seconds since 1970, with the milliseconds after the point.
		out.Time = strconv.AppendFloat(nil, float64(e.Time.UnixMilli())/1000, 'f', 3, 64)
	}
	var err error
	if out.Event, err = encoded(e.Event); err != nil {
		return nil, err
	}
	if s := string(bytes.TrimSpace(out.Event)); s == "null" || s == `""` {
		return nil, errors.New("HECEvent.Event is empty")
	}
	return encoded(out)
}

// encoded is JSON without the escapes that HTML wants.
func encoded(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// batch is one request's events, compressed.
type batch struct {
	events int
	body   []byte
}

// batched makes batches of n lines, none of more than limit bytes. All are made
// before the first is sent, so that a bad line is found before anything happened;
// compressed, they take little room.
func batched(name string, limit, n int, line func(int) ([]byte, error)) (out []batch, err error) {
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	events, size := 0, 0
	flush := func() {
		if events > 0 {
			_ = zip.Close() // a buffer takes everything
			out = append(out, batch{events, bytes.Clone(body.Bytes())})
			body.Reset()
			zip.Reset(&body)
			events, size = 0, 0
		}
	}
	for i := range n {
		l, err := line(i)
		if err != nil {
			return nil, resilience.Misusef("falcon %s: event %d of %d: %w; nothing was sent", name, i, n, err)
		}
		if len(l) > limit {
			return nil, resilience.Misusef("falcon %s: event %d of %d has %d bytes, and HECConfig.MaxBatch is %d; nothing was sent", name, i, n, len(l), limit)
		}
		if size+len(l) > limit {
			flush()
		}
		_, _ = zip.Write(l)
		events, size = events+1, size+len(l)
	}
	flush()
	return out, nil
}
