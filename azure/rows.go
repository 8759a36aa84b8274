package azure

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
)

// odataPage is a page of any list: Defender's and Graph's, or Resource Manager's.
type odataPage struct {
	Value    []json.RawMessage `json:"value"`
	NextLink string            `json:"@odata.nextLink"`
	ARMLink  string            `json:"nextLink"`
}

// rawOf is the row as JSON again.
func rawOf(o lenient.Object) json.RawMessage {
	b, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	return b
}

func readRow[T any](op string, raw json.RawMessage, parse func(lenient.Object) (T, error)) paging.Row[T] {
	var o lenient.Object
	err := json.Unmarshal(raw, &o)
	if err == nil {
		var v T
		if v, err = parse(o); err == nil {
			return paging.Row[T]{Value: v}
		}
	}
	return paging.Row[T]{Err: &RowError{Operation: "azure " + op, ID: o.Str("id"), Raw: raw, Err: err}}
}

// Machine is a device as Defender knows it. Fields that Defender left out, or
// filled with something unexpected, are zero; Raw has everything. LastSeen is
// the last full report, about once a day, and not the portal's "last seen".
type Machine struct {
	ID                    string
	ComputerDNSName       string
	OSPlatform            string
	AADDeviceID           string
	HealthStatus          string // Active, Inactive, ImpairedCommunication ...
	OnboardingStatus      string // Onboarded, CanBeOnboarded ...
	MergedIntoMachineID   string // set if this record was replaced by another
	LastIPAddress         string
	LastExternalIPAddress string
	MACAddresses          []string
	FirstSeen             time.Time
	LastSeen              time.Time
	Raw                   json.RawMessage
}

func parseMachine(o lenient.Object) (Machine, error) {
	m := Machine{
		ID: o.Str("id"), ComputerDNSName: o.Str("computerDnsName"), OSPlatform: o.Str("osPlatform"),
		AADDeviceID: o.Str("aadDeviceId"), HealthStatus: o.Str("healthStatus"), OnboardingStatus: o.Str("onboardingStatus"),
		MergedIntoMachineID: o.Str("mergedIntoMachineId"), LastIPAddress: o.Str("lastIpAddress"),
		LastExternalIPAddress: o.Str("lastExternalIpAddress"), FirstSeen: o.Time("firstSeen"), LastSeen: o.Time("lastSeen"),
		Raw: rawOf(o),
	}
	if m.ID == "" {
		return Machine{}, errors.New("no id")
	}
	var addresses []lenient.Object
	_ = json.Unmarshal(o["ipAddresses"], &addresses)
	for _, a := range addresses {
		if mac := a.Str("macAddress"); mac != "" {
			m.MACAddresses = append(m.MACAddresses, mac)
		}
	}
	return m, nil
}

// ActionStatus is where a machine action stands.
type ActionStatus string

// Defender's action states.
const (
	ActionPending    ActionStatus = "Pending"
	ActionInProgress ActionStatus = "InProgress"
	ActionSucceeded  ActionStatus = "Succeeded"
	ActionFailed     ActionStatus = "Failed"
	ActionTimeOut    ActionStatus = "TimeOut"
	ActionCancelled  ActionStatus = "Cancelled"
)

// Open reports that the action is still to be carried out.
func (s ActionStatus) Open() bool { return s == ActionPending || s == ActionInProgress }

// MachineAction is something Defender was asked to do to a machine.
type MachineAction struct {
	ID              string
	Type            string // Isolate, Unisolate, RunAntiVirusScan ...
	Scope           string // of an isolation Full or Selective, of a scan Quick or Full
	Status          ActionStatus
	MachineID       string
	ComputerDNSName string
	Requestor       string
	Comment         string
	ExternalID      string
	HResult         int64 // why it failed, as Windows numbers it; 0 if it did not say
	Created         time.Time
	Updated         time.Time
	Raw             json.RawMessage
}

func parseAction(o lenient.Object) (MachineAction, error) {
	a := MachineAction{
		ID: o.Str("id"), Type: o.Str("type"), Scope: o.Str("scope"), Status: ActionStatus(o.Str("status")), MachineID: o.Str("machineId"),
		ComputerDNSName: o.Str("computerDnsName"), Requestor: o.Str("requestor"), Comment: o.Str("requestorComment"),
		ExternalID: o.Str("externalId"), HResult: o.Int("errorHResult"), Created: o.Time("creationDateTimeUtc"), Updated: o.Time("lastUpdateDateTimeUtc"),
		Raw: rawOf(o),
	}
	if a.ID == "" {
		return MachineAction{}, errors.New("no id")
	}
	return a, nil
}
