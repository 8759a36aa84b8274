package edr

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"
)

// belief is what is remembered of a vendor's list of hosts, to see whether the next
// one can be true: a vendor's outage can be an answer of 200 that lists a part of the
// hosts, or none (facts/product.md 0.7).
//
// The reference is the last list that was believed. It is replaced by a list that only
// grew, or when it is old: lists that each lose a little less than half, one soon after
// the other, are held against the first of them.
type belief struct {
	List  sketch    `json:"list"`
	At    time.Time `json:"at"` // when it was last taken
	Doubt *doubt    `json:"doubt,omitempty"`
}

// doubt is the list that was not believed.
type doubt struct {
	List  sketch    `json:"list"`
	Since time.Time `json:"since"` // lists have looked like this since
}

// judge holds a list against the belief and returns the belief after it. A list that
// is not plausible is believed when it has stayed the same for so long.
func (b belief) judge(l listing, now time.Time, after time.Duration) (belief, bool) {
	fresh := belief{List: l.sketch(), At: now}
	switch {
	case b.List.survivesIn(l): // the first list does: nothing was there before
		b.Doubt = nil
		if grew := b.List.allIn(l) && len(l) > b.List.Count; grew || now.Sub(b.At) >= after {
			return fresh, true
		}
		return b, true
	case b.Doubt == nil || !b.Doubt.List.agrees(l):
		b.Doubt = &doubt{List: fresh.List, Since: now}
		return b, false
	case now.Sub(b.Doubt.Since) >= after:
		return fresh, true
	}
	return b, false
}

// equal reports that there is nothing new to write down.
func (b belief) equal(o belief) bool {
	if (b.Doubt == nil) != (o.Doubt == nil) || b.Doubt != nil && (!b.Doubt.Since.Equal(o.Doubt.Since) || !b.Doubt.List.equal(o.Doubt.List)) {
		return false
	}
	return b.At.Equal(o.At) && b.List.equal(o.List)
}

// listing is the hashes of all ids of a list, sorted, each once.
type listing []uint64

func listingOf(records []Record) listing {
	l := make(listing, len(records))
	for i, r := range records {
		sum := sha256.Sum256([]byte(r.ID))
		l[i] = binary.BigEndian.Uint64(sum[:])
	}
	slices.Sort(l)
	return slices.Compact(l)
}

func (l listing) has(hash uint64) bool {
	_, ok := slices.BinarySearch(l, hash)
	return ok
}

func (l listing) sketch() sketch {
	return sketch{Count: len(l), Sample: slices.Clone(l[:min(len(l), sampleSize)])}
}

// A sample tells half of it to 8 hosts (one standard deviation): three times that is
// left open.
const (
	sampleSize  = 256
	sampleError = 24
)

// sketch is how many hosts a list had, and a sample of them: those with the smallest
// hashes, which are a fair one, and all of them in a small fleet.
type sketch struct {
	Count  int      `json:"count"`
	Sample []uint64 `json:"sample"`
}

func (s sketch) kept(l listing) (n int) {
	for _, hash := range s.Sample {
		if l.has(hash) {
			n++
		}
	}
	return n
}

func (s sketch) equal(o sketch) bool { return s.Count == o.Count && slices.Equal(s.Sample, o.Sample) }

func (s sketch) allIn(l listing) bool { return s.kept(l) == len(s.Sample) }

// smallFleet: in a fleet of less, half of the hosts can go on an ordinary day.
const smallFleet = 10

// survivesIn reports whether at least half of the hosts are still there, by number and
// by name; of a small fleet, one.
func (s sketch) survivesIn(l listing) bool {
	kept := s.kept(l)
	if s.Count < smallFleet {
		return s.Count == 0 || kept > 0
	}
	if s.Count > len(s.Sample) {
		kept += sampleError
	}
	return 2*len(l) >= s.Count && 2*kept >= len(s.Sample)
}

// agrees reports whether a list is the same as this one, up to a tenth.
func (s sketch) agrees(l listing) bool {
	return 10*s.kept(l) >= 9*len(s.Sample) && 10*len(l) <= 11*s.Count
}
