package edr

import (
	"slices"
	"strings"
)

// view is what is known beyond the records when they are compared.
type view struct {
	docks map[string]bool    // network cards that more than one host has
	links map[recordID]*Link // by each of their members
}

// recordID is a record's key.
type recordID struct{ provider, id string }

func (r Record) key() recordID { return recordID{r.Provider, r.ID} }

// merge joins the records of all vendors, in the order of preference, into
// machines. It takes the records as its own. The time it needs grows with their
// number, not with its square, however many share a name or a card.
func (v view) merge(records []Record) []Host {
	out, records := v.pinned(records)
	type named struct {
		name string // what all records of a machine have in common
		at   int32
	}
	order := make([]named, len(records))
	for i, r := range records {
		label, _ := splitName(r.Hostname)
		order[i] = named{cut(label), int32(i)}
	}
	slices.SortFunc(order, func(a, b named) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return int(a.at - b.at)
	})
	sorted := make([]Record, 0, len(records)) // the hosts' records are parts of it
	for i := 0; i < len(order); {
		start := len(sorted)
		for name := order[i].name; i < len(order) && order[i].name == name; i++ {
			sorted = append(sorted, records[order[i].at])
		}
		out = append(out, v.bucket(sorted[start:len(sorted):len(sorted)])...)
	}
	slices.SortStableFunc(out, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// bucket joins the records whose names are the same, or were before they were cut.
func (v view) bucket(records []Record) []Host {
	if h, against := v.machine(records); against == "" && !v.cutOnly(h) {
		return []Host{h}
	}
	byLabel := map[string][]Record{}
	var labels []string
	for _, r := range records {
		label, _ := r.fullName()
		if byLabel[label] == nil {
			labels = append(labels, label)
		}
		byLabel[label] = append(byLabel[label], r)
	}
	var units []Host
	for _, label := range labels {
		units = append(units, v.sameName(byLabel[label], len(labels) > 1)...)
	}
	return v.joinByKeys(units)
}

// cutOnly reports whether nothing but the beginning of a name makes records one.
func (v view) cutOnly(h Host) bool {
	if h.Grade != Weak {
		return false
	}
	first, _ := h.Records[0].fullName()
	return slices.ContainsFunc(h.Records, func(r Record) bool { label, _ := r.fullName(); return label != first })
}

// sameName joins the records of one name: one of each vendor, unless there are
// several or they contradict each other; then each stays alone. So they do if the
// name may be one that was cut, and nothing else agrees.
func (v view) sameName(records []Record, mayBeCut bool) []Host {
	kept, left := v.current(records)
	h, against := v.machine(kept)
	out := []Host{h}
	if against != "" || h.Grade == Weak && mayBeCut {
		out = nil
		for i, r := range kept {
			out = append(out, Host{Name: name(kept[i : i+1]), Records: []Record{r}})
		}
	}
	for _, l := range left {
		for i := range out {
			if slices.ContainsFunc(out[i].Records, func(r Record) bool { return r.key() == l.by.key() }) {
				out[i].Evidence = append(out[i].Evidence, l.String())
			}
		}
	}
	return out
}

// crowd is how many hosts may have a key before it is no key: an image that was
// cloned without a new one.
const crowd = 8

// pinned takes the hosts that pins join out of the records: their names need not
// agree.
func (v view) pinned(records []Record) (hosts []Host, rest []Record) {
	byLink := map[*Link][]Record{}
	for _, r := range records {
		if l := v.links[r.key()]; l != nil && l.Pinned != nil {
			byLink[l] = append(byLink[l], r)
		}
	}
	if len(byLink) == 0 {
		return nil, records
	}
	for _, r := range records {
		switch members := byLink[v.links[r.key()]]; {
		case len(members) < 2:
			rest = append(rest, r)
		case members[0].key() == r.key():
			h, _ := v.machine(members)
			hosts = append(hosts, h)
		}
	}
	return hosts, rest
}

// joinByKeys joins hosts that a key of the machine joins, where the name alone does
// not say which: there are several of the name, or it was cut.
func (v view) joinByKeys(units []Host) []Host {
	byKey := map[hardware][]int{}
	keys := make([][]hardware, len(units))
	for i, u := range units {
		for j := range u.Records {
			for _, k := range v.face(&u.Records[j]).hardware() {
				k.provider, k.label = "", ""
				keys[i] = append(keys[i], k)
				byKey[k] = append(byKey[k], i)
			}
			for _, k := range v.linked(u.Records[j]) {
				keys[i] = append(keys[i], k)
				byKey[k] = append(byKey[k], i)
			}
		}
	}
	partners := make([][]int, len(units)) // each with itself, in order
	for i := range units {
		partners[i] = []int{i}
		for _, k := range keys[i] {
			if len(byKey[k]) > crowd {
				continue
			}
			for _, j := range byKey[k] {
				if !slices.Contains(partners[i], j) && v.oneMachine(units[i], units[j]) {
					partners[i] = append(partners[i], j)
				}
			}
		}
		slices.Sort(partners[i])
	}
	var out []Host
	for i, group := range partners {
		// All of a group must see the same group: otherwise one of them may belong to
		// two machines, and nobody knows to which.
		agreed := !slices.ContainsFunc(group, func(j int) bool { return !slices.Equal(partners[j], group) })
		if !agreed || len(group) == 1 {
			out = append(out, units[i])
			continue
		}
		if group[0] != i {
			continue // is in already
		}
		out = append(out, v.join(units, group)...)
	}
	return out
}

// oneMachine reports whether what is known of two hosts makes them one. Of a name
// that was cut less is asked, for there the grade says how little it is.
func (v view) oneMachine(a, b Host) bool {
	h, against := v.machine(v.inOrder(a, b))
	if against != "" {
		return false
	}
	la, _ := a.Records[0].fullName()
	lb, _ := b.Records[0].fullName()
	return h.Grade >= Strong || h.Grade == Probable && la != lb
}

func (v view) inOrder(hosts ...Host) (records []Record) {
	for _, h := range hosts {
		records = append(records, h.Records...)
	}
	return records
}

// join makes one host of several, or leaves them if all together are none.
func (v view) join(units []Host, group []int) []Host {
	var hosts []Host
	for _, j := range group {
		hosts = append(hosts, units[j])
	}
	h, against := v.machine(v.inOrder(hosts...))
	if against != "" {
		return hosts
	}
	for _, u := range hosts {
		for _, e := range u.Evidence {
			if strings.HasPrefix(e, "left out ") {
				h.Evidence = append(h.Evidence, e)
			}
		}
	}
	return []Host{h}
}

// machine makes a host of records, or says why they are not one.
func (v view) machine(records []Record) (h Host, against string) {
	h = Host{Name: name(records), Records: records}
	if len(records) < 2 {
		return h, ""
	}
	for i, a := range records {
		for _, b := range records[:i] {
			if a.Provider == b.Provider {
				return Host{}, a.Provider + " has more than one host of this name"
			}
		}
	}
	faces := make([]face, len(records))
	for i := range records {
		faces[i] = v.face(&records[i])
	}
	for i, b := range faces[1:] {
		best := likeness{}
		for _, a := range faces[:i+1] {
			l := v.compare(a, b)
			if l.against != "" {
				return Host{}, l.against
			}
			if l.grade > best.grade {
				best = l
			}
		}
		if h.Grade == Alone || best.grade < h.Grade {
			h.Grade = best.grade
		}
		h.Evidence = append(h.Evidence, best.evidence...)
	}
	return h, ""
}
