package crowdstrike

import (
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover/siem"
)

// detectionLine is a line of the stream of so many bytes, as a detection is.
func detectionLine(size int) string {
	line := `{"metadata":{"customerIDString":"46de0e1f2a3b4c5d6e7f8091a2b3c4d5","offset":29294636,"eventType":"EppDetectionSummaryEvent","eventCreationTime":1719309994000,"version":"1.0"},` +
		`"event":{"AgentId":"5e1fa8d3c2b14a0f9d8e7c6b5a493827","AggregateId":"aggind:5e1fa8d3c2b1:1","CompositeId":"46de:ind:5e1fa8d3c2b1:1-5702-22305","Hostname":"WIN-0001","LogonDomain":"CORP","UserName":"svc_build",` +
		`"Name":"SuspiciousActivity","Description":"A process wrote \"run.ps1\" and started it. Review the command line.","Severity":70,"SeverityName":"High","Tactic":"Execution","Technique":"PowerShell","Objective":"Follow Through",` +
		`"ProcessId":9007199254740993,"ParentProcessId":906540611284,"ProcessStartTime":1719309990,"ProcessEndTime":0,"LocalIP":"10.20.30.40","MACAddress":"02-c7-00-11-22-33","PatternDispositionValue":16,` +
		`"PatternDispositionFlags":{"Detect":false,"KillProcess":true,"OperationBlocked":false},"FileName":"powershell.exe","FilePath":"\\Device\\HarddiskVolume3\\Windows\\System32\\WindowsPowerShell\\v1.0","SourceVendors":"CrowdStrike","DataDomains":"Endpoint, Cloud",`
	end := `","Type":"ldt"}}`
	line += `"CommandLine":"`
	return line + strings.Repeat("-enc QUJDREVG ", 100)[:max(0, size-len(line)-len(end))] + end
}

// BenchmarkSentinelRows: one op is one event of 1.3 KB, made a row.
func BenchmarkSentinelRows(b *testing.B) {
	e := siem.Event{
		ID: "46de0e1f2a3b4c5d6e7f8091a2b3c4d5:0:29294636", Type: eppEvent, Source: "falcon",
		Time: time.UnixMilli(1719309994000), Raw: []byte(detectionLine(1300)),
	}
	// A pump uses its Rows again, which nobody else can: this is what is done in them.
	b.SetBytes(int64(len(e.Raw)))
	b.ReportAllocs()
	var row []byte
	for b.Loop() {
		var a alert
		if !a.read(&e) {
			b.Fatal("no alert")
		}
		row = a.row(row[:0], alertsSchema)
	}
}
