package falcontest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// record is one line of a partition.
type record struct {
	at        time.Time
	eventType string // empty: published raw
	line      []byte // with the newline
}

// partition is the events kept, oldest first. Each has the next offset, which no
// appId and no filter changes.
type partition struct {
	kept  []record
	first int64 // offset of kept[0]
}

// next is the offset the next event gets.
func (p *partition) next() int64 { return p.first + int64(len(p.kept)) }

// forget drops what was published at t or earlier.
func (p *partition) forget(t time.Time) {
	n := 0
	for n < len(p.kept) && !p.kept[n].at.After(t) {
		n++
	}
	clear(p.kept[:n]) // the array lives on, the lines need not
	p.kept = p.kept[n:]
	p.first += int64(n)
}

// read returns the first line at or after an offset that is of one of the types,
// and the offset to go on with. Assumed: an offset that is no longer kept means
// the oldest that is, one that is not there yet is waited for. Raw lines have no
// type and pass every filter.
func (p *partition) read(from int64, types []string) ([]byte, int64) {
	from = max(from, p.first)
	for ; from < p.next(); from++ {
		if r := p.kept[from-p.first]; types == nil || r.eventType == "" || slices.Contains(types, r.eventType) {
			return r.line, from + 1
		}
	}
	return nil, from
}

// eventMetadata is the "metadata" of a line.
type eventMetadata struct {
	CustomerID   string `json:"customerIDString"`
	Offset       int64  `json:"offset"`
	EventType    string `json:"eventType"`
	CreationTime int64  `json:"eventCreationTime"` // milliseconds
	Version      string `json:"version"`
}

// Publish puts an event into a partition, counted from 0, and returns its
// offset. The event is anything that encodes to JSON: the server wraps it with
// its metadata. Offsets begin with 1 and have no gaps, which is assumed. Publish
// panics if there is no such partition or the event does not encode.
func (s *Server) Publish(partition int, eventType string, event any) (offset int64) {
	return s.cloud.streams.publish(partition, eventType, event, s.cloud.cfg.Now())
}

// PublishRaw puts a line into a partition as it is, however malformed or long;
// only the newline is added. It takes an offset like any event, which it
// returns, and reaches every feed whatever its eventType. PublishRaw panics if
// there is no such partition.
func (s *Server) PublishRaw(partition int, line []byte) (offset int64) {
	st := &s.cloud.streams
	now := s.cloud.cfg.Now()
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.add(partition, record{at: now, line: append(bytes.Clone(line), '\n')})
}

func (s *streams) publish(partition int, eventType string, event any, now time.Time) int64 {
	body := line(event)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(partition, record{now, eventType, line(struct {
		Metadata eventMetadata   `json:"metadata"`
		Event    json.RawMessage `json:"event"`
	}{eventMetadata{s.cid, s.at(partition).next(), eventType, now.UnixMilli(), "1.0"}, body})})
}

// line encodes without the escapes for HTML, and ends with a newline.
func line(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("falcontest: " + err.Error())
	}
	return b.Bytes()
}

// add appends a record. The caller holds the lock.
func (s *streams) add(partition int, r record) int64 {
	p := s.at(partition)
	p.forget(r.at.Add(-s.retention))
	p.kept = append(p.kept, r)
	s.wake()
	return p.next() - 1
}

// at returns a partition. The caller holds the lock.
func (s *streams) at(partition int) *partition {
	if partition < 0 || partition >= len(s.partitions) {
		panic(fmt.Sprintf("falcontest: partition %d of %d", partition, len(s.partitions)))
	}
	return &s.partitions[partition]
}

// keyValue is an entry of AuditKeyValues.
type keyValue struct {
	Key         string
	ValueString string
}

// audit writes what happened to a feed into the partition itself, as the real
// service does: a client that forwards every event forwards its own doings. It
// is assumed that a feed from the newest event on sees its own beginning.
func (c *cloud) audit(f *feed, operation string) {
	if !c.cfg.StreamAudit {
		return
	}
	types := "All event type(s)"
	if f.types != nil {
		types = strings.Join(f.types, ",")
	}
	now := c.cfg.Now()
	c.streams.publish(f.session.partition, "AuthActivityAuditEvent", object{
		{"UserId", "api-client-id:" + c.cfg.ClientID},
		{"UserIp", f.source},
		{"OperationName", operation},
		{"ServiceName", "Crowdstrike Streaming API"},
		{"Success", true},
		{"UTCTimestamp", now.Unix()}, // seconds here, milliseconds in other audit events
		{"AuditKeyValues", []keyValue{
			{"APIClientID", c.cfg.ClientID},
			{"partition", strconv.Itoa(f.session.partition)},
			{"offset", strconv.FormatInt(f.asked, 10)},
			{"appId", f.session.appID},
			{"eventType", types},
		}},
	}, now)
}

// Detection returns the body of an EppDetectionSummaryEvent about a host, to be
// changed at will and given to [Server.Publish]. Severity is 0 to 100. Every
// detection has ids of its own; its ProcessId is above 2^53 and odd, so that a
// client which decodes it as a float64 changes it. An unknown host is described
// by its id alone.
func (s *Server) Detection(deviceID string, severity int) map[string]any {
	h, _ := s.Host(deviceID)
	orDefault(&h.CID, s.cloud.cfg.CID)
	now := s.cloud.cfg.Now()
	st := &s.cloud.streams
	st.mu.Lock()
	st.detections++
	n := st.detections
	st.mu.Unlock()
	composite := h.CID + ":ind:" + deviceID + ":" + hexDigits(fmt.Sprint("detection ", n))
	process := int64(1)<<53 + 1 + 2*int64(n)
	return map[string]any{
		"CompositeId": composite, "AggregateId": "aggind:" + deviceID + ":" + strconv.Itoa(n), "AgentId": deviceID,
		"Hostname": h.Hostname, "LogonDomain": h.MachineDomain, "UserName": "alice",
		"LocalIP": h.LocalIP, "MACAddress": h.MACAddress, "HostGroups": strings.Join(h.Groups, ","),
		"Name": "SimulatedDetection", "Description": "A detection of the simulator.", "Type": "ldt",
		"Severity": severity, "SeverityName": severityNames[min(max(severity, 0)/20, len(severityNames)-1)],
		"Tactic": "Execution", "Technique": "User Execution", "Objective": "Follow Through",
		"FileName": "sample.exe", "FilePath": `\Device\HarddiskVolume3\sample.exe`, "CommandLine": `"C:\sample.exe" /run`,
		"SHA256String": hexDigits("sample") + hexDigits("exe"), "MD5String": hexDigits("sample.exe"),
		"ProcessId": process, "ParentProcessId": process - 2, "ProcessStartTime": now.Unix(),
		"PatternId": 10197, "PatternDispositionValue": 0,
		"PatternDispositionDescription": "Detection, standard detection.",
		"SourceVendors":                 "CrowdStrike", "SourceProducts": "Falcon Insight", "DataDomains": "Endpoint",
		"FalconHostLink": "https://falcon" + strings.TrimPrefix(apiHosts[s.cloud.cfg.Cloud], "api") + "/activity-v2/detections/" + composite,
	}
}
