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

// The types of events that are alerts: a line of the stream, and what the alerts API
// tells of one.
const (
	eppEvent   = "EppDetectionSummaryEvent"
	alertEvent = "Alert"
)

// SentinelRows is a siem.Mapping to the columns of Microsoft's own connector, so that
// queries for its table CrowdStrikeAlerts work: alerts of the alerts API (type "Alert")
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

// alert is an event that is one, taken apart so far that it can be written.
type alert struct {
	event *siem.Event
	text  jsonscan.Text
	body  int // where the object with its fields begins
	epp   bool
	line  bool // it is a line of the stream
	cid   span // of the line
	outer [8]span
	n     int // of outer: members of the line beside its event
}

// span is a part of the text.
type span struct{ from, to int }

// read finds the parts. false: the event is no alert, or not one of the form that is
// known; invalid JSON is no alert either.
func (a *alert) read(e *siem.Event) bool {
	a.event, a.text = e, jsonscan.Text(e.Raw)
	start := a.text.Space(0)
	if start >= len(a.text) || a.text[start] != '{' {
		return false
	}
	switch e.Type {
	case alertEvent:
		a.body = start
		return a.object(start)
	case eppEvent:
		a.line, a.epp, a.body = true, true, -1
		return a.lineOf(start) && a.body >= 0
	}
	return false
}

// object reads an alert of the API.
func (a *alert) object(start int) bool {
	i, more := a.text.Open(start, '}')
	for more {
		name, at := a.text.Key(i)
		end := a.text.Value(at, 1)
		if end >= 0 && string(name) == `"product"` {
			a.epp = string(a.text[at:end]) == `"epp"`
		}
		i, more = a.text.Next(end, '}')
	}
	return i >= 0 && a.text.Space(i) == len(a.text)
}

// lineOf reads a line of the stream: metadata, event and whatever else there is.
func (a *alert) lineOf(start int) bool {
	i, more := a.text.Open(start, '}')
	for more {
		name, at := a.text.Key(i)
		end := a.text.Value(at, 1)
		if end < 0 {
			return false
		}
		if a.text[at] == '{' && string(name) == `"event"` && a.body < 0 {
			a.body = at
		} else {
			if a.n == len(a.outer) {
				return false // no line that Falcon writes
			}
			a.outer[a.n] = span{i, end}
			a.n++
			if a.text[at] == '{' && string(name) == `"metadata"` {
				a.metadata(at)
			}
		}
		i, more = a.text.Next(end, '}')
	}
	return i >= 0 && a.text.Space(i) == len(a.text)
}

// metadata reads an object that is valid.
func (a *alert) metadata(start int) {
	i, more := a.text.Open(start, '}')
	for more {
		name, at := a.text.Key(i)
		end := a.text.Value(at, 2)
		if string(name) == `"customerIDString"` && a.text[at] == '"' {
			a.cid = span{at, end}
		}
		i, more = a.text.Next(end, '}')
	}
}

// row appends the alert as a row of a table.
func (a *alert) row(b []byte, s *schema) []byte {
	b = append(b, `{"TimeGenerated":"`...)
	b = siem.AppendTime(b, a.event.Time)
	b = append(b, `","JurymastId":`...)
	b = siem.AppendString(b, a.event.ID)
	b = append(b, `,"Source":`...)
	b = siem.AppendString(b, a.event.Source)
	b = append(b, `,"EventType":"`...)
	b = append(append(b, a.event.Type...), '"')
	var few [64]span // so that it takes no allocation
	w := writer{text: a.text, b: b, rest: append(few[:0], a.outer[:a.n]...)}
	if a.line {
		w.b = append(w.b, `,"Product":"epp","CreatedTimestamp":"`...)
		w.b = append(siem.AppendTime(w.b, a.event.Time), '"')
		if a.cid.to > 0 {
			w.b = append(append(w.b, `,"Cid":`...), a.text[a.cid.from:a.cid.to]...)
		}
		w.members(a.body, s, s.ofLine, true)
	} else {
		w.members(a.body, s, s.ofAlert, true)
	}
	if w.device > 0 {
		w.members(w.device, s, s.ofDevice, false)
	}
	return append(w.unmapped(), '}')
}

// writer makes a row's columns. What it reads is valid.
type writer struct {
	text   jsonscan.Text
	b      []byte
	done   columnSet // columns that are written
	rest   []span    // members that no column takes
	device int       // where the alert's device begins
}

// members writes those members of an object that have a column by this index of names.
// The others are kept if keep says so.
func (w *writer) members(start int, s *schema, index map[string]uint8, keep bool) {
	i, more := w.text.Open(start, '}')
	for more {
		name, at := w.text.Key(i)
		end := w.text.Value(at, 2)
		switch n, ok := index[string(name)]; {
		case ok && w.text[at] == 'n': // null says nothing
		case ok && !w.done.has(n) && w.column(&s.columns[n], w.text[at:end]):
			w.done.add(n)
			if w.text[at] == '{' && s.columns[n].name == "Device" {
				w.device = at
			}
		case keep:
			w.rest = append(w.rest, span{i, end})
		}
		i, more = w.text.Next(end, '}')
	}
}

// column writes a column. false: the value is not of its type.
func (w *writer) column(c *column, value []byte) bool {
	before := len(w.b)
	b, ok := c.kind.append(append(w.b, c.key...), value)
	if !ok {
		b = b[:before]
	}
	w.b = b
	return ok
}

// unmapped appends the column for the rest.
func (w *writer) unmapped() []byte {
	if len(w.rest) == 0 {
		return w.b
	}
	w.b = append(w.b, `,"Unmapped":`...)
	separator := byte('{')
	for _, s := range w.rest {
		w.b = append(w.b, separator)
		w.b = append(w.b, w.text[s.from:s.to]...)
		separator = ','
	}
	return append(w.b, '}')
}
