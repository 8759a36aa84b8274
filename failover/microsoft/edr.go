// Package microsoft joins azure.Client to Jurymast's capabilities. When
// Microsoft fails, the errors are those of package azure: they say what was sent.
package microsoft

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/resilience"
)

// EDR makes Defender for Endpoint a driver of edr.Fleet. The provider's id is
// Defender.Name. App permissions: Machine.Read.All and Machine.Isolate,
// and Machine.Scan to scan.
//
// Defender has no field for whether a machine is isolated: its state is that of
// the newest machine action that isolated or released it.
func EDR(c *azure.Client) edr.Driver {
	d := &endpoints{c.Defender}
	return edr.Driver{
		Provider: c.Defender.Name(), Find: d, Isolate: d, Held: d, Probe: d, Scan: d,
		// Each operation has a quota of its own (facts/microsoft.md 2.2), and a containment
		// takes one call of each of three: the machines by name, the machine's actions, and
		// isolate.
		Limits: []edr.Limit{
			{Window: resilience.Window{Calls: 100, Per: time.Minute}, Cost: 1},
			{Window: resilience.Window{Calls: 1500, Per: time.Hour}, Cost: 1},
		},
		SeenEvery: 24 * time.Hour, // lastSeen is the last full report (facts/product.md 0.4)
	}
}

type endpoints struct{ d *azure.Defender }

// Find implements edr.Finder. The records have no state; it costs a call each.
func (e *endpoints) Find(ctx context.Context, q edr.Query) iter.Seq2[edr.Record, error] {
	return func(yield func(edr.Record, error) bool) {
		if q.ID != "" {
			m, err := e.d.Machine(ctx, q.ID)
			if !errors.Is(err, azure.ErrNotFound) {
				yield(record(m), err)
			}
			return
		}
		for m, err := range e.d.Machines(azure.Query{Filter: byName(q.Name)}).All(ctx) {
			if err == nil && gone(m) {
				continue
			}
			if !yield(record(m), err) || err != nil {
				return
			}
		}
	}
}

// byName asks by the beginning of the name: Defender knows machines by their
// full DNS name, or by the short one if they have no domain. Either may have been
// cut to 15 characters.
func byName(name string) azure.OData {
	if name == "" {
		return ""
	}
	label, _, _ := strings.Cut(strings.ToLower(name), ".")
	if runes := []rune(label); len(runes) > netbios {
		label = string(runes[:netbios])
	}
	return azure.StartsWith("computerDnsName", label)
}

// netbios is how much of a name Windows may have left.
const netbios = 15

// gone: the record is of a machine that was re-imaged into another record, or
// whose sensor was taken off.
func gone(m azure.Machine) bool {
	return m.MergedIntoMachineID != "" || m.OnboardingStatus != "" && m.OnboardingStatus != "Onboarded"
}

func record(m azure.Machine) edr.Record {
	label, _, qualified := strings.Cut(m.ComputerDNSName, ".")
	r := edr.Record{
		ID: m.ID, Hostname: label, OS: m.OSPlatform, MACs: m.MACAddresses, EntraID: m.AADDeviceID, Instance: instance(m),
		FirstSeen: m.FirstSeen, LastSeen: m.LastSeen, AsOf: time.Now(), Native: m,
	}
	if qualified {
		r.FQDN = m.ComputerDNSName
	}
	if m.HealthStatus != "" && m.HealthStatus != "Active" && m.HealthStatus != "Unknown" {
		r.Impaired = "health status " + m.HealthStatus
	}
	for _, ip := range []string{m.LastIPAddress, m.LastExternalIPAddress} {
		if ip != "" {
			r.IPs = append(r.IPs, ip)
		}
	}
	return r
}

// instance is the id by which the machine's cloud knows it.
func instance(m azure.Machine) string {
	var row struct {
		VM struct {
			ID string `json:"vmId"`
		} `json:"vmMetadata"`
	}
	_ = json.Unmarshal(m.Raw, &row)
	return row.VM.ID
}

// State implements edr.Isolator.
func (e *endpoints) State(ctx context.Context, id string) (edr.State, error) {
	a, err := e.d.Isolation(ctx, id)
	if err != nil {
		return edr.StateUnknown, err
	}
	return state(a), nil
}

// state is what the newest action of a machine that changes its isolation, zero if
// there is none, says of it.
func state(a azure.MachineAction) edr.State {
	switch {
	case a.Type == "Isolate" && a.Status.Open():
		return edr.ContainPending
	case a.Type == "Isolate":
		return edr.Contained
	case a.Status.Open():
		return edr.ReleasePending
	}
	return edr.NotContained
}

// Held implements edr.Holder.
func (e *endpoints) Held(ctx context.Context) iter.Seq2[edr.Record, error] {
	return func(yield func(edr.Record, error) bool) {
		isolated, err := e.d.Isolated(ctx)
		if err != nil {
			yield(edr.Record{}, err)
			return
		}
		for id, a := range isolated {
			r := record(azure.Machine{ID: id, ComputerDNSName: a.ComputerDNSName})
			r.State, r.Native = state(a), a
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Isolate implements edr.Isolator.
func (e *endpoints) Isolate(ctx context.Context, id string, intent edr.Intent) (failover.Outcome, error) {
	return outcome(e.d.Isolate(ctx, id, azure.Isolate{Comment: intent.Comment()}))
}

// Release implements edr.Isolator.
func (e *endpoints) Release(ctx context.Context, id string, intent edr.Intent) (failover.Outcome, error) {
	return outcome(e.d.Unisolate(ctx, id, azure.Isolate{Comment: intent.Comment()}))
}

func outcome(is azure.ActionResult, err error) (failover.Outcome, error) {
	switch {
	case err != nil:
		return failover.Unset, err
	case is.Already:
		return failover.Already, nil
	}
	return failover.Accepted, nil
}

// Probe implements edr.Prober with the cheapest read there is.
func (e *endpoints) Probe(ctx context.Context) error {
	for _, err := range e.d.Machines(azure.Query{Top: 1}).All(ctx) {
		return err
	}
	return nil
}
