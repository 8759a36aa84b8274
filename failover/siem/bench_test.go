package siem

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// benchEvents are of the size and the variety of Falcon's: 1.3 KB, which gzip makes a
// sixth of.
func benchEvents(n int) []Event {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]Event, n)
	for i := range out {
		raw := fmt.Sprintf(`{"metadata":{"customerIDString":"5eed0000000000000000000000000c1d","offset":%d,"eventType":"EppDetectionSummaryEvent","eventCreationTime":%d,"version":"1.0"},"event":{"Hostname":"ws-%04d","CompositeId":"5eed0000000000000000000000000c1d:ind:%032x:%d-10197-%d","SeverityName":"Medium","Severity":50,"FileName":"powershell.exe","FilePath":"\\Device\\HarddiskVolume2\\Windows\\System32\\WindowsPowerShell\\v1.0","CommandLine":"powershell.exe -NoProfile -ExecutionPolicy Bypass -EncodedCommand %x","Tactic":"Execution","Technique":"PowerShell","Objective":"Follow Through","PatternDispositionDescription":"Detection, standard detection.","PatternDispositionValue":%d,"ProcessStartTime":%d,"ProcessId":%d,"ParentProcessId":%d,"UserName":"user%03d","LocalIP":"10.%d.%d.%d","MACAddress":"00-50-56-%02x-%02x-%02x","MD5String":"%032x","SHA256String":"%064x","FalconHostLink":"https://falcon.crowdstrike.com/activity-v2/detections/%032x","AgentId":"%032x"}}`,
			i, 1_700_000_000_000+i*7, r.IntN(5000), r.Uint64(), r.IntN(1e9), r.IntN(1e6), r.Uint64(), r.IntN(4096), 1_700_000_000+i, r.Uint32(), r.Uint32(), r.IntN(500), r.IntN(255), r.IntN(255), r.IntN(255), r.IntN(255), r.IntN(255), r.IntN(255), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
		out[i] = Event{Offset: uint64(i + 1), ID: fmt.Sprintf("5eed0000000000000000000000000c1d:0:%d", i), Time: time.Now(), Type: "EppDetectionSummaryEvent", Raw: json.RawMessage(raw)}
	}
	return out
}

type discard struct{ rows chan int }

func (d discard) Send(_ context.Context, b *Batch) (Receipt, error) {
	if _, err := b.Gzip(); err != nil {
		return Receipt{}, err
	}
	d.rows <- b.Rows
	return Receipt{}, nil
}

type putter struct{ events []Event }

func (putter) Name() string { return "bench" }

func (p putter) Read(ctx context.Context, in *Intake) error {
	for len(p.events) > 0 {
		n := min(400, len(p.events))
		if err := in.Put(ctx, "0", p.events[:n]...); err != nil {
			return err
		}
		p.events = p.events[n:]
	}
	<-ctx.Done()
	return ctx.Err()
}

// BenchmarkPump is an event's whole way: mapped, checked, compressed, synced, read
// back, delivered to a sink that takes everything, acknowledged.
func BenchmarkPump(b *testing.B) {
	events := benchEvents(b.N)
	sink := discard{make(chan int, 1024)}
	p, err := Open(Config{Dir: b.TempDir(), Sources: []Source{putter{events}}, Sinks: []failover.Member[Sink]{member("sink", sink)}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	b.SetBytes(int64(len(events[0].Raw)))
	b.ReportAllocs()
	b.ResetTimer()
	go func() { ended <- p.Run(ctx) }()
	for got := 0; got < b.N; {
		got += <-sink.rows
	}
	b.StopTimer()
	stop()
	<-ended
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
