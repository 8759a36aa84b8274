package falcon

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"testing"
	"time"
)

// eventsEnv names a file with samples of the event stream (Apache-2.0, by Panther,
// so not part of this repository). Their times are not as on the wire.
const eventsEnv = "JURYMAST_FALCON_EVENTS"

func TestEventTime(t *testing.T) {
	want := time.Date(2024, 6, 25, 10, 6, 34, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"1719309994":                    want, // seconds, as in old events
		"1719309994000":                 want,
		"1719309994.25":                 want.Add(250 * time.Millisecond),
		"1.719309994e12":                want,
		"2024-06-25T10:06:34Z":          want,
		"2024-06-25T12:06:34.5+02:00":   want.Add(500 * time.Millisecond),
		"2024-06-25 10:06:34.000000000": want,
		"100000000000":                  time.Date(5138, 11, 16, 9, 46, 40, 0, time.UTC),
		"100000000001":                  time.Date(1973, 3, 3, 9, 46, 40, 1e6, time.UTC),
		"0":                             {},
		"-1":                            {},
		"NaN":                           {},
		"1e300":                         {},
		"253402300800000":               {}, // year 10000
		"9223372036854775808":           {},
		"1970-01-01 00:00:00.000000000": {},
		"9999-12-31T23:59:59-01:00":     {},
		"soon":                          {},
		"":                              {},
	} {
		if got := eventTime(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// Every sample comes out of the stream whole, and its view has every field that
// the view knows.
func TestRealEvents(t *testing.T) {
	path := os.Getenv(eventsEnv)
	if path == "" {
		t.Skip(eventsEnv + " is not set")
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	type sample struct {
		Log      json.RawMessage
		metadata struct {
			Offset                      int64
			EventType, CustomerIDString string
		}
		event map[string]any
	}
	var samples []sample
	for line := range bytes.Lines(file) {
		var s sample
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		var parts struct{ Metadata, Event json.RawMessage }
		_ = json.Unmarshal(s.Log, &parts)
		_ = json.Unmarshal(parts.Metadata, &s.metadata)
		_ = json.Unmarshal(parts.Event, &s.event)
		samples = append(samples, s)
		stream.Write(s.Log)
		stream.WriteString("\n\r\n") // a heartbeat after each
	}
	if len(samples) == 0 {
		t.Fatal("no samples")
	}
	views := 0
	r := newLineReader(&stream, 3, 0)
	for i, s := range samples {
		ev, heartbeat, err := r.next()
		if err != nil || heartbeat || ev.Err != nil {
			t.Fatalf("sample %d: %v, %v, %v", i, heartbeat, err, ev.Err)
		}
		m := s.metadata
		if ev.Partition != 3 || ev.Offset != m.Offset || ev.Type != m.EventType || ev.CID != m.CustomerIDString || ev.Created.IsZero() || !bytes.Equal(ev.Raw, s.Log) {
			t.Errorf("sample %d: %+v", i, ev)
		}
		if a, ok := ev.Audit(); ok {
			views++
			list, _ := s.event["AuditKeyValues"].([]any)
			if a.Operation != s.event["OperationName"] || a.UserID != s.event["UserId"] || a.UserIP != s.event["UserIp"] || a.Service != s.event["ServiceName"] ||
				!a.SuccessKnown || a.Success != s.event["Success"] || a.Time.IsZero() || len(a.Values) != len(list) {
				t.Errorf("sample %d: %+v of %s", i, a, ev.Raw)
			}
		}
		if d, ok := ev.Detection(); ok {
			views++
			if d.CompositeID != s.event["CompositeId"] || d.Name != s.event["Name"] || d.ProcessID != s.event["ProcessId"] || float64(d.Severity) != s.event["Severity"] ||
				d.Link != s.event["FalconHostLink"] || d.CommandLine != s.event["CommandLine"] || d.ProcessStart.IsZero() || !d.ProcessEnd.IsZero() {
				t.Errorf("sample %d: %+v of %s", i, d, ev.Raw)
			}
		}
		if _, heartbeat, err := r.next(); !heartbeat || err != nil {
			t.Errorf("sample %d: no heartbeat after it: %v", i, err)
		}
	}
	if _, _, err := r.next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	// All but the one that has no event object.
	if views < len(samples)-1 {
		t.Errorf("%d of %d samples have a view", views, len(samples))
	}
}
