package azure

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/jurymast/jurymast/internal/paging"
)

// odataPage is a page of any Defender list.
type odataPage struct {
	Value    []json.RawMessage `json:"value"`
	NextLink string            `json:"@odata.nextLink"`
}

// object is a row whose fields are read one by one, so that a field of an
// unexpected type costs that field and not the row or the page.
type object map[string]json.RawMessage

func (o object) str(name string) string {
	var s string
	if json.Unmarshal(o[name], &s) == nil {
		return s
	}
	if raw := o[name]; len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' || raw[0] == 't' || raw[0] == 'f') {
		return string(raw)
	}
	return ""
}

func (o object) time(name string) time.Time {
	t, err := time.Parse(time.RFC3339, o.str(name))
	if err != nil {
		return time.Time{}
	}
	return t
}

func (o object) raw() json.RawMessage {
	b, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	return b
}

func readRow[T any](op string, raw json.RawMessage, parse func(object) (T, error)) paging.Row[T] {
	var o object
	err := json.Unmarshal(raw, &o)
	if err == nil {
		var v T
		if v, err = parse(o); err == nil {
			return paging.Row[T]{Value: v}
		}
	}
	return paging.Row[T]{Err: &RowError{Operation: "azure " + op, ID: o.str("id"), Raw: raw, Err: err}}
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

func parseMachine(o object) (Machine, error) {
	m := Machine{
		ID: o.str("id"), ComputerDNSName: o.str("computerDnsName"), OSPlatform: o.str("osPlatform"),
		AADDeviceID: o.str("aadDeviceId"), HealthStatus: o.str("healthStatus"), OnboardingStatus: o.str("onboardingStatus"),
		MergedIntoMachineID: o.str("mergedIntoMachineId"), LastIPAddress: o.str("lastIpAddress"),
		LastExternalIPAddress: o.str("lastExternalIpAddress"), FirstSeen: o.time("firstSeen"), LastSeen: o.time("lastSeen"),
		Raw: o.raw(),
	}
	if m.ID == "" {
		return Machine{}, errors.New("no id")
	}
	var addresses []object
	_ = json.Unmarshal(o["ipAddresses"], &addresses)
	for _, a := range addresses {
		if mac := a.str("macAddress"); mac != "" {
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
	Status          ActionStatus
	MachineID       string
	ComputerDNSName string
	Requestor       string
	Comment         string
	ExternalID      string
	Created         time.Time
	Updated         time.Time
	Raw             json.RawMessage
}

func parseAction(o object) (MachineAction, error) {
	a := MachineAction{
		ID: o.str("id"), Type: o.str("type"), Status: ActionStatus(o.str("status")), MachineID: o.str("machineId"),
		ComputerDNSName: o.str("computerDnsName"), Requestor: o.str("requestor"), Comment: o.str("requestorComment"),
		ExternalID: o.str("externalId"), Created: o.time("creationDateTimeUtc"), Updated: o.time("lastUpdateDateTimeUtc"),
		Raw: o.raw(),
	}
	if a.ID == "" {
		return MachineAction{}, errors.New("no id")
	}
	return a, nil
}
