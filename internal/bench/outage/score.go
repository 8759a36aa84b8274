package main

import (
	"math"
	"slices"
	"time"
)

// bin is the resolution of settled and back.
const bin = 100 * time.Millisecond

// score is one run in numbers, or the median of several. A time that never came
// is +Inf, which sorts behind every other.
type score struct {
	okPct               float64
	p50, p99, worst     float64 // these, settled and back in ms
	toPrimary, toBackup float64
	settled, back       float64
}

// score judges a run by the calls that began while the primary was sick; own is
// the backup's own p99.
func (r result) score(own time.Duration) score {
	sickFrom, sickTo := r.course.healthy, r.course.healthy+r.course.sick
	var sick []record
	for _, c := range r.records {
		if c.at >= sickFrom && c.at < sickTo {
			sick = append(sick, c)
		}
	}
	took := durations(sick)
	return score{
		okPct:     100 - errorPct(sick),
		p50:       ms(percentile(took, 50)),
		p99:       ms(percentile(took, 99)),
		worst:     ms(percentile(took, 100)),
		toPrimary: float64(r.toPrimary),
		toBackup:  float64(r.toBackup),
		settled:   settled(sick, sickFrom, r.course.sick, 2*own),
		back:      back(r.records, sickTo, r.course.healed),
	}
}

// settled walks back from the end to the last bin that was not yet good.
func settled(records []record, from, long, bound time.Duration) float64 {
	bins := split(records, from, long, func(c record) time.Duration { return c.at })
	for i, b := range slices.Backward(bins) {
		if len(b) == 0 || errorPct(b) > 1 || percentile(durations(b), 99) > bound {
			if i == len(bins)-1 {
				return math.Inf(1)
			}
			return ms(time.Duration(i+1) * bin)
		}
	}
	return 0
}

// back finds the first bin in which the primary gave more than 90 % of the answers.
func back(records []record, from, long time.Duration) float64 {
	for i, b := range split(records, from, long, func(c record) time.Duration { return c.at + c.took }) {
		answers, primary := 0, 0
		for _, c := range b {
			if c.from != nobody {
				answers++
			}
			if c.from == fromPrimary {
				primary++
			}
		}
		if float64(primary) > 0.9*float64(answers) {
			return ms(time.Duration(i) * bin)
		}
	}
	return math.Inf(1)
}

// split sorts the records into bins by the time that when gives.
func split(records []record, from, long time.Duration, when func(record) time.Duration) [][]record {
	bins := make([][]record, long/bin)
	for _, c := range records {
		if at := when(c) - from; at >= 0 && at < long {
			bins[at/bin] = append(bins[at/bin], c)
		}
	}
	return bins
}

func durations(records []record) []time.Duration {
	took := make([]time.Duration, len(records))
	for i, c := range records {
		took[i] = c.took
	}
	slices.Sort(took)
	return took
}

// percentile of sorted durations, by nearest rank.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*p+99)/100-1]
}

func errorPct(records []record) float64 {
	failed := 0
	for _, c := range records {
		if c.from == nobody {
			failed++
		}
	}
	return 100 * float64(failed) / float64(max(1, len(records)))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median of each number by itself.
func median(scores []score) score {
	of := func(field func(score) float64) float64 {
		values := make([]float64, len(scores))
		for i, s := range scores {
			values[i] = field(s)
		}
		slices.Sort(values)
		low, high := values[(len(values)-1)/2], values[len(values)/2]
		if low == high { // also if both are infinite
			return low
		}
		return (low + high) / 2
	}
	return score{
		okPct:     of(func(s score) float64 { return s.okPct }),
		p50:       of(func(s score) float64 { return s.p50 }),
		p99:       of(func(s score) float64 { return s.p99 }),
		worst:     of(func(s score) float64 { return s.worst }),
		toPrimary: of(func(s score) float64 { return s.toPrimary }),
		toBackup:  of(func(s score) float64 { return s.toBackup }),
		settled:   of(func(s score) float64 { return s.settled }),
		back:      of(func(s score) float64 { return s.back }),
	}
}
