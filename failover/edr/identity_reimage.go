package edr

import (
	"fmt"
	"time"
)

// leftOut is a record that is not acted on, because a newer one of the same vendor
// is of the same machine.
type leftOut struct {
	old, by Record
}

// String says what was left out and why, for Host.Evidence.
func (l leftOut) String() string {
	const day = time.DateOnly + " 15:04"
	return fmt.Sprintf("left out %s:%s: last seen %s, before the same machine was enrolled again as %s at %s",
		l.old.Provider, l.old.ID, l.old.LastSeen.UTC().Format(day), l.by.ID, l.by.FirstSeen.UTC().Format(day))
}

// current leaves out the records of one name that a re-imaged machine left behind:
// those last seen before another record of the same vendor, with the same serial
// number, id or network card, was first seen. Two that were alive at the same time
// are of a cloned image, or of two machines, and both stay.
func (v view) current(records []Record) (kept []Record, left []leftOut) {
	if len(records) < 2 {
		return records, nil
	}
	faces := make([]face, len(records))
	newest := map[hardware]int{} // the last one enrolled
	for i := range records {
		faces[i] = v.face(&records[i])
		for _, key := range faces[i].hardware() {
			if n, ok := newest[key]; !ok || records[i].FirstSeen.After(records[n].FirstSeen) {
				newest[key] = i
			}
		}
	}
	for i := range records {
		if n := faces[i].replaced(faces, newest); n >= 0 {
			left = append(left, leftOut{records[i], records[n]})
		} else {
			kept = append(kept, records[i])
		}
	}
	return kept, left
}

// hardware is a key that two records of one machine at one vendor share.
type hardware struct{ provider, label, key, value string }

func (f face) hardware() (out []hardware) {
	add := func(key, value string) {
		if value != "" {
			out = append(out, hardware{f.Provider, f.label, key, value})
		}
	}
	add("entra", f.entra)
	add("instance", f.instance)
	add("serial", f.serial)
	for _, mac := range f.cards {
		add("card", mac)
	}
	return out
}

// replaced returns the record that took the place of one, -1 if none did.
func (f face) replaced(faces []face, newest map[hardware]int) int {
	for _, key := range f.hardware() {
		by := faces[newest[key]]
		if by.Record != f.Record && f.before(by) && compare(f, by).against == "" {
			return newest[key]
		}
	}
	return -1
}

// before reports that a record had ended when another began. What is not known is
// not before anything.
func (f face) before(by face) bool {
	return !f.LastSeen.IsZero() && !by.FirstSeen.IsZero() && f.LastSeen.Before(by.FirstSeen)
}
