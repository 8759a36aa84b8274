package azure

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
)

// GraphEvidence is something that an alert is about: a device, a file, a process, a
// user ... What only some kinds have is in Raw; devices are typed.
type GraphEvidence struct {
	Type              string // deviceEvidence, fileEvidence, userEvidence ...; "" if Graph did not say
	MachineID         string // of devices, and of what was found on one: Machine.ID of Defender
	Verdict           string // unknown, suspicious, malicious ...
	RemediationStatus string
	Roles             []string
	Tags              []string
	Created           time.Time
	Device            *GraphDevice // of a deviceEvidence
	Raw               json.RawMessage
}

// GraphDevice is what Graph knows of a device in an alert.
type GraphDevice struct {
	DNSName          string
	AADDeviceID      string
	OSPlatform       string
	OSBuild          int64
	HealthStatus     string
	OnboardingStatus string
	RiskScore        string
	RBACGroupID      int64
	RBACGroupName    string
	IPInterfaces     []string
	FirstSeen        time.Time
}

// MachineIDs are the devices that the alert is about, each once: what
// [Defender.Machine] and [Defender.Isolate] take.
func (a GraphAlert) MachineIDs() (ids []string) {
	for _, e := range a.Evidence {
		if e.MachineID != "" && !slices.Contains(ids, e.MachineID) {
			ids = append(ids, e.MachineID)
		}
	}
	return ids
}

const (
	evidencePrefix = "#microsoft.graph.security."
	deviceEvidence = "deviceEvidence"
)

// parseGraphEvidence keeps a piece of evidence whatever it is: with its Raw alone
// if nothing else can be read.
func parseGraphEvidence(o lenient.Object) (out []GraphEvidence) {
	list, _ := lenient.List(o["evidence"])
	for _, raw := range list {
		e := GraphEvidence{Raw: raw}
		if o, err := lenient.Read(raw); err == nil {
			e.Type = strings.TrimPrefix(o.Str("@odata.type"), evidencePrefix)
			e.MachineID, e.Verdict, e.RemediationStatus = o.Str("mdeDeviceId"), o.Str("verdict"), o.Str("remediationStatus")
			e.Roles, e.Tags, e.Created = o.Strs("roles"), o.Strs("tags"), o.Time("createdDateTime")
			if e.Type == deviceEvidence {
				e.Device = parseGraphDevice(o)
			}
		}
		out = append(out, e)
	}
	return out
}

func parseGraphDevice(o lenient.Object) *GraphDevice {
	return &GraphDevice{
		DNSName: o.Str("deviceDnsName"), AADDeviceID: o.Str("azureAdDeviceId"), OSPlatform: o.Str("osPlatform"),
		OSBuild: o.Int("osBuild"), HealthStatus: o.Str("healthStatus"), OnboardingStatus: o.Str("onboardingStatus"),
		RiskScore: o.Str("riskScore"), RBACGroupID: o.Int("rbacGroupId"), RBACGroupName: o.Str("rbacGroupName"),
		IPInterfaces: o.Strs("ipInterfaces"), FirstSeen: o.Time("firstSeenDateTime"),
	}
}
