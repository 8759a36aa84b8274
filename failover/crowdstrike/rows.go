package crowdstrike

import (
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/internal/jsonscan"
)

// Tables of [SentinelRows] beside siem.EventsTable.
const (
	AlertsTable     = "CrowdStrikeAlerts"
	DetectionsTable = "CrowdStrikeDetections"
)

// eppEvent is the type of the stream's events that are alerts.
const eppEvent = "EppDetectionSummaryEvent"

// SentinelRows is a siem.Mapping to the columns of Microsoft's own connector, so that
// queries for its table CrowdStrikeAlerts work: alerts of the alerts API ([AlertType])
// and the stream's EppDetectionSummaryEvent become rows of [AlertsTable]. Events of any
// other type, known or not, go to siem.EventsTable as they are, as by siem.Envelope:
// nothing is dropped. examples/falcon2sentinel/azure has the tables.
//
// A row of an alert has, beside those columns, JurymastId, Source, EventType and
// Unmapped: a dynamic object with all that has no column, under Falcon's names, and with
// values that are not of their column's type, which Azure Monitor would turn into null.
// Numbers keep all their digits. TimeGenerated is the event's time; of a stream event so
// is CreatedTimestamp.
//
// Microsoft's connector stores every endpoint alert twice, a second time in
// CrowdStrikeDetections. Here it is stored once: the template has a function of that
// name which shows the endpoint alerts. [SentinelRowsWithDetections] fills a table.
//
// A stream event has other names and forms for lists of files, connections and the
// sensor's actions; these are in Unmapped, and so are a legacy DetectionSummaryEvent's
// fields in siem.EventsTable, because its Severity ends at 5.
func SentinelRows(e *siem.Event, rows *siem.Rows) error { return sentinelRows(e, rows, false) }

// SentinelRowsWithDetections is [SentinelRows] with a second row, in [DetectionsTable],
// of every endpoint alert (product epp), for queries that need the columns which only
// that table has. It doubles what Azure bills for endpoint alerts.
func SentinelRowsWithDetections(e *siem.Event, rows *siem.Rows) error {
	return sentinelRows(e, rows, true)
}

// SentinelStreams are the streams that examples/falcon2sentinel/azure declares, by the
// tables of [SentinelRows]: for microsoft.SinkConfig.Streams.
func SentinelStreams() map[string]string {
	return map[string]string{
		siem.EventsTable: "Custom-FalconEvents_CL",
		AlertsTable:      "Custom-CrowdStrikeAlerts_CL",
		DetectionsTable:  "Custom-CrowdStrikeDetections_CL",
	}
}

func sentinelRows(e *siem.Event, rows *siem.Rows, detections bool) error {
	var a alert
	if !a.read(e) {
		return siem.Envelope(e, rows)
	}
	rows.Append(AlertsTable, func(b []byte) []byte { return a.row(b, alertsSchema) })
	if detections && a.epp {
		rows.Append(DetectionsTable, func(b []byte) []byte { return a.row(b, detectionsSchema) })
	}
	return nil
}

// alert is an event that is one, taken apart.
type alert struct {
	event *siem.Event
	text  jsonscan.Text
	epp   bool
	line  bool // it is a line of the stream
	cid   span // of the line
	of    fields
	outer [8]field // of the line, beside its event
	n     int
}

// span is a part of a text.
type span struct{ from, to int32 }

func (s span) of(text jsonscan.Text) []byte { return text[s.from:s.to] }

// field is a member of an object.
type field struct{ name, value span }

// fields are those of an object, the first of them without an allocation.
type fields struct {
	few  [64]field
	n    int
	many []field
}

func (f *fields) add(x field) {
	if f.n < len(f.few) {
		f.few[f.n] = x
		f.n++
		return
	}
	f.many = append(f.many, x)
}

// read takes the event apart. false: it is no alert, or not one of the form that is
// known; invalid JSON is no alert either.
func (a *alert) read(e *siem.Event) bool {
	a.event, a.text = e, jsonscan.Text(e.Raw)
	start := a.text.Space(0)
	if start >= len(a.text) || a.text[start] != '{' || len(a.text) > maxEvent {
		return false
	}
	end := -1
	switch e.Type {
	case AlertType:
		end = a.fields(start, 1, &a.of)
	case eppEvent:
		end = a.stream(start)
	}
	return end >= 0 && a.text.Space(end) == len(a.text)
}

// maxEvent is far above what a row may have.
const maxEvent = 1 << 30

// fields reads an object's fields and returns the position after it, or -1.
func (a *alert) fields(start, depth int, into *fields) int {
	i, more := a.text.Open(start, '}')
	for more {
		name, at := a.text.Key(i)
		end := a.text.Value(at, depth)
		if end < 0 {
			return -1
		}
		if a.text[at] == '"' && string(name) == `"product"` {
			a.epp = string(a.text[at:end]) == `"epp"`
		}
		into.add(field{span{int32(i), int32(i + len(name))}, span{int32(at), int32(end)}})
		i, more = a.text.Next(end, '}')
	}
	return i
}

// stream reads a line of the stream: metadata, event and whatever else there is.
func (a *alert) stream(start int) int {
	i, more := a.text.Open(start, '}')
	for more {
		name, at := a.text.Key(i)
		if at >= 0 && at < len(a.text) && a.text[at] == '{' && !a.line && string(name) == `"event"` {
			a.line = true
			i, more = a.text.Next(a.fields(at, 2, &a.of), '}')
			continue
		}
		end := a.text.Value(at, 1)
		if end < 0 {
			return -1
		}
		if a.text[at] == '{' && string(name) == `"metadata"` {
			a.metadata(at)
		}
		if a.n == len(a.outer) {
			return -1 // Falcon writes two
		}
		a.outer[a.n] = field{span{int32(i), int32(i + len(name))}, span{int32(at), int32(end)}}
		a.n++
		i, more = a.text.Next(end, '}')
	}
	if !a.line {
		return -1
	}
	a.epp = true
	return i
}

// metadata reads an object that is valid.
func (a *alert) metadata(start int) {
	i, more := a.text.Open(start, '}')
	for more {
		name, at := a.text.Key(i)
		end := a.text.Value(at, 2)
		if a.text[at] == '"' && string(name) == `"customerIDString"` {
			a.cid = span{int32(at), int32(end)}
		}
		i, more = a.text.Next(end, '}')
	}
}

// row appends the alert as a row of a table.
func (a *alert) row(b []byte, s *schema) []byte {
	b = append(b, `{"TimeGenerated":"`...)
	at := len(b)
	b = siem.AppendTime(b, a.event.Time)
	stamp := b[at:]
	b = append(b, `","JurymastId":`...)
	b = siem.AppendString(b, a.event.ID)
	b = append(b, `,"Source":`...)
	b = siem.AppendString(b, a.event.Source)
	b = append(b, `,"EventType":"`...)
	b = append(append(b, a.event.Type...), '"')
	index := s.ofAlert
	w := writer{text: a.text, schema: s}
	if a.line {
		index = s.ofLine
		b = append(b, `,"Product":"epp","CreatedTimestamp":"`...)
		b = append(append(b, stamp...), '"')
		if a.cid.to > 0 {
			b = append(append(b, `,"Cid":`...), a.cid.of(a.text)...)
		}
	}
	w.b = b
	for _, f := range a.outer[:a.n] {
		w.keep(f)
	}
	w.fields(a.of.few[:a.of.n], index)
	w.fields(a.of.many, index)
	if w.device > 0 {
		w.deviceFields()
	}
	return append(w.unmapped(), '}')
}

// writer makes a row's columns. What it reads is valid.
type writer struct {
	text   jsonscan.Text
	schema *schema
	b      []byte
	done   columnSet // columns that are written
	device int       // where the alert's device begins

	// Fields that no column takes, the first of them without an allocation.
	few  [32]span
	n    int
	many []span
}

func (w *writer) keep(f field) {
	s := span{f.name.from, f.value.to}
	if w.n < len(w.few) {
		w.few[w.n] = s
		w.n++
		return
	}
	w.many = append(w.many, s)
}

// fields writes those that have a column by this index of names, and keeps the others.
func (w *writer) fields(all []field, index map[string]uint8) {
	for _, f := range all {
		value := f.value.of(w.text)
		n, ok := index[string(f.name.of(w.text))]
		switch {
		case ok && value[0] == 'n': // null says nothing
		case ok && w.column(n, value):
			if value[0] == '{' && w.schema.columns[n].name == "Device" {
				w.device = int(f.value.from)
			}
		default:
			w.keep(f)
		}
	}
}

// deviceFields writes those of the device that have columns of their own. The column
// Device has them all.
func (w *writer) deviceFields() {
	i, more := w.text.Open(w.device, '}')
	for more {
		name, at := w.text.Key(i)
		end := w.text.Value(at, 2)
		if n, ok := w.schema.ofDevice[string(name)]; ok && w.text[at] != 'n' {
			w.column(n, w.text[at:end])
		}
		i, more = w.text.Next(end, '}')
	}
}

// column writes a column. false: it is written already, or the value is not of its type.
func (w *writer) column(n uint8, value []byte) bool {
	if w.done.has(n) {
		return false
	}
	c := &w.schema.columns[n]
	b, ok := c.kind.append(append(w.b, c.key...), value)
	if ok {
		w.b = b
		w.done.add(n)
	}
	return ok
}

// unmapped appends the column for the rest.
func (w *writer) unmapped() []byte {
	if w.n == 0 {
		return w.b
	}
	b := append(w.b, `,"Unmapped":`...)
	separator := byte('{')
	for _, part := range [][]span{w.few[:w.n], w.many} {
		for _, s := range part {
			b = append(b, separator)
			b = append(b, s.of(w.text)...)
			separator = ','
		}
	}
	return append(b, '}')
}
