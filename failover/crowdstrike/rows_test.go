package crowdstrike

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover/siem"
)

var happened = time.Date(2026, 11, 24, 16, 30, 0, 123e6, time.UTC)

// rowOf is the row of an event in a table; nil if the event is no alert.
func rowOf(t testing.TB, kind, raw string, s *schema) map[string]json.RawMessage {
	t.Helper()
	var a alert
	if !a.read(&siem.Event{ID: "cid:0:1", Source: "falcon", Type: kind, Time: happened, Raw: []byte(raw)}) {
		return nil
	}
	return readRow(t, a.row(nil, s))
}

// readRow wants one object without a name that comes twice.
func readRow(t testing.TB, text []byte) map[string]json.RawMessage {
	t.Helper()
	row := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &row); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	_, _ = dec.Token()
	n := 0
	for ; dec.More(); n++ {
		var value json.RawMessage
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	if n != len(row) {
		t.Fatalf("a column comes twice: %s", text)
	}
	return row
}

func wantColumns(t *testing.T, row map[string]json.RawMessage, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if string(row[name]) != value {
			t.Errorf("%s is %s, want %s", name, row[name], value)
		}
	}
}

func TestAStreamEventHasTheAlertsColumns(t *testing.T) {
	for _, s := range []*schema{alertsSchema, detectionsSchema} {
		row := rowOf(t, eppEvent, detectionLine(1300), s)
		want := map[string]string{
			"TimeGenerated": `"2026-11-24T16:30:00.123Z"`, "CreatedTimestamp": `"2026-11-24T16:30:00.123Z"`,
			"JurymastId": `"cid:0:1"`, "Source": `"falcon"`, "EventType": `"EppDetectionSummaryEvent"`, "Product": `"epp"`,
			"Cid": `"46de0e1f2a3b4c5d6e7f8091a2b3c4d5"`, "CompositeId": `"46de:ind:5e1fa8d3c2b1:1-5702-22305"`,
			"AgentId": `"5e1fa8d3c2b14a0f9d8e7c6b5a493827"`, "Hostname": `"WIN-0001"`, "UserName": `"svc_build"`,
			"Description": `"A process wrote \"run.ps1\" and started it. Review the command line."`,
			"Severity":    `70`, "SeverityName": `"High"`, "PatternDisposition": `16`,
			"ProcessId": `"9007199254740993"`, "ParentProcessId": `"906540611284"`, "ProcessStartTime": `"1719309990"`,
			"Filename": `"powershell.exe"`, "LocalIp": `"10.20.30.40"`, "MacAddress": `"02-c7-00-11-22-33"`,
			"SourceVendors": `["CrowdStrike"]`, "DataDomains": `["Endpoint","Cloud"]`,
			"Unmapped": `{"metadata":{"customerIDString":"46de0e1f2a3b4c5d6e7f8091a2b3c4d5","offset":29294636,"eventType":"EppDetectionSummaryEvent","eventCreationTime":1719309994000,"version":"1.0"},` +
				`"PatternDispositionFlags":{"Detect":false,"KillProcess":true,"OperationBlocked":false}}`,
			map[string]string{AlertsTable: "AlertType", DetectionsTable: "DetectionType"}[s.table]: `"ldt"`,
		}
		wantColumns(t, row, want)
	}
}

const apiAlert = `{"composite_id":"c:ind:a:1","id":"ind:a:1","cid":"c","agent_id":"a","product":"epp","type":"ldt","name":"N","severity":70,"confidence":"80",
 "status":"in_progress","tags":["a","b"],"show_in_ui":true,"cloud_indicator":"false","created_timestamp":"2026-11-24T10:00:00.123456789Z","timestamp":"2026-11-24T09:59:00Z",
 "process_id":"906540611285","local_process_id":4711,"cmdline":"a \"b\"","filename":null,"seconds_to_triaged":0,"os_name":"Windows","quarantined":true,
 "device":{"device_id":"a","hostname":"WS-1","groups":["g"],"cid":"other","status":"normal","local_ip":null},"data_domains":["Endpoint"],"brand_new":{"n":12345678901234567890}}`

func TestAnAlertOfTheAPIHasTheSameColumns(t *testing.T) {
	row := rowOf(t, AlertType, apiAlert, alertsSchema)
	wantColumns(t, row, map[string]string{
		"CompositeId": `"c:ind:a:1"`, "Id": `"ind:a:1"`, "Cid": `"c"`, "AlertType": `"ldt"`, "Severity": `70`, "Confidence": `80`,
		"Status": `"in_progress"`, "Tags": `["a","b"]`, "ShowInUi": `true`, "CloudIndicator": `false`,
		"CreatedTimestamp": `"2026-11-24T10:00:00.123456789Z"`, "ProcessId": `"906540611285"`, "LocalProcessId": `"4711"`,
		"Cmdline": `"a \"b\""`, "Filename": ``, "LocalIp": ``, "DeviceId": `"a"`, "Hostname": `"WS-1"`, "Groups": `["g"]`,
		"DataDomains": `["Endpoint"]`, "Unmapped": `{"os_name":"Windows","quarantined":true,"brand_new":{"n":12345678901234567890}}`,
	})
	row = rowOf(t, AlertType, apiAlert, detectionsSchema)
	wantColumns(t, row, map[string]string{"DetectionType": `"ldt"`, "AlertType": ``, "OsName": `"Windows"`, "Quarantined": `true`, "Unmapped": `{"tags":["a","b"],"brand_new":{"n":12345678901234567890}}`})
}

// Azure Monitor would make null of it and say nothing.
func TestWhatDoesNotFitItsColumnIsUnmapped(t *testing.T) {
	for field, want := range map[string]map[string]string{
		`"severity":"high"`:                         {"Severity": ``, "Unmapped": `{"severity":"high"}`},
		`"severity":2147483648`:                     {"Severity": ``, "Unmapped": `{"severity":2147483648}`},
		`"severity":7.5`:                            {"Severity": ``, "Unmapped": `{"severity":7.5}`},
		`"severity":"+7"`:                           {"Severity": `7`, "Unmapped": ``},
		`"severity":""`:                             {"Severity": ``, "Unmapped": `{"severity":""}`},
		`"severity":[1]`:                            {"Severity": ``, "Unmapped": `{"severity":[1]}`},
		`"severity":null`:                           {"Severity": ``, "Unmapped": ``},
		`"show_in_ui":"yes"`:                        {"ShowInUi": ``, "Unmapped": `{"show_in_ui":"yes"}`},
		`"timestamp":1719309994000`:                 {"Timestamp": ``, "Unmapped": `{"timestamp":1719309994000}`},
		`"timestamp":"yesterday"`:                   {"Timestamp": ``, "Unmapped": `{"timestamp":"yesterday"}`},
		`"name":{"en":"x"}`:                         {"Name": ``, "Unmapped": `{"name":{"en":"x"}}`},
		`"name":true`:                               {"Name": `"true"`, "Unmapped": ``},
		`"name":"a","name":"b"`:                     {"Name": `"a"`, "Unmapped": `{"name":"b"}`},
		`"hostname":"t","device":{"hostname":"d"}`:  {"Hostname": `"t"`, "Device": `{"hostname":"d"}`},
		`"hostname":null,"device":{"hostname":"d"}`: {"Hostname": `"d"`},
		`"device":"gone"`:                           {"Device": `"gone"`, "Hostname": ``},
		`"data_domains":" a ,,b\u002cc "`:           {"DataDomains": `["a","b\u002cc"]`},
		`"alert_type":"x"`:                          {"AlertType": ``, "Unmapped": `{"alert_type":"x"}`},
	} {
		row := rowOf(t, AlertType, "{"+field+"}", alertsSchema)
		for name, value := range want {
			if string(row[name]) != value {
				t.Errorf("%s: %s is %s, want %s", field, name, row[name], value)
			}
		}
	}
}

// More fields than have room without an allocation.
func TestAnAlertOfManyFields(t *testing.T) {
	var fields []string
	for i := range 300 {
		fields = append(fields, `"f`+strings.Repeat("x", i)+`":1`)
	}
	row := rowOf(t, AlertType, "{"+strings.Join(fields, ",")+`,"name":"last"}`, alertsSchema)
	if string(row["Name"]) != `"last"` || string(row["Unmapped"]) != "{"+strings.Join(fields, ",")+"}" {
		t.Errorf("%s", row["Unmapped"])
	}
}

func TestWhatIsNoAlertIsNone(t *testing.T) {
	for raw, kind := range map[string]string{
		`{"event":{}}`: "AuthActivityAuditEvent", `{"metadata":{},"event":{"Severity":4}}`: "DetectionSummaryEvent",
		`{"metadata":{}}`: eppEvent, `{"event":null}`: eppEvent, `{"event":{"a":1}`: eppEvent, `{"event":{"a":1}}x`: eppEvent,
		`[]`: AlertType, `{"a":}`: AlertType, ``: AlertType, `{"event":`: eppEvent, `{"event"`: eppEvent,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"event":{}}`: eppEvent,
	} {
		if row := rowOf(t, kind, raw, alertsSchema); row != nil {
			t.Errorf("%s %s: %v", kind, raw, row)
		}
	}
}

// Every value of the real samples is in the row.
func TestNothingOfARealEventIsLost(t *testing.T) {
	name := os.Getenv("JURYMAST_FALCON_EVENTS")
	if name == "" {
		t.Skip("JURYMAST_FALCON_EVENTS names no samples")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	alerts := 0
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var sample struct{ Log json.RawMessage }
		var log struct {
			Metadata struct{ EventType string }
			Event    map[string]json.RawMessage
		}
		if json.Unmarshal(lines.Bytes(), &sample) != nil || json.Unmarshal(sample.Log, &log) != nil || log.Metadata.EventType != eppEvent {
			continue
		}
		alerts++
		var a alert
		a.read(&siem.Event{Type: eppEvent, Raw: sample.Log})
		row := a.row(nil, alertsSchema)
		readRow(t, row)
		for field, value := range log.Event {
			if !bytes.Contains(row, value) {
				t.Errorf("%s: %s is not in %s", field, value, row)
			}
		}
	}
	if alerts == 0 {
		t.Error("no alert among the samples")
	}
}

func TestARowTakesNoAllocation(t *testing.T) {
	e := siem.Event{ID: "cid:0:1", Source: "falcon", Type: eppEvent, Time: happened, Raw: []byte(detectionLine(1300))}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		var a alert
		if a.read(&e) {
			buf = a.row(buf[:0], alertsSchema)
		}
	}); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

func FuzzSentinelRow(f *testing.F) {
	f.Add(true, detectionLine(1300))
	f.Add(false, apiAlert)
	f.Add(true, `{"metadata":{"customerIDString":"\u0041"},"event":{"Severity":"007","HostGroups":",a"},"event":{}}`)
	f.Fuzz(func(t *testing.T, line bool, raw string) {
		kind := AlertType
		if line {
			kind = eppEvent
		}
		for _, s := range []*schema{alertsSchema, detectionsSchema} {
			if row := rowOf(t, kind, raw, s); row != nil && !json.Valid([]byte(raw)) {
				t.Errorf("a row of what is no JSON: %q", raw)
			}
		}
	})
}
