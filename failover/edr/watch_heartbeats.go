package edr

import (
	"context"
	"time"
)

// Heartbeats tells when machines last showed that they run, by host name, short or
// fully qualified: a witness that depends on no EDR vendor's agent, such as
// microsoft.Heartbeats. A machine without a heartbeat is left out.
type Heartbeats func(context.Context) (map[string]time.Time, error)

// heartbeats are those of a fleet, found by name.
type heartbeats map[string][]*heartbeat // by label

type heartbeat struct {
	name, domain string
	last         time.Time
	claimed      bool // by a host that a vendor knows
}

func heartbeatsOf(last map[string]time.Time) heartbeats {
	out := make(heartbeats, len(last))
next:
	for name, at := range last {
		label, domain := splitName(name)
		if label == "" {
			continue
		}
		for _, b := range out[label] {
			if b.domain == domain { // the same name, in another case
				if at.After(b.last) {
					b.last = at
				}
				continue next
			}
		}
		out[label] = append(out[label], &heartbeat{name: name, domain: domain, last: at})
	}
	return out
}

// of is the heartbeat of a host, zero if there is none, or if it may be another's:
// alone says that no other host has the label.
func (b heartbeats) of(name string, alone bool) time.Time {
	label, domain := splitName(name)
	var may []*heartbeat
	for _, c := range b[label] {
		switch {
		case c.domain == domain && domain != "":
			c.claimed = true
			return c.last
		case c.domain == "" || domain == "":
			may = append(may, c)
		}
	}
	for _, c := range may {
		c.claimed = true
	}
	if len(may) != 1 || !alone {
		return time.Time{}
	}
	return may[0].last
}
