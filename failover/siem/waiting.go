package siem

import (
	"slices"
	"time"
)

// line is what of a feed waits to be delivered, as marks whose offsets and times both
// rise: of what waits up to a waymark's offset nothing is older than its time, but for
// what an earlier waymark stands for.
type line struct {
	marks []waymark
	step  int64 // marks less than this apart are one
}

type waymark struct {
	last uint64
	ms   int64 // since 1970
}

// lineMarks bounds a line: with more, marks are joined, and what waits appears older
// than it is by a 64th of the line's span at most.
const lineMarks = 128

func (l *line) push(last uint64, ms int64) {
	for n := len(l.marks); n > 0 && l.marks[n-1].ms >= ms; n-- {
		last = max(last, l.marks[n-1].last)
		l.marks = l.marks[:n-1] // what comes now is older and stays longer
	}
	if n := len(l.marks); n > 0 && (l.marks[n-1].last >= last || ms-l.marks[n-1].ms < l.step) {
		l.marks[n-1].last = max(last, l.marks[n-1].last)
		return
	}
	l.marks = append(l.marks, waymark{last, ms})
	for len(l.marks) > lineMarks {
		l.step = max(2*l.step, 1)
		kept := l.marks[:1]
		for _, m := range l.marks[1:] {
			if k := &kept[len(kept)-1]; m.ms-k.ms < l.step {
				k.last = m.last
			} else {
				kept = append(kept, m)
			}
		}
		l.marks = kept
	}
}

// settle removes what is delivered up to an offset.
func (l *line) settle(last uint64) {
	n := 0
	for n < len(l.marks) && l.marks[n].last <= last {
		n++
	}
	if l.marks = slices.Delete(l.marks, 0, n); len(l.marks) == 0 {
		l.step = 0
	}
}

// outstanding is what waits of a feed, by when it happened and by when it came here.
type outstanding struct{ happened, came line }

func (b *outstanding) push(last uint64, happened, came time.Time) {
	b.happened.push(last, happened.UnixMilli())
	b.came.push(last, came.UnixMilli())
}

func (b *outstanding) settle(last uint64) {
	b.happened.settle(last)
	b.came.settle(last)
}

// feedWaiting is a feed's backlog: what an earlier process left in the spool, as far
// as it has been read, and what has come since.
type feedWaiting struct {
	before, since outstanding
	first         uint64 // the first offset that has come since
	came          bool   // there is one
}

// oldest are the times of what has waited longest; zero if nothing waits.
func (f *feedWaiting) oldest() (happened, came time.Time) {
	for _, b := range []*outstanding{&f.before, &f.since} {
		if len(b.happened.marks) > 0 {
			happened = earlier(happened, time.UnixMilli(b.happened.marks[0].ms))
			came = earlier(came, time.UnixMilli(b.came.marks[0].ms))
		}
	}
	return happened, came
}

// earlier is the earlier one of two times; the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
