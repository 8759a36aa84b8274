package falcon

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// DetectionEvent is a detection on an endpoint. Fields that Falcon left out, or
// filled with something unexpected, are zero; Event.Raw has everything.
type DetectionEvent struct {
	CompositeID  string // the alert's id, as Alert.ID; in the legacy event the detection's (ldt:...)
	AggregateID  string
	AgentID      string // of the host, as Host.ID
	Hostname     string
	LogonDomain  string
	UserName     string
	Name         string
	Description  string
	Severity     int64 // 0 to 100; up to 5 in the legacy event
	SeverityName string
	Tactic       string
	Technique    string
	Objective    string
	FileName     string
	FilePath     string
	CommandLine  string
	SHA256       string
	SHA1         string
	MD5          string
	// Falcon's own ids of processes, not the host's. They can be above 2^53, so they
	// are text, digit by digit.
	ProcessID         string
	ParentProcessID   string
	ParentFileName    string
	ParentCommandLine string
	ProcessStart      time.Time
	ProcessEnd        time.Time // zero if it has not ended
	LocalIP           string
	LocalIPv6         string
	MACAddress        string // 02-c7-00-11-22-33
	HostGroups        []string
	IOCType           string
	IOCValue          string
	PatternID         string
	Disposition       string // what the sensor did, in words
	Kind              string // ldt, ofp
	Link              string // to the console
}

// Detection reads an EppDetectionSummaryEvent, or the DetectionSummaryEvent that
// it replaced, under the newer one's names. false: it is another event.
func (e *Event) Detection() (DetectionEvent, bool) {
	o, ok := e.body("EppDetectionSummaryEvent", "DetectionSummaryEvent")
	if !ok {
		return DetectionEvent{}, false
	}
	return DetectionEvent{
		CompositeID: either(o, "CompositeId", "DetectId"), AggregateID: o.Str("AggregateId"),
		AgentID: either(o, "AgentId", "SensorId"), Hostname: either(o, "Hostname", "ComputerName"),
		LogonDomain: either(o, "LogonDomain", "MachineDomain"), UserName: o.Str("UserName"),
		Name: either(o, "Name", "DetectName"), Description: either(o, "Description", "DetectDescription"),
		Severity: o.Int("Severity"), SeverityName: o.Str("SeverityName"),
		Tactic: o.Str("Tactic"), Technique: o.Str("Technique"), Objective: o.Str("Objective"),
		FileName: o.Str("FileName"), FilePath: o.Str("FilePath"), CommandLine: o.Str("CommandLine"),
		SHA256: o.Str("SHA256String"), SHA1: o.Str("SHA1String"), MD5: o.Str("MD5String"),
		ProcessID: o.Str("ProcessId"), ParentProcessID: o.Str("ParentProcessId"),
		ParentFileName: o.Str("ParentImageFileName"), ParentCommandLine: o.Str("ParentCommandLine"),
		ProcessStart: eventTime(o.Str("ProcessStartTime")), ProcessEnd: eventTime(o.Str("ProcessEndTime")),
		LocalIP: o.Str("LocalIP"), LocalIPv6: o.Str("LocalIPv6"), MACAddress: o.Str("MACAddress"),
		HostGroups: commaList(o.Str("HostGroups")), IOCType: o.Str("IOCType"), IOCValue: o.Str("IOCValue"),
		PatternID: o.Str("PatternId"), Disposition: o.Str("PatternDispositionDescription"),
		Kind: o.Str("Type"), Link: o.Str("FalconHostLink"),
	}, true
}

// AuditEvent is what a user, or an API client, did in Falcon. Fields that Falcon
// left out, or filled with something unexpected, are zero.
type AuditEvent struct {
	Operation string // such as userAuthenticate, streamStarted, detection_update
	Service   string // such as "Crowdstrike Authentication"
	UserID    string // mostly an e-mail address
	UserIP    string
	// Success counts only with SuccessKnown: UserActivityAuditEvents mostly do not
	// say whether it worked.
	Success, SuccessKnown bool
	Time                  time.Time
	// Values are AuditKeyValues and Attributes (the same in newer events). Of a key
	// that comes twice the last value. nil if there are none.
	Values map[string]string
}

// Audit reads an AuthActivityAuditEvent or UserActivityAuditEvent. false: it is
// another event.
func (e *Event) Audit() (AuditEvent, bool) {
	o, ok := e.body("AuthActivityAuditEvent", "UserActivityAuditEvent")
	if !ok {
		return AuditEvent{}, false
	}
	a := AuditEvent{
		Operation: o.Str("OperationName"), Service: o.Str("ServiceName"),
		UserID: o.Str("UserId"), UserIP: o.Str("UserIp"), Time: eventTime(o.Str("UTCTimestamp")),
	}
	switch o.Str("Success") {
	case "true":
		a.Success, a.SuccessKnown = true, true
	case "false":
		a.SuccessKnown = true
	}
	for _, name := range []string{"Attributes", "AuditKeyValues"} {
		a.addValues(o[name])
	}
	return a, true
}

// addValues takes the two forms that were seen: a list of {Key, ValueString}, and
// an object. An entry of another type costs that entry.
func (a *AuditEvent) addValues(raw json.RawMessage) {
	var list []json.RawMessage
	var object lenient.Object
	if json.Unmarshal(raw, &list) == nil {
		for _, item := range list {
			var entry lenient.Object
			if json.Unmarshal(item, &entry) == nil {
				a.add(entry.Str("Key"), entry.Str("ValueString"))
			}
		}
	} else if json.Unmarshal(raw, &object) == nil {
		for key := range object {
			a.add(key, object.Str(key))
		}
	}
}

func (a *AuditEvent) add(key, value string) {
	if key == "" {
		return
	}
	if a.Values == nil {
		a.Values = make(map[string]string)
	}
	a.Values[key] = value
}

// RemoteSessionEvent is the beginning or the end of a Real Time Response session.
// Fields that Falcon left out, or filled with something unexpected, are zero.
type RemoteSessionEvent struct {
	SessionID string
	Hostname  string
	AgentID   string // of the host, as Host.ID; only newer events have it
	UserName  string // who opened the session
	Ended     bool   // this is the session's end
	Start     time.Time
	End       time.Time // zero at the beginning
	Commands  []string  // that were run, mostly known at the end only
}

// RemoteSession reads a RemoteResponseSessionStartEvent or
// RemoteResponseSessionEndEvent. false: it is another event.
func (e *Event) RemoteSession() (RemoteSessionEvent, bool) {
	const end = "RemoteResponseSessionEndEvent"
	o, ok := e.body("RemoteResponseSessionStartEvent", end)
	if !ok {
		return RemoteSessionEvent{}, false
	}
	return RemoteSessionEvent{
		SessionID: o.Str("SessionId"), Hostname: either(o, "HostnameField", "Hostname"),
		AgentID: either(o, "AgentIdString", "AgentId"), UserName: o.Str("UserName"), Ended: e.Type == end,
		Start: eventTime(o.Str("StartTimestamp")), End: eventTime(o.Str("EndTimestamp")),
		Commands: o.Strs("Commands"),
	}, true
}

// body is the event's own object, if it is of one of these types. Without such an
// object, or with a bad line, it is none.
func (e *Event) body(types ...string) (lenient.Object, bool) {
	for _, t := range types {
		if e.Type != t || e.Err != nil {
			continue
		}
		line, err := lenient.Read(e.Raw)
		if err != nil {
			return nil, false
		}
		body, err := lenient.Read(line["event"])
		return body, err == nil && body != nil
	}
	return nil, false
}

// either is the first that says something: the newer name comes first.
func either(o lenient.Object, newer, older string) string {
	if s := o.Str(newer); s != "" {
		return s
	}
	return o.Str(older)
}

func commaList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
