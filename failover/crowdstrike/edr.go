// Package crowdstrike joins falcon.Client to Jurymast's capabilities. When
// Falcon fails, the errors are those of package falcon: they say what was sent.
package crowdstrike

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/resilience"
)

// EDR makes Falcon a driver of edr.Fleet. The provider's id is the client's
// Name; pin Config.Cloud before the first containment, because ledgers keep it.
// Scopes: Hosts read and Hosts write.
func EDR(c *falcon.Client) edr.Driver {
	d := &endpoints{c}
	return edr.Driver{
		Provider: c.Name(), Find: d, Isolate: d, Held: d, Probe: d,
		// All calls of a customer spend one quota (facts/falcon.md 2.1). A containment takes
		// three: the host by its name, its state, and the action.
		Limits:    []edr.Limit{{Window: resilience.Window{Calls: 6000, Per: time.Minute}, Cost: 3}},
		SeenEvery: time.Hour, // assumed: how often last_seen moves is not documented
	}
}

type endpoints struct{ c *falcon.Client }

// Find implements edr.Finder.
func (d *endpoints) Find(ctx context.Context, q edr.Query) iter.Seq2[edr.Record, error] {
	return func(yield func(edr.Record, error) bool) {
		if q.ID != "" {
			h, err := d.c.Hosts.Get(ctx, q.ID)
			if !errors.Is(err, falcon.ErrNotFound) {
				yield(record(h), err)
			}
			return
		}
		for h, err := range d.c.Hosts.Query(falcon.HostQuery{Filter: byName(q.Name)}).All(ctx) {
			if !yield(record(h), err) || err != nil {
				return
			}
		}
	}
}

// byName asks for the ways in which Falcon may have written the name: as given,
// in either case, with and without its domain. Windows sensors report the short
// one, or the 15 characters that NetBIOS leaves of it, others what the system is
// called.
func byName(name string) falcon.FQL {
	if name == "" {
		return falcon.FQL{}
	}
	label, _, _ := strings.Cut(name, ".")
	asked := []string{name, label}
	if runes := []rune(label); len(runes) > netbios {
		asked = append(asked, string(runes[:netbios]))
	}
	var names []string
	for _, n := range asked {
		for _, variant := range []string{n, strings.ToLower(n), strings.ToUpper(n)} {
			if !slices.Contains(names, variant) {
				names = append(names, variant)
			}
		}
	}
	if utf8.RuneCountInString(label) != netbios || strings.Contains(label, "*") {
		return falcon.In("hostname", names...)
	}
	// The name asked for may be a cut one.
	filters := []falcon.FQL{falcon.In("hostname", names...)}
	for _, n := range []string{label, strings.ToLower(label), strings.ToUpper(label)} {
		filters = append(filters, falcon.Like("hostname", n+"*"))
	}
	return falcon.Or(filters...)
}

// netbios is how much of a name a Windows sensor reports.
const netbios = 15

func record(h falcon.Host) edr.Record {
	r := edr.Record{
		ID: h.ID, Hostname: h.Hostname, OS: h.OSVersion, Serial: h.SerialNumber, Instance: h.InstanceID,
		State: state(h.Status), FirstSeen: h.FirstSeen, LastSeen: h.LastSeen, AsOf: time.Now(), Native: h,
	}
	switch {
	case strings.Contains(h.Hostname, "."):
		r.FQDN = h.Hostname
	case strings.Contains(h.MachineDomain, "."): // a NetBIOS domain is no DNS name
		r.FQDN = h.Hostname + "." + h.MachineDomain
	}
	if h.ReducedFunctionality {
		r.Impaired = "reduced functionality mode"
	}
	for _, mac := range []string{h.MACAddress, connection(h)} {
		if mac != "" && !slices.Contains(r.MACs, mac) {
			r.MACs = append(r.MACs, mac)
		}
	}
	for _, ip := range []string{h.LocalIP, h.ExternalIP} {
		if net.ParseIP(ip) != nil {
			r.IPs = append(r.IPs, ip)
		}
	}
	return r
}

// connection is the network card by which the sensor reaches the cloud.
func connection(h falcon.Host) string {
	var row struct {
		MAC string `json:"connection_mac_address"`
	}
	_ = json.Unmarshal(h.Raw, &row)
	return row.MAC
}

func state(s falcon.ContainmentStatus) edr.State {
	switch s {
	case falcon.Normal:
		return edr.NotContained
	case falcon.ContainPending:
		return edr.ContainPending
	case falcon.Contained:
		return edr.Contained
	case falcon.LiftPending:
		return edr.ReleasePending
	}
	return edr.StateUnknown
}

// Held implements edr.Holder.
func (d *endpoints) Held(ctx context.Context) iter.Seq2[edr.Record, error] {
	return func(yield func(edr.Record, error) bool) {
		held := falcon.In("status", string(falcon.Contained), string(falcon.ContainPending))
		for h, err := range d.c.Hosts.Query(falcon.HostQuery{Filter: held}).All(ctx) {
			if !yield(record(h), err) || err != nil {
				return
			}
		}
	}
}

// State implements edr.Isolator.
func (d *endpoints) State(ctx context.Context, id string) (edr.State, error) {
	h, err := d.c.Hosts.Get(ctx, id)
	return state(h.Status), err
}

// Isolate implements edr.Isolator.
func (d *endpoints) Isolate(ctx context.Context, id string, _ edr.Intent) (failover.Outcome, error) {
	return d.change(ctx, id, d.c.Hosts.Contain, edr.State.Holds)
}

// Release implements edr.Isolator.
func (d *endpoints) Release(ctx context.Context, id string, _ edr.Intent) (failover.Outcome, error) {
	return d.change(ctx, id, d.c.Hosts.LiftContainment, func(s edr.State) bool {
		return s == edr.NotContained || s == edr.ReleasePending
	})
}

func (d *endpoints) change(
	ctx context.Context, id string,
	send func(context.Context, string) (falcon.Containment, error), wanted func(edr.State) bool,
) (failover.Outcome, error) {
	s, err := d.State(ctx, id)
	if err != nil {
		return failover.Unset, resilience.BeforeSending(err)
	}
	if wanted(s) {
		return failover.Already, nil
	}
	done, err := send(ctx, id)
	switch {
	case err != nil:
		return failover.Unset, err
	case done.Already:
		return failover.Already, nil
	}
	return failover.Accepted, nil
}

// Probe implements edr.Prober with the cheapest read there is.
func (d *endpoints) Probe(ctx context.Context) error {
	for _, err := range d.c.Hosts.Query(falcon.HostQuery{Limit: 1}).All(ctx) {
		return err
	}
	return nil
}
