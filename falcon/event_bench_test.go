package falcon

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/crowdstrike/gofalcon/falcon/models/streaming_models"
)

// benchBlock is many lines of 1.2 KB, as a detection is.
func benchBlock() (block []byte, lines int) {
	const size = 1200
	var b bytes.Buffer
	for lines = range 500 {
		line := fmt.Sprintf(`{"metadata":{"customerIDString":"46de0e1f2a3b4c5d6e7f8091a2b3c4d5","offset":%d,"eventType":"EppDetectionSummaryEvent","eventCreationTime":%d,"version":"1.0"},`+
			`"event":{"AgentId":"5e1fa8d3c2b14a0f9d8e7c6b5a493827","AggregateId":"aggind:5e1fa8d3c2b1:%d","CompositeId":"46de:ind:5e1fa8d3c2b1:%d-5702-22305","Hostname":"WIN-%04d","LogonDomain":"CORP","UserName":"svc_build",`+
			`"Name":"SuspiciousActivity","Description":"A process wrote \"run.ps1\" and started it. Review the command line.","Severity":%d,"SeverityName":"High","Tactic":"Execution","Technique":"PowerShell","Objective":"Follow Through",`+
			`"ProcessId":%d,"ParentProcessId":906540611284,"ProcessStartTime":1719309990,"ProcessEndTime":0,"LocalIP":"10.20.30.40","MACAddress":"02-c7-00-11-22-33","PatternDispositionValue":16,`+
			`"PatternDispositionFlags":{"Detect":false,"KillProcess":true,"OperationBlocked":false},"FileName":"powershell.exe","FilePath":"\\Device\\HarddiskVolume3\\Windows\\System32\\WindowsPowerShell\\v1.0",`,
			29294636+lines, 1719309994000+int64(lines), lines, lines, lines, lines%100, 906540611285+lines)
		end := `","Type":"ldt"}}`
		line += `"CommandLine":"`
		line += strings.Repeat("-enc QUJDREVG ", 100)[:size-len(line)-len(end)] + end
		b.WriteString(line + "\n")
	}
	return b.Bytes(), lines + 1
}

// BenchmarkEvents: one op is one event of 1.2 KB, read from memory.
func BenchmarkEvents(b *testing.B) {
	block, lines := benchBlock()
	run := func(name string, start func() func() error) {
		b.Run("impl="+name, func(b *testing.B) {
			next := start()
			b.SetBytes(int64(len(block) / lines))
			b.ReportAllocs()
			for b.Loop() {
				if err := next(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
	run("jurymast", func() func() error {
		r := newLineReader(&loop{block: block}, 0, 0)
		return func() error {
			ev, _, err := r.next()
			if err != nil || ev.Err != nil || ev.Offset < 29294636 || ev.Created.IsZero() {
				return fmt.Errorf("%+v, %w", ev, err)
			}
			return nil
		}
	})
	// The least that a reader by hand does: a decoder, metadata, the rest raw.
	run("json-decoder", func() func() error {
		dec := json.NewDecoder(&loop{block: block})
		return func() error {
			var ev struct {
				Metadata streaming_models.Metadata `json:"metadata"`
				Event    json.RawMessage           `json:"event"`
			}
			return dec.Decode(&ev)
		}
	})
	// What gofalcon's stream does: a decoder, the line raw, then all of it typed.
	run("gofalcon-style", func() func() error {
		dec := json.NewDecoder(&loop{block: block})
		return func() error {
			var ev streaming_models.EventItem
			if err := dec.Decode(&ev.RawMessage); err != nil {
				return err
			}
			return json.Unmarshal(ev.RawMessage, &ev)
		}
	})
	// Why the validity is checked by hand.
	run("json.Valid-alone", func() func() error {
		line, _, _ := bytes.Cut(block, []byte("\n"))
		return func() error {
			if !json.Valid(line) {
				return ErrEventMalformed
			}
			return nil
		}
	})
}

// BenchmarkDetection: one op is one typed view.
func BenchmarkDetection(b *testing.B) {
	block, _ := benchBlock()
	ev, _, err := newLineReader(bytes.NewReader(block), 0, 0).next()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if d, ok := ev.Detection(); !ok || d.AgentID == "" {
			b.Fatal(d)
		}
	}
}

var manyEvents = flag.Int("events", 200_000, "how many events TestEventsAreReadInFlatMemory reads")

// What reading holds does not grow with the events. .ci/nightly reads ten million.
func TestEventsAreReadInFlatMemory(t *testing.T) {
	block, _ := benchBlock()
	r := newLineReader(&loop{block: block}, 0, 0)
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var early int64
	for i := range *manyEvents {
		if ev, _, err := r.next(); err != nil || ev.Err != nil {
			t.Fatal(err, ev.Err)
		}
		if i == 1000 {
			early = live()
		}
	}
	if grown := live() - early; grown > 1<<20 {
		t.Errorf("after %d events %d KB more are in use", *manyEvents, grown>>10)
	}
	runtime.KeepAlive(r)
}
