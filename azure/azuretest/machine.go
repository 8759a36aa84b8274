package azuretest

import (
	"crypto/sha1"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Machine is a device onboarded to Defender for Endpoint. Empty strings and zero
// numbers and times are null on the wire. There is no "isolated" field because
// the vendor has none; ask [Server.Isolated].
type Machine struct {
	ID                    string // 40 hex digits; default follows from ComputerDNSName
	ComputerDNSName       string
	OSPlatform            string // such as "Windows11"
	Version               string // of the operating system, such as "23H2"
	OSProcessor           string // such as "x64"
	OSArchitecture        string // such as "64-bit"
	OSBuild               int
	AgentVersion          string
	LastIPAddress         string
	LastExternalIPAddress string
	AADDeviceID           string // also decides isAadJoined
	HealthStatus          string // "Active" (default), "Inactive", "ImpairedCommunication", "NoSensorData", "Unknown"
	OnboardingStatus      string // "Onboarded" (default), "CanBeOnboarded", "Unsupported", "InsufficientInfo"
	RiskScore             string // default "None"
	ExposureLevel         string // default "None"
	DeviceValue           string // default "Normal"
	RBACGroupID           int    // 0 is a group, not null
	RBACGroupName         string
	MergedIntoMachineID   string
	PotentialDuplicate    bool
	Excluded              bool
	ManagedBy             string // default "MicrosoftDefenderForEndpoint"
	ManagedByStatus       string // default "Success"
	IPAddresses           []IPAddress
	FirstSeen             time.Time // default LastSeen
	LastSeen              time.Time // last full report; default the moment it was added
	Tags                  []string
	VM                    *VMMetadata // nil: not a virtual machine in a known cloud
}

// IPAddress is one address of a [Machine].
type IPAddress struct {
	IPAddress         string
	MACAddress        string // 12 hex digits without separators; empty is null
	Type              string // such as "Ethernet"
	OperationalStatus string // "Up" or "Down"
}

// VMMetadata says which virtual machine of which cloud a [Machine] is.
type VMMetadata struct {
	VMID           string
	CloudProvider  string // such as "Azure"
	ResourceID     string
	SubscriptionID string
}

func (m Machine) withDefaults(now time.Time) Machine {
	if m.ID == "" {
		sum := sha1.Sum([]byte(strings.ToLower(m.ComputerDNSName))) // real ids look like one
		m.ID = hex.EncodeToString(sum[:])
	}
	setDefault(&m.HealthStatus, "Active")
	setDefault(&m.OnboardingStatus, "Onboarded")
	setDefault(&m.RiskScore, "None")
	setDefault(&m.ExposureLevel, "None")
	setDefault(&m.DeviceValue, "Normal")
	setDefault(&m.ManagedBy, "MicrosoftDefenderForEndpoint")
	setDefault(&m.ManagedByStatus, "Success")
	if m.LastSeen.IsZero() {
		m.LastSeen = now
	}
	if m.FirstSeen.IsZero() {
		m.FirstSeen = m.LastSeen
	}
	return m.clone()
}

// clone keeps the caller's slices out of the server and the server's out of the
// caller.
func (m Machine) clone() Machine {
	m.IPAddresses = slices.Clone(m.IPAddresses)
	m.Tags = slices.Clone(m.Tags)
	if m.VM != nil {
		vm := *m.VM
		m.VM = &vm
	}
	return m
}

// machineList keeps machines in the order they were added, which is the order of
// lists and pages.
type machineList struct {
	order []string
	byID  map[string]Machine
}

// put adds m or replaces the machine of that ID; it reports whether m is new.
func (l *machineList) put(m Machine) bool {
	if l.byID == nil {
		l.byID = map[string]Machine{}
	}
	_, known := l.byID[m.ID]
	l.byID[m.ID] = m
	if !known {
		l.order = append(l.order, m.ID)
	}
	return !known
}

func (l *machineList) remove(id string) {
	if _, ok := l.byID[id]; !ok {
		return
	}
	delete(l.byID, id)
	l.order = slices.DeleteFunc(l.order, func(v string) bool { return v == id })
}

func (l *machineList) all() []Machine {
	out := make([]Machine, len(l.order))
	for i, id := range l.order {
		out[i] = l.byID[id].clone()
	}
	return out
}

// Machine returns the machine with that ID, as the API would show it.
func (s *Server) Machine(id string) (Machine, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.machines.byID[id]
	return m.clone(), ok
}

// Machines returns every machine in the order they were added.
func (s *Server) Machines() []Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machines.all()
}

// AddMachine onboards m, or replaces the machine of the same ID. Fields left
// empty get the defaults [Machine] documents.
func (s *Server) AddMachine(m Machine) {
	m = m.withDefaults(s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machines.put(m)
}

// RemoveMachine makes a machine disappear from the API. Its actions stay.
func (s *Server) RemoveMachine(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machines.remove(id)
}
