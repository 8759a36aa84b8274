package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// cid is the customer's; it stands in every row's id.
	cid = "5ddb0407bef249c19c7a975f17979a1f"
	// Each partition has offsets of its own, all with 8 digits: an offset alone says
	// which event it is, and is written over the one of the template.
	perPartition  = 10_000_000
	maxPartitions = 8
)

// template is a line with room for what differs.
type template struct {
	line             []byte // with the newline
	offset, creation int    // where the digits are: 8 and 13
}

// events are all that ever happened, in order, of each partition. They are made from
// templates when they are sent: a million of them would be 1.3 GB.
type events struct {
	templates []template
	epoch     time.Time
	created   [][]atomic.Uint32 // ms after epoch, plus 1; 0: has not happened yet
}

// newEvents: room is how many events a partition may come to have. Templates are
// repeated after ten megabytes, far beyond what gzip looks back.
func newEvents(templates []template, partitions, room int) *events {
	ev := &events{templates: templates, epoch: time.Now(), created: make([][]atomic.Uint32, partitions)}
	for p := range ev.created {
		ev.created[p] = make([]atomic.Uint32, room)
	}
	return ev
}

// offsetOf is the offset of the i-th event of a partition.
func offsetOf(partition, i int) int64 { return int64(partition+1)*perPartition + int64(i) }

// indexOf is the reverse; false if no event has the offset.
func (ev *events) indexOf(offset int64) (partition, i int, ok bool) {
	partition, i = int(offset/perPartition)-1, int(offset%perPartition)
	return partition, i, partition >= 0 && partition < len(ev.created) && i < len(ev.created[partition])
}

// happen notes when an event was created, unless that is known: one that is sent
// again is as old as it was.
func (ev *events) happen(partition, i int, at time.Time) {
	ev.created[partition][i].CompareAndSwap(0, uint32(max(0, at.Sub(ev.epoch).Milliseconds()))+1)
}

// age is how old an event is; false if it has not happened.
func (ev *events) age(partition, i int, now time.Time) (time.Duration, bool) {
	at := ev.created[partition][i].Load()
	return now.Sub(ev.epoch) - time.Duration(at-1)*time.Millisecond, at != 0
}

// append adds the line of an event that has happened.
func (ev *events) append(dst []byte, partition, i int) []byte {
	t := &ev.templates[(i*len(ev.created)+partition)%len(ev.templates)]
	at := len(dst)
	dst = append(dst, t.line...)
	digits(dst[at+t.offset:at+t.offset+8], offsetOf(partition, i))
	created := ev.epoch.UnixMilli() + int64(ev.created[partition][i].Load()) - 1
	digits(dst[at+t.creation:at+t.creation+13], created)
	return dst
}

func digits(dst []byte, n int64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

// words for events that look like those of a customer with a few thousand hosts: as
// alike and as different as gzip finds them there (about 6 to 1 at level 1).
var (
	commands = []string{
		`"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe" --type=utility --utility-sub-type=chrome.mojom.UtilWin --lang=%s --service-sandbox-type=none --field-trial-handle=%d,i,%d`,
		`powershell.exe -NoProfile -ExecutionPolicy Bypass -File C:\ProgramData\inventory\%s\collect.ps1 -Run %d -Session %d`,
		`C:\Windows\system32\svchost.exe -k netsvcs -p -s %s --port %d --ticket %d`,
		`"C:\Program Files\backup\agent.exe" snapshot --volume %s --generation %d --since %d`,
	}
	names      = []string{"Known Malware", "Suspicious Script", "Credential Access", "Lateral Movement", "Exfiltration"}
	tactics    = []string{"Execution", "Persistence", "Defense Evasion", "Discovery", "Exfiltration"}
	techniques = []string{"User Execution", "Scheduled Task", "Obfuscated Files or Information", "Process Discovery", "Exfiltration Over Web Service"}
	severities = []string{"Informational", "Low", "Medium", "High", "Critical"}
	files      = []string{"msedge.exe", "powershell.exe", "svchost.exe", "agent.exe"}
	sites      = []string{"ber", "muc", "ham", "cgn", "fra", "str"}
)

// newTemplates makes n lines, the same ones for the same seed.
func newTemplates(n int, seed uint64) []template {
	r := rand.New(rand.NewPCG(seed, 7))
	out := make([]template, n)
	for i := range out {
		line := newLine(r)
		out[i] = template{
			line:     []byte(line),
			offset:   strings.Index(line, `"offset":`) + len(`"offset":`),
			creation: strings.Index(line, `"eventCreationTime":`) + len(`"eventCreationTime":`),
		}
	}
	return out
}

func newLine(r *rand.Rand) string {
	hexes := func(n int) string {
		b := make([]byte, n/2)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return hex.EncodeToString(b)
	}
	quote := func(s string) string {
		b, _ := json.Marshal(s) // a string always encodes
		return string(b)
	}
	kind, what, site := r.IntN(len(files)), r.IntN(len(names)), sites[r.IntN(len(sites))]
	number := uint64(r.IntN(3000))
	host := fmt.Sprintf("%s-ws-%04d", site, number)
	agent := fmt.Sprintf("%016x%016x", (number+1)*0x9e3779b97f4a7c15, (number+1)*0xd1342543de82ef95)
	process := 90_000_000_000 + r.Int64N(1_000_000_000)
	began := 1_790_000_000 + r.IntN(1_000_000)
	var b strings.Builder
	fmt.Fprintf(&b, `{"metadata":{"customerIDString":"%s","offset":10000000,"eventType":"EppDetectionSummaryEvent","eventCreationTime":1700000000000,"version":"1.0"},"event":{`, cid)
	fmt.Fprintf(&b, `"ProcessStartTime":%d,"ProcessEndTime":0,"ProcessId":%d,"ParentProcessId":%d,`, began, process, process-r.Int64N(100_000))
	fmt.Fprintf(&b, `"Hostname":"%s","UserName":"%s","LogonDomain":"CORP","AgentId":"%s",`, host, fmt.Sprintf("%s.user%d", site, r.IntN(500)), agent)
	fmt.Fprintf(&b, `"CompositeId":"%s:ind:%s:%d-%d","Name":"%s","Objective":"Follow Through",`, cid, agent, process, 5000+what, names[what])
	fmt.Fprintf(&b, `"Tactic":"%s","Technique":"%s","Severity":%d,"SeverityName":"%s",`, tactics[what], techniques[what], 10+20*what, severities[what])
	fmt.Fprintf(&b, `"FileName":"%s","FilePath":%s,"CommandLine":%s,`, files[kind], quote(`\Device\HarddiskVolume3\Program Files\`+files[kind]),
		quote(fmt.Sprintf(commands[kind], site, r.IntN(10_000), r.Int64N(1e12))))
	fmt.Fprintf(&b, `"SHA256String":"%s","MD5String":"%s","LocalIP":"10.%d.%d.%d","MACAddress":"00-50-56-%02x-%02x-%02x",`,
		hexes(64), hexes(32), r.IntN(16), r.IntN(256), r.IntN(256), r.IntN(4), r.IntN(256), r.IntN(256))
	fmt.Fprintf(&b, `"PatternDispositionValue":0,"PatternDispositionFlags":{"Detect":%t,"KillProcess":false,"QuarantineFile":%t},`,
		r.IntN(2) == 0, r.IntN(8) == 0)
	fmt.Fprintf(&b, `"SourceVendors":"CrowdStrike","Type":"ldt","SHA1String":"%s"}}`, hexes(40))
	return b.String() + "\n"
}
