package falcon

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func event(t testing.TB, kind, body string) Event {
	t.Helper()
	line := `{"metadata":{"offset":1,"eventType":"` + kind + `"},"event":` + body + "}\n"
	ev, _, err := newLineReader(strings.NewReader(line), 0, 0).next()
	if err != nil || ev.Err != nil {
		t.Fatal(err, ev.Err)
	}
	return ev
}

func TestDetectionOfBothTypes(t *testing.T) {
	rest := `"UserName":"u","Severity":50,"SeverityName":"Medium","ProcessId":9007199254740993,"ParentProcessId":"18446744073709551615",
		"ProcessStartTime":1719309994,"ProcessEndTime":0,"HostGroups":"g1, g2,","SHA256String":"s","LocalIP":"10.0.0.1","Type":"ldt"`
	newer := `{"CompositeId":"c","AgentId":"a","Hostname":"h","LogonDomain":"d","Name":"n","Description":"x",` + rest + `}`
	older := `{"DetectId":"c","SensorId":"a","ComputerName":"h","MachineDomain":"d","DetectName":"n","DetectDescription":"x",` + rest + `}`
	want := DetectionEvent{
		CompositeID: "c", AgentID: "a", Hostname: "h", LogonDomain: "d", Name: "n", Description: "x", UserName: "u", Severity: 50, SeverityName: "Medium",
		ProcessID: "9007199254740993", ParentProcessID: "18446744073709551615", ProcessStart: time.Unix(1719309994, 0).UTC(),
		HostGroups: []string{"g1", "g2"}, SHA256: "s", LocalIP: "10.0.0.1", Kind: "ldt",
	}
	for _, ev := range []Event{event(t, "EppDetectionSummaryEvent", strings.ReplaceAll(newer, "\n", "")), event(t, "DetectionSummaryEvent", strings.ReplaceAll(older, "\n", ""))} {
		if got, ok := ev.Detection(); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", ev.Type, got, want)
		}
	}
}

// In gofalcon each of these loses the event (D8).
func TestTypeDriftCostsTheField(t *testing.T) {
	const kind = "EppDetectionSummaryEvent"
	full := map[string]string{
		"CompositeId": `"c"`, "Severity": `5`, "Tactic": `"t"`, "ProcessId": `"7"`, "ProcessStartTime": `1719309994`, "HostGroups": `"g"`, "Name": `"n"`, "CommandLine": `"x"`,
	}
	read := func(fields map[string]string) DetectionEvent {
		raw := make(map[string]json.RawMessage)
		for k, v := range fields {
			raw[k] = json.RawMessage(v)
		}
		body, err := json.Marshal(raw)
		if err != nil {
			t.Fatal(err)
		}
		ev := event(t, kind, string(body))
		d, ok := ev.Detection()
		if !ok {
			t.Fatalf("%s is no detection", ev.Raw)
		}
		return d
	}
	for field, c := range map[string]struct {
		values []string
		fix    func(*DetectionEvent)
	}{
		"Severity":         {[]string{`"high"`, `{}`, `null`, `5.5`, `1e400`}, func(d *DetectionEvent) { d.Severity = 5 }},
		"Tactic":           {[]string{`["t"]`, `{}`, `null`}, func(d *DetectionEvent) { d.Tactic = "t" }},
		"ProcessId":        {[]string{`"n/a"`, `9007199254740993`, `[7]`, `{}`}, func(d *DetectionEvent) { d.ProcessID = "7" }},
		"ProcessStartTime": {[]string{`"n/a"`, `-1`, `1e300`, `{}`}, func(d *DetectionEvent) { d.ProcessStart = time.Unix(1719309994, 0).UTC() }},
		"HostGroups":       {[]string{`["g"]`, `{}`, `null`}, func(d *DetectionEvent) { d.HostGroups = []string{"g"} }},
		"Name":             {[]string{`["n"]`, `3`}, func(d *DetectionEvent) { d.Name = "n" }},
	} {
		for _, v := range c.values {
			drifted := map[string]string{}
			for k, good := range full {
				drifted[k] = good
			}
			drifted[field] = v
			got := read(drifted)
			c.fix(&got)
			if want := read(full); !reflect.DeepEqual(got, want) {
				t.Errorf("%s %s:\n got %+v\nwant %+v", field, v, got, want)
			}
		}
	}
	full["Severity"] = `"5"`
	if d := read(full); d.Severity != 5 {
		t.Errorf("severity %d of a string", d.Severity)
	}
}

func TestAudit(t *testing.T) {
	at := time.Unix(1719309994, 0).UTC()
	for _, c := range []struct {
		kind, body string
		want       AuditEvent
	}{
		{
			"AuthActivityAuditEvent",
			`{"OperationName":"streamStarted","ServiceName":"s","UserId":"u","UserIp":"1.1.1.1","Success":true,"UTCTimestamp":1719309994,"AuditKeyValues":[{"Key":"partition","ValueString":"0"},{"Key":"offset","ValueString":"-1"}]}`,
			AuditEvent{Operation: "streamStarted", Service: "s", UserID: "u", UserIP: "1.1.1.1", Success: true, SuccessKnown: true, Time: at, Values: map[string]string{"partition": "0", "offset": "-1"}},
		},
		{"UserActivityAuditEvent", `{"OperationName":"detection_update","UTCTimestamp":"1719309994000"}`, AuditEvent{Operation: "detection_update", Time: at}},
		{"AuthActivityAuditEvent", `{"Success":"false","UTCTimestamp":1719309994.0}`, AuditEvent{SuccessKnown: true, Time: at}},
		{
			"AuthActivityAuditEvent", `{"Success":[],"AuditKeyValues":[7,{"Key":"a","ValueString":9007199254740993},{"Key":{}},null,{"ValueString":"x"},{"Key":"b"}]}`,
			AuditEvent{Values: map[string]string{"a": "9007199254740993", "b": ""}},
		},
		{
			"AuthActivityAuditEvent", `{"Attributes":{"a":"1","b":2,"c":"3"},"AuditKeyValues":[{"Key":"a","ValueString":"4"}]}`,
			AuditEvent{Values: map[string]string{"a": "4", "b": "2", "c": "3"}},
		},
		{"AuthActivityAuditEvent", `{"AuditKeyValues":12}`, AuditEvent{}},
	} {
		ev := event(t, c.kind, c.body)
		if got, ok := ev.Audit(); !ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.body, got, c.want)
		}
	}
}

func TestRemoteSession(t *testing.T) {
	at := time.Unix(1719309994, 0).UTC()
	start := event(t, "RemoteResponseSessionStartEvent", `{"SessionId":"s","HostnameField":"h","UserName":"u","StartTimestamp":1719309994,"AgentIdString":"a"}`)
	want := RemoteSessionEvent{SessionID: "s", Hostname: "h", UserName: "u", AgentID: "a", Start: at}
	if got, ok := start.RemoteSession(); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	end := event(t, "RemoteResponseSessionEndEvent", `{"SessionId":"s","HostnameField":"h","UserName":"u","EndTimestamp":"1719309994000","Commands":["ls","ps"]}`)
	want = RemoteSessionEvent{SessionID: "s", Hostname: "h", UserName: "u", Ended: true, End: at, Commands: []string{"ls", "ps"}}
	if got, ok := end.RemoteSession(); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// A view is for its own types only, and of a bad line there is none.
func TestViewsOfOtherEvents(t *testing.T) {
	other := event(t, "EPPDetectionSummaryEvent", `{"CompositeId":"c"}`) // the spelling trap
	noBody := event(t, "EppDetectionSummaryEvent", `[]`)
	bad := Event{Type: "EppDetectionSummaryEvent", Raw: json.RawMessage(`{"event":{}}`), Err: ErrEventTooLong}
	byHand := Event{Type: "EppDetectionSummaryEvent", Raw: json.RawMessage(`x`)}
	for _, ev := range []Event{other, noBody, bad, byHand, {}} {
		_, d := ev.Detection()
		_, a := ev.Audit()
		_, s := ev.RemoteSession()
		if d || a || s {
			t.Errorf("%+v has a view", ev)
		}
	}
}

// Whatever an event holds, a view is there if the event has an object, and what it
// says can be written down again.
func FuzzEventViews(f *testing.F) {
	for _, s := range []string{`{}`, `[]`, `null`, `{"UTCTimestamp":1e400,"AuditKeyValues":[{"Key":"a"}],"Attributes":{"a":{}},"Commands":[1],"HostGroups":",,","Severity":"5"}`, `{"StartTimestamp":99999999999999,"ProcessStartTime":"0001-01-01T00:00:00Z"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var object map[string]json.RawMessage
		isObject := json.Unmarshal([]byte(body), &object) == nil && object != nil
		for _, kind := range []string{"EppDetectionSummaryEvent", "DetectionSummaryEvent", "AuthActivityAuditEvent", "UserActivityAuditEvent", "RemoteResponseSessionStartEvent", "RemoteResponseSessionEndEvent"} {
			ev := Event{Type: kind, Raw: json.RawMessage(`{"event":` + body + `}`)}
			if !json.Valid(ev.Raw) {
				isObject = false
			}
			d, isDetection := ev.Detection()
			a, isAudit := ev.Audit()
			s, isSession := ev.RemoteSession()
			if view := isDetection || isAudit || isSession; view != isObject && json.Valid([]byte(body)) {
				t.Errorf("%s: %q has a view: %v", kind, body, view)
			}
			if _, err := json.Marshal([]any{d, a, s}); err != nil {
				t.Errorf("%s: %q: %v", kind, body, err)
			}
		}
	})
}
