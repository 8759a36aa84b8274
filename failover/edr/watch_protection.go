package edr

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// Protection is whether a host is protected, as far as it can be known.
type Protection uint8

// The verdicts. What cannot be told is never good and never bad: a host that is off, a
// vendor that did not answer.
const (
	ProtectionUnknown Protection = iota
	Unprotected                  // it runs, and no vendor covers it
	SingleCovered                // one vendor covers it; no second one is known to
	Protected                    // at least two vendors cover it
)

var protectionNames = [...]string{"unknown", "unprotected", "single_covered", "protected"}

// String returns the verdict's name.
func (p Protection) String() string {
	if int(p) < len(protectionNames) {
		return protectionNames[p]
	}
	return fmt.Sprintf("edr.Protection(%d)", uint8(p))
}

// MarshalText writes the verdict's name.
func (p Protection) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ProtectionReport is the protection of all hosts, in order of their names.
type ProtectionReport struct {
	Hosts []HostProtection
	// How many there are of each.
	Protected, SingleCovered, Unprotected, Unknown int
}

// HostProtection is the protection of a host. One that only heartbeats know has no
// records.
type HostProtection struct {
	Host      Host
	Verdict   Protection
	By        []string  // the vendors that cover it; of records of perhaps two machines, the first
	Heartbeat time.Time // zero if none is known
}

// Protection asks all vendors, and Config.Heartbeats, which hosts are protected.
//
// A vendor covers a host if its agent is alive and not impaired. An agent is alive if
// its last word is about as new as the newest sign that anybody has of the host
// (Driver.SeenEvery), and that is not older than Config.SilentAfter: so a host that was
// covered when it was switched off stays covered for that long, and is unknown then. A
// host that sends heartbeats while no agent speaks is unprotected. A vendor that did not
// answer, or whose list matches ErrImplausible, is a gap: it makes no host unprotected.
// Heartbeats that fail are a gap of the name "heartbeats". The error is nil if any
// vendor answered.
func (f *Fleet) Protection(ctx context.Context) (failover.Result[ProtectionReport], error) {
	hosts, err := f.Hosts(ctx)
	hosts.Gaps = f.unasked(hosts)
	out := failover.Result[ProtectionReport]{Served: hosts.Served, Gaps: hosts.Gaps}
	if err != nil {
		return out, err
	}
	var last map[string]time.Time
	if f.cfg.Heartbeats != nil {
		if last, err = f.cfg.Heartbeats(ctx); err != nil {
			out.Gaps, last = append(out.Gaps, failover.Gap{Provider: "heartbeats", Err: err}), nil
		}
	}
	out.Value = f.protection(hosts, heartbeatsOf(last), time.Now())
	return out, nil
}

func (f *Fleet) protection(hosts failover.Result[[]Host], beats heartbeats, now time.Time) ProtectionReport {
	r := ProtectionReport{Hosts: make([]HostProtection, 0, len(hosts.Value))}
	j := f.judges(hosts, now)
	for i, h := range hosts.Value {
		label, _ := splitName(h.Name)
		last := beats.of(h.Name, len(j.names.byLabel[label]) == 1)
		if j.names.rivals(i, "") {
			last = time.Time{} // it may be the other's, while this record is an old one
		}
		p := HostProtection{Host: h, Verdict: j.judge(i, last), Heartbeat: last}
		for k, w := range j.words {
			if w == covered {
				p.By = append(p.By, j.drivers[k].Provider)
			}
		}
		r.Hosts = append(r.Hosts, p)
	}
	for _, same := range beats {
		for _, b := range same {
			if !b.claimed {
				r.Hosts = append(r.Hosts, HostProtection{Host: Host{Name: strings.ToLower(b.name)}, Verdict: j.stranger(b.last), Heartbeat: b.last})
			}
		}
	}
	slices.SortStableFunc(r.Hosts, func(a, b HostProtection) int { return strings.Compare(a.Host.Name, b.Host.Name) })
	for _, h := range r.Hosts {
		*[]*int{&r.Unknown, &r.Unprotected, &r.SingleCovered, &r.Protected}[h.Verdict]++
	}
	return r
}

// judges are what it takes to judge the hosts of one list.
type judges struct {
	f       *Fleet
	drivers []Driver
	gaps    map[string]error
	names   names
	now     time.Time
	words   []witness // of the host that is being judged
}

func (f *Fleet) judges(hosts failover.Result[[]Host], now time.Time) *judges {
	return &judges{f: f, drivers: f.cfg.Drivers, gaps: missing(hosts.Gaps), names: namesOf(hosts.Value), now: now}
}

func (j *judges) judge(i int, last time.Time) Protection {
	h := j.names.hosts[i]
	life := last
	for _, r := range h.Records {
		if r.LastSeen.After(life) {
			life = r.LastSeen
		}
	}
	j.words = j.words[:0]
	for _, d := range j.drivers {
		every := d.SeenEvery
		if every == 0 {
			every = 24 * time.Hour
		}
		w := absent
		if r, ok := h.Record(d.Provider); ok {
			w = word(r, every, life, j.now, j.f.cfg.SilentAfter)
		} else if j.gaps[d.Provider] != nil || j.names.rivals(i, d.Provider) {
			w = blind
		}
		j.words = append(j.words, w)
	}
	if j.f.certain(h) != nil {
		// The records may be of two machines: each has at most the cover of one.
		best := slices.Index(j.words, slices.Max(j.words))
		for k := range j.words {
			if k != best {
				j.words[k] = blind
			}
		}
	}
	return verdict(j.words, beat(last, life, j.now))
}

// stranger judges a machine that only heartbeats know.
func (j *judges) stranger(last time.Time) Protection {
	j.words = j.words[:0]
	for _, d := range j.drivers {
		w := absent
		if j.gaps[d.Provider] != nil {
			w = blind
		}
		j.words = append(j.words, w)
	}
	return verdict(j.words, beat(last, last, j.now))
}
