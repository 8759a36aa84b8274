// Package twin is both simulated clouds over one fleet: every host has a Falcon
// sensor and a Defender sensor, and the same names and network cards at both.
// When one cloud is told to fail, it fails on the wire; the other goes on.
package twin

import (
	"fmt"
	"time"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// Config describes the fleet.
type Config struct {
	Hosts int // how many; named ws-000, ws-001 ... Default 10
	// ActionTime is how long a containment, or a release, takes at either vendor.
	// Default 1 s.
	ActionTime time.Duration
	// InMemory serves over in-process pipes, for testing/synctest.
	InMemory bool
}

// Domain of every host of the fleet.
const Domain = "corp.example"

// Twin is two clouds and one fleet. It is safe for concurrent use.
type Twin struct {
	Falcon *falcontest.Server
	Azure  *azuretest.Server
	hosts  int
}

// New starts both clouds. The caller must Close them.
func New(cfg Config) (*Twin, error) {
	if cfg.Hosts == 0 {
		cfg.Hosts = 10
	}
	f := falcontest.Config{ActionTime: cfg.ActionTime, InMemory: cfg.InMemory}
	a := azuretest.Config{ActionTime: cfg.ActionTime, InMemory: cfg.InMemory}
	for i := range cfg.Hosts {
		ip := fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)
		f.Hosts = append(f.Hosts, falcontest.Host{
			DeviceID: FalconID(i), Hostname: Hostname(i), MachineDomain: Domain,
			MACAddress: mac(i, "-"), LocalIP: ip,
		})
		a.Machines = append(a.Machines, azuretest.Machine{
			ID: DefenderID(i), ComputerDNSName: Hostname(i) + "." + Domain, LastIPAddress: ip,
			IPAddresses: []azuretest.IPAddress{{IPAddress: ip, MACAddress: mac(i, ""), Type: "Ethernet", OperationalStatus: "Up"}},
		})
	}
	t := &Twin{hosts: cfg.Hosts}
	var err error
	if t.Falcon, err = falcontest.NewServer(f); err != nil {
		return nil, err
	}
	if t.Azure, err = azuretest.NewServer(a); err != nil {
		t.Falcon.Close()
		return nil, err
	}
	return t, nil
}

// Close ends both clouds.
func (t *Twin) Close() {
	t.Falcon.Close()
	t.Azure.Close()
}

// Hosts is how many hosts the fleet has.
func (t *Twin) Hosts() int { return t.hosts }

// Hostname is the short name of host i.
func Hostname(i int) string { return fmt.Sprintf("ws-%03d", i) }

// FalconID is the device id of host i.
func FalconID(i int) string { return fmt.Sprintf("%032x", 0xfa1c0000+i) }

// DefenderID is the machine id of host i.
func DefenderID(i int) string { return fmt.Sprintf("%040x", 0xdefe0000+i) }

func mac(i int, separator string) string {
	return fmt.Sprintf("00%[1]s15%[1]s5d%[1]s10%[1]s%02[2]x%[1]s%02[3]x", separator, i/256, i%256)
}

// Contained lists the hosts that the agents really hold, whichever vendor's, by
// their index: what the machines are, not what anybody's API says.
func (t *Twin) Contained() (falcon, defender []int) {
	for i := range t.hosts {
		if h, ok := t.Falcon.Host(FalconID(i)); ok && (h.Status == "contained" || h.Status == "lift_containment_pending") {
			falcon = append(falcon, i)
		}
		if t.Azure.Isolated(DefenderID(i)) {
			defender = append(defender, i)
		}
	}
	return falcon, defender
}
