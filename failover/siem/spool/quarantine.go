package spool

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const quarantineDir = "quarantine"

// quarantine copies bytes aside; "" if they are more than may be kept, or if the
// disk refuses.
func (s *Spool) quarantine(from file, base uint64, at, n int64) string {
	if n <= 0 || !s.makeWay(n) {
		return ""
	}
	name := fmt.Sprintf("%s/%s.%d", quarantineDir, segmentName(base), at)
	f, err := s.files.open(name, true)
	if err != nil {
		return ""
	}
	const window = 1 << 20
	for done := int64(0); done < n && err == nil; done += window {
		var b []byte
		if b, err = readAt(from, at+done, min(window, n-done)); err == nil {
			_, err = f.WriteAt(b, done)
		}
	}
	if err == nil {
		err = f.sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.files.sync(quarantineDir)
	}
	if err != nil {
		_ = s.files.remove(name)
		return ""
	}
	return name
}

type quarantined struct {
	name string
	base uint64
	at   int64
	size int64
}

// makeWay removes the oldest files of quarantine/ until n bytes more may be kept.
// What is not named as the spool names its files is somebody else's and stays.
func (s *Spool) makeWay(n int64) bool {
	if n > s.config.QuarantineBytes {
		return false
	}
	names, err := s.files.list(quarantineDir)
	if err != nil {
		return false
	}
	var kept []quarantined
	for _, name := range names {
		segment, offset, ok := strings.Cut(name, suffix+".")
		base, isBase := segmentBase(segment + suffix)
		at, err := strconv.ParseInt(offset, 10, 64)
		if !ok || !isBase || err != nil {
			continue
		}
		q := quarantined{name: quarantineDir + "/" + name, base: base, at: at}
		f, err := s.files.open(q.name, false)
		if err != nil {
			return false
		}
		q.size, err = f.size()
		if f.Close() != nil || err != nil {
			return false
		}
		n += q.size
		kept = append(kept, q)
	}
	slices.SortFunc(kept, func(a, b quarantined) int { // positions rise, clocks do not
		return cmp.Or(cmp.Compare(a.base, b.base), cmp.Compare(a.at, b.at))
	})
	for _, q := range kept {
		if n <= s.config.QuarantineBytes {
			break
		}
		if s.files.remove(q.name) != nil {
			return false
		}
		s.recovered.Dropped = append(s.recovered.Dropped, q.name)
		n -= q.size
	}
	return n <= s.config.QuarantineBytes
}
