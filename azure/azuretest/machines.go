package azuretest

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// machineJSON is a machine in the real API's shape and order, with the fields
// its documentation leaves out.
type machineJSON struct {
	ID                     string          `json:"id"`
	MergedIntoMachineID    text            `json:"mergedIntoMachineId"`
	IsPotentialDuplication bool            `json:"isPotentialDuplication"`
	IsExcluded             bool            `json:"isExcluded"`
	ExclusionReason        text            `json:"exclusionReason"`
	ComputerDNSName        text            `json:"computerDnsName"`
	FirstSeen              stamp           `json:"firstSeen"`
	LastSeen               stamp           `json:"lastSeen"`
	OSPlatform             text            `json:"osPlatform"`
	OSVersion              text            `json:"osVersion"` // always null in practice
	OSProcessor            text            `json:"osProcessor"`
	Version                text            `json:"version"`
	LastIPAddress          text            `json:"lastIpAddress"`
	LastExternalIPAddress  text            `json:"lastExternalIpAddress"`
	AgentVersion           text            `json:"agentVersion"`
	OSBuild                number          `json:"osBuild"`
	HealthStatus           text            `json:"healthStatus"`
	DeviceValue            text            `json:"deviceValue"`
	RBACGroupID            int             `json:"rbacGroupId"`
	RBACGroupName          text            `json:"rbacGroupName"`
	RiskScore              text            `json:"riskScore"`
	ExposureLevel          text            `json:"exposureLevel"`
	IsAADJoined            bool            `json:"isAadJoined"`
	AADDeviceID            text            `json:"aadDeviceId"`
	MachineTags            []string        `json:"machineTags"`
	OnboardingStatus       text            `json:"onboardingStatus"`
	OSArchitecture         text            `json:"osArchitecture"`
	ManagedBy              text            `json:"managedBy"`
	ManagedByStatus        text            `json:"managedByStatus"`
	IPAddresses            []ipAddressJSON `json:"ipAddresses"`
	VMMetadata             *vmMetadataJSON `json:"vmMetadata"`
}

type ipAddressJSON struct {
	IPAddress         string `json:"ipAddress"`
	MACAddress        text   `json:"macAddress"`
	Type              text   `json:"type"`
	OperationalStatus text   `json:"operationalStatus"`
}

type vmMetadataJSON struct {
	VMID           text `json:"vmId"`
	CloudProvider  text `json:"cloudProvider"`
	ResourceID     text `json:"resourceId"`
	SubscriptionID text `json:"subscriptionId"`
}

func (m Machine) json() machineJSON {
	out := machineJSON{
		ID: m.ID, MergedIntoMachineID: text(m.MergedIntoMachineID),
		IsPotentialDuplication: m.PotentialDuplicate, IsExcluded: m.Excluded,
		ComputerDNSName: text(m.ComputerDNSName), FirstSeen: stamp(m.FirstSeen), LastSeen: stamp(m.LastSeen),
		OSPlatform: text(m.OSPlatform), OSProcessor: text(m.OSProcessor), Version: text(m.Version),
		LastIPAddress: text(m.LastIPAddress), LastExternalIPAddress: text(m.LastExternalIPAddress),
		AgentVersion: text(m.AgentVersion), OSBuild: number(m.OSBuild),
		HealthStatus: text(m.HealthStatus), DeviceValue: text(m.DeviceValue),
		RBACGroupID: m.RBACGroupID, RBACGroupName: text(m.RBACGroupName),
		RiskScore: text(m.RiskScore), ExposureLevel: text(m.ExposureLevel),
		IsAADJoined: m.AADDeviceID != "", AADDeviceID: text(m.AADDeviceID),
		MachineTags: append([]string{}, m.Tags...), OnboardingStatus: text(m.OnboardingStatus),
		OSArchitecture: text(m.OSArchitecture), ManagedBy: text(m.ManagedBy), ManagedByStatus: text(m.ManagedByStatus),
		IPAddresses: []ipAddressJSON{},
	}
	for _, ip := range m.IPAddresses {
		out.IPAddresses = append(out.IPAddresses, ipAddressJSON{
			ip.IPAddress, text(ip.MACAddress), text(ip.Type), text(ip.OperationalStatus),
		})
	}
	if vm := m.VM; vm != nil {
		out.VMMetadata = &vmMetadataJSON{text(vm.VMID), text(vm.CloudProvider), text(vm.ResourceID), text(vm.SubscriptionID)}
	}
	return out
}

// machineFields are the properties the vendor lets $filter use.
var machineFields = schema[Machine]{typ: "microsoft.windowsDefenderATP.api.machine", fields: map[string]field[Machine]{
	"computerdnsname":  stringField(func(m Machine) string { return m.ComputerDNSName }),
	"id":               stringField(func(m Machine) string { return m.ID }),
	"version":          stringField(func(m Machine) string { return m.Version }),
	"devicevalue":      stringField(func(m Machine) string { return m.DeviceValue }),
	"aaddeviceid":      guidField(func(m Machine) string { return m.AADDeviceID }),
	"machinetags":      {kindStrings, func(m Machine) any { return m.Tags }},
	"lastseen":         timeField(func(m Machine) time.Time { return m.LastSeen }),
	"exposurelevel":    stringField(func(m Machine) string { return m.ExposureLevel }),
	"onboardingstatus": stringField(func(m Machine) string { return m.OnboardingStatus }),
	"lastipaddress":    stringField(func(m Machine) string { return m.LastIPAddress }),
	"healthstatus":     stringField(func(m Machine) string { return m.HealthStatus }),
	"osplatform":       stringField(func(m Machine) string { return m.OSPlatform }),
	"riskscore":        stringField(func(m Machine) string { return m.RiskScore }),
	"rbacgroupid":      {kindInt, func(m Machine) any { return int64(m.RBACGroupID) }},
}}

// listMachines answers 404 for a tenant without machines, as documented; a
// filter that finds none gives an empty list.
func (s *Server) listMachines(r *http.Request) (any, error) {
	q, err := parseQuery(r, machineFields)
	if err != nil {
		return nil, err
	}
	all := s.Machines()
	if len(all) == 0 {
		return nil, notFound("No machines were found")
	}
	return answerPage(r, q, all, "Machines", Machine.json), nil
}

func (s *Server) getMachine(r *http.Request) (any, error) {
	id := r.PathValue("id")
	m, ok := s.Machine(id)
	if !ok {
		return nil, notFound("Machine %s was not found", id)
	}
	return struct {
		Context string `json:"@odata.context"`
		machineJSON
	}{contextURL(r, "Machines/$entity"), m.json()}, nil
}

const (
	findByIPPrefix = "findbyip("
	findByIPWindow = 15 * time.Minute    // before and after the timestamp
	findByIPAge    = 30 * 24 * time.Hour // the oldest timestamp allowed
)

// findByIP lists the machines that had an internal address at about a time. The
// simulator knows when a machine was first and last seen and takes it to have
// been there, with the addresses it has now, all the time between.
func (s *Server) findByIP(r *http.Request) (any, error) {
	ip, at, err := findByIPArguments(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	if at.After(now) || now.Sub(at) > findByIPAge {
		return nil, refuse(http.StatusBadRequest, "InvalidInput", "The timestamp must be in the past 30 days")
	}
	found := slices.DeleteFunc(s.Machines(), func(m Machine) bool {
		return m.FirstSeen.After(at.Add(findByIPWindow)) || m.LastSeen.Before(at.Add(-findByIPWindow)) || !m.hasAddress(ip)
	})
	return answerPage(r, query[Machine]{}, found, "Machines", Machine.json), nil
}

func (m Machine) hasAddress(ip netip.Addr) bool {
	is := func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && a == ip
	}
	return is(m.LastIPAddress) || slices.ContainsFunc(m.IPAddresses, func(a IPAddress) bool { return is(a.IPAddress) })
}

// findByIPArguments reads findbyip(ip='1.2.3.4',timestamp=2019-09-22T08:44:05Z).
func findByIPArguments(call string) (ip netip.Addr, at time.Time, err error) {
	list, ok := strings.CutSuffix(strings.TrimPrefix(call, findByIPPrefix), ")")
	args := map[string]string{}
	for arg := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(arg, "=")
		args[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if !ok || len(args) != 2 || args["ip"] == "" || args["timestamp"] == "" {
		return ip, at, refuse(http.StatusBadRequest, "InvalidInput", "Invalid input %s", call)
	}
	quoted := args["ip"]
	if len(quoted) < 2 || quoted[0] != '\'' || quoted[len(quoted)-1] != '\'' {
		return ip, at, odataError("The parameter 'ip' must be a string in single quotes.")
	}
	if ip, err = netip.ParseAddr(quoted[1 : len(quoted)-1]); err != nil {
		return ip, at, refuse(http.StatusBadRequest, "InvalidIpAddress", "IP address %s is invalid.", quoted)
	}
	if at, err = time.Parse(time.RFC3339Nano, args["timestamp"]); err != nil {
		return ip, at, refuse(http.StatusBadRequest, "InvalidInput", "Invalid input %s", args["timestamp"])
	}
	return ip, at, nil
}
