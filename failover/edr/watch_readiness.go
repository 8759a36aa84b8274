package edr

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/resilience"
)

// Readiness is what one vendor alone can do for the fleet, if the others are gone.
type Readiness struct {
	Backup   string
	Hosts    int        // of the fleet, as far as it is known
	Ready    int        // those that the backup can contain
	NotReady []NotReady // the others, in order of their names

	// Incomplete: a vendor is missing, and with it the hosts that it alone knows; the
	// identities of the others could not be compared with its records.
	Incomplete bool

	// Fastest is how long the vendor's quotas make it take to contain all that are
	// ready, if nobody else spends them and calls go out as soon as they may. Paced is
	// the same for calls that Jurymast's clients send, which spread them so that there is
	// room for others: an upper bound. Both count from the first to the last containment
	// and mean nothing if QuotaKnown is false.
	Fastest, Paced time.Duration
	QuotaKnown     bool
}

// NotReady is a host that the backup cannot contain, and the first reason why.
type NotReady struct {
	Host     Host
	Reason   Reason
	LastSeen time.Time // by the backup; zero if it does not know the host
	Detail   string    // for Impaired, the vendor's words
}

// Reason is why a vendor cannot be counted on to contain a host.
type Reason uint8

// The reasons.
const (
	NotEnrolled Reason = iota + 1 // the backup does not know it
	Ambiguous                     // its name may mean another host too
	TooWeak                       // the records may be of different machines, see Config.MinIdentity
	Silent                        // not seen for Config.SilentAfter, or never
	Impaired                      // the backup says that its agent does less than it should
)

var reasonNames = [...]string{"", "not_enrolled", "ambiguous", "too_weak", "silent", "impaired"}

// String returns the reason's name.
func (r Reason) String() string {
	if r > 0 && int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("edr.Reason(%d)", uint8(r))
}

// MarshalText writes the reason's name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String is the report in one line.
func (r Readiness) String() string {
	var b strings.Builder
	of := "of"
	if r.Incomplete {
		of = "of at least"
	}
	fmt.Fprintf(&b, "%s can contain %d %s %d hosts", r.Backup, r.Ready, of, r.Hosts)
	if r.QuotaKnown {
		fmt.Fprintf(&b, " within %v (its quota allows %v)", r.Paced.Round(time.Second), r.Fastest.Round(time.Second))
	} else {
		b.WriteString(", in a time that is not known")
	}
	counts := map[Reason]int{}
	for _, n := range r.NotReady {
		counts[n.Reason]++
	}
	for reason := NotEnrolled; reason <= Impaired; reason++ {
		if counts[reason] > 0 {
			fmt.Fprintf(&b, "; %d %v", counts[reason], reason)
		}
	}
	return b.String()
}

var errNotAsked = errors.New("not asked")

// Readiness lists all hosts and tells how many of them one vendor could contain by
// their names if the others were gone: those that it knows, whose agent was seen within
// Config.SilentAfter and is not impaired, and whose identity is sure. Whether a vendor
// can isolate hosts of a certain operating system is not judged: none tells it.
//
// A vendor that did not answer is a gap, and the report says that it is Incomplete. It
// fails if the backup's list is missing, and with an error that matches ErrImplausible
// if any vendor's list cannot be true.
func (f *Fleet) Readiness(ctx context.Context, backup string) (failover.Result[Readiness], error) {
	d, err := f.driver(backup)
	if err != nil {
		return failover.Result[Readiness]{}, err
	}
	hosts, err := f.Hosts(ctx)
	hosts.Gaps = f.unasked(hosts)
	out := failover.Result[Readiness]{Value: Readiness{Backup: backup, Incomplete: true}, Served: hosts.Served, Gaps: hosts.Gaps}
	if served(hosts.Served, backup) {
		out.Value = f.readiness(d, hosts, time.Now())
	} else if err == nil {
		err = missing(hosts.Gaps)[backup]
	}
	if doubt := implausible(hosts.Gaps); doubt != nil {
		err = doubt
	}
	if err != nil {
		return out, fmt.Errorf("edr: whether %s can take over is not known: %w", backup, err)
	}
	return out, nil
}

func (f *Fleet) readiness(d Driver, hosts failover.Result[[]Host], now time.Time) Readiness {
	r := Readiness{Backup: d.Provider, Hosts: len(hosts.Value), Incomplete: !hosts.Complete(), QuotaKnown: len(d.Limits) > 0}
	names := namesOf(hosts.Value)
	for i, h := range hosts.Value {
		n := f.able(d.Provider, h, now)
		if names.rivals(i, "") && (n.Reason != NotEnrolled || names.rivals(i, d.Provider)) {
			n.Reason = Ambiguous
		}
		if n.Reason == 0 {
			r.Ready++
			continue
		}
		n.Host = h
		r.NotReady = append(r.NotReady, n)
	}
	r.Fastest, r.Paced = fastest(r.Ready, d.Limits), paced(r.Ready, d.Limits)
	return r
}

// able judges a host by itself. What is wrong with its identity comes before what is
// wrong with a record that may be another's.
func (f *Fleet) able(backup string, h Host, now time.Time) (n NotReady) {
	record, ok := h.Record(backup)
	n.LastSeen = record.LastSeen
	switch {
	case !ok:
		n.Reason = NotEnrolled
	case f.certain(h) != nil:
		n.Reason = TooWeak
	case now.Sub(record.LastSeen) > f.cfg.SilentAfter:
		n.Reason = Silent
	case record.Impaired != "":
		n.Reason, n.Detail = Impaired, record.Impaired
	}
	return n
}

// names finds the hosts of a list that share a name.
type names struct {
	hosts   []Host
	byLabel map[string][]int
}

func namesOf(hosts []Host) names {
	n := names{hosts, make(map[string][]int, len(hosts))}
	for i, h := range hosts {
		label, _ := splitName(h.Name)
		n.byLabel[label] = append(n.byLabel[label], i)
	}
	return n
}

// rivals reports whether host i's name means another host too, with a record at the
// provider; "" is any.
func (n names) rivals(i int, provider string) bool {
	label, _ := splitName(n.hosts[i].Name)
	for _, j := range n.byLabel[label] {
		if j == i {
			continue
		}
		for _, r := range n.hosts[j].Records {
			if (provider == "" || r.Provider == provider) && Hostname(n.hosts[i].Name).Matches(r) {
				return true
			}
		}
	}
	return false
}

// driver is the vendor of this id.
func (f *Fleet) driver(provider string) (Driver, error) {
	for _, m := range f.group.Members() {
		if m.ID == provider {
			return m.Value, nil
		}
	}
	return Driver{}, resilience.Misusef("edr: %q is not a provider of this fleet: it has %v", provider, f.Providers())
}

// unasked adds the vendors that a context kept the question from: what they know is
// missing as well.
func (f *Fleet) unasked(hosts failover.Result[[]Host]) []failover.Gap {
	gaps := hosts.Gaps
	known := missing(gaps)
	for _, p := range f.Providers() {
		if known[p] == nil && !served(hosts.Served, p) {
			gaps = append(gaps, failover.Gap{Provider: p, Err: errNotAsked})
		}
	}
	return gaps
}

func served(by []failover.Served, provider string) bool {
	for _, s := range by {
		if s.By == provider {
			return true
		}
	}
	return false
}

// missing are the gaps' errors by provider.
func missing(gaps []failover.Gap) map[string]error {
	out := map[string]error{}
	for _, g := range gaps {
		out[g.Provider] = g.Err
	}
	return out
}
