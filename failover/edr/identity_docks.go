package edr

import "strconv"

// sighting is a host of one name that has a network card, and from when to when.
type sighting struct {
	label       string
	first, last int64 // Unix seconds
}

// sharedCards finds the network cards that hosts of different names have at the
// same time, such as those of docks, and adds them to what is known. A machine that
// was renamed, and left a record behind, is no second host.
func sharedCards(records []Record, known map[string]bool) map[string]bool {
	out := map[string]bool{}
	for mac := range known {
		out[mac] = true
	}
	// Nearly every card is on hosts of one name; the others are few.
	first := make(map[uint64]sighting, len(records))
	more := map[uint64][]sighting{}
	for i := range records {
		macs := cards(records[i])
		if len(macs) == 0 {
			continue
		}
		now := sightingOf(&records[i])
		for _, mac := range macs {
			key, err := strconv.ParseUint(mac, 16, 64)
			if err != nil || out[mac] {
				continue
			}
			before, ok := first[key]
			switch {
			case !ok:
				first[key] = now
			case before.extend(now):
				first[key] = before
			case before.overlaps(now):
				out[mac] = true
			default:
				if !seen(more[key], now, func(s []sighting) { more[key] = s }) {
					out[mac] = true
					delete(more, key)
				}
			}
		}
	}
	return out
}

// seen adds a sighting to those of other names. It is no if two were at the same
// time, or there are too many to be one machine's.
func seen(list []sighting, now sighting, keep func([]sighting)) bool {
	for i := range list {
		if list[i].extend(now) {
			return true
		}
		if list[i].overlaps(now) {
			return false
		}
	}
	keep(append(list, now))
	return len(list) < crowd
}

func sightingOf(r *Record) sighting {
	label, _ := r.fullName()
	s := sighting{label: label, last: 1<<63 - 1} // what is not known is any time
	if !r.FirstSeen.IsZero() {
		s.first = r.FirstSeen.Unix()
	}
	if !r.LastSeen.IsZero() {
		s.last = r.LastSeen.Unix()
	}
	return s
}

// extend takes another sighting of the same host in.
func (s *sighting) extend(by sighting) bool {
	if !sameLabel(s.label, by.label) {
		return false
	}
	if len(by.label) > len(s.label) {
		s.label = by.label
	}
	s.first, s.last = min(s.first, by.first), max(s.last, by.last)
	return true
}

func (s sighting) overlaps(t sighting) bool { return s.first <= t.last && t.first <= s.last }
