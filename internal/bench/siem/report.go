package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"text/tabwriter"
)

// report is what was measured, by scenario and contender.
type report struct {
	Machine   string                        `json:"machine"`
	Events    int                           `json:"events"`
	EventSize int                           `json:"event_bytes"` // on average, with the newline
	Seed      uint64                        `json:"seed"`
	Scenarios map[string]map[string]outcome `json:"scenarios"`
	// Ratios are Jurymast's events a second by the others', and its CPU time.
	Ratios   map[string]float64 `json:"ratios"`
	Missed   []string           `json:"missed"`   // of what Jurymast aims at, which depends on the machine
	Failures []string           `json:"failures"` // of what Jurymast promises

	order []row
}

// What Jurymast aims at.
const (
	maxCPU  = 7  // seconds a million events
	maxPeak = 64 // MB, with any backlog
)

var peers = []struct {
	name    string
	atLeast float64 // Jurymast's events a second by its own
}{{"loop", 0.65}, {"otel", 5}}

type row struct{ scenario, contender string }

func newReport(b *bench) *report {
	size := 0
	for _, t := range b.templates {
		size += len(t.line)
	}
	return &report{
		Machine: fmt.Sprintf("%d CPUs, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		Events:  b.events, EventSize: size / len(b.templates), Seed: b.seed,
		Scenarios: map[string]map[string]outcome{}, Ratios: map[string]float64{}, Missed: []string{}, Failures: []string{},
	}
}

// add takes the outcomes of a contender. Of several, the one with the median rate
// stands for all, but for what was lost: there it is the worst.
func (r *report) add(scenario, contender string, all []outcome) {
	slices.SortFunc(all, func(a, b outcome) int {
		switch {
		case a.Rate < b.Rate:
			return -1
		case a.Rate > b.Rate:
			return 1
		}
		return 0
	})
	out := all[len(all)/2]
	for _, o := range all {
		if o.Error != "" {
			out = o
			break
		}
		if o.Lost+o.Foreign > out.Lost+out.Foreign {
			out.Lost, out.Foreign, out.Distinct, out.Note = o.Lost, o.Foreign, o.Distinct, o.Note
		}
		out.Peak = max(out.Peak, o.Peak)
	}
	if r.Scenarios[scenario] == nil {
		r.Scenarios[scenario] = map[string]outcome{}
	}
	r.Scenarios[scenario][contender] = out
	r.order = append(r.order, row{scenario, contender})
}

// judge compares, and finds what Jurymast promised and did not keep.
func (r *report) judge(contenders []*contender) {
	base := r.Scenarios["throughput"]
	mine := base["jurymast"]
	miss := func(format string, args ...any) { r.Missed = append(r.Missed, fmt.Sprintf(format, args...)) }
	if mine.CPU > maxCPU {
		miss("throughput: %.1f CPU seconds a million events, want at most %d", mine.CPU, maxCPU)
	}
	for _, peer := range peers {
		if o, ok := base[peer.name]; ok && o.Rate > 0 && mine.Rate > 0 {
			r.Ratios["jurymast/"+peer.name] = round(mine.Rate/o.Rate, 100)
			r.Ratios["jurymast/"+peer.name+" cpu"] = round(mine.CPU/o.CPU, 100)
			if mine.Rate < peer.atLeast*o.Rate {
				miss("throughput: %.2f times the events a second of %s, want at least %v", mine.Rate/o.Rate, peer.name, peer.atLeast)
			}
		}
	}
	if !slices.ContainsFunc(contenders, func(c *contender) bool { return c.name == "jurymast" }) {
		return
	}
	fail := func(format string, args ...any) { r.Failures = append(r.Failures, fmt.Sprintf(format, args...)) }
	for _, at := range r.order {
		o := r.Scenarios[at.scenario][at.contender]
		if at.contender != "jurymast" {
			continue
		}
		if o.Error != "" {
			fail("%s: %s", at.scenario, o.Error)
			continue
		}
		lost := o.Lost
		if o.Kills != nil {
			lost = o.Kills.Lost
		}
		if lost != 0 {
			fail("%s: %d events lost", at.scenario, lost)
		}
		if o.Foreign != 0 {
			fail("%s: %d rows of no event", at.scenario, o.Foreign)
		}
		if o.Dead != nil && (*o.Dead != 1 || !o.DeadIsIt) {
			fail("%s: %d dead letters, not the one that was refused", at.scenario, *o.Dead)
		}
		if o.Peak > maxPeak {
			miss("%s: %.0f MB of memory, want at most %d", at.scenario, o.Peak, maxPeak)
		}
	}
}

func (r *report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		for _, outcomes := range r.Scenarios {
			for name, o := range outcomes {
				for _, v := range []*float64{&o.Rate, &o.CPU, &o.HarnessCPU, &o.Peak, &o.Seconds} {
					*v = round(*v, 100)
				}
				outcomes[name] = o
			}
		}
		return json.NewEncoder(w).Encode(r)
	}
	fmt.Fprintf(w, "%s; events of %d bytes; seed %d\n", r.Machine, r.EventSize, r.Seed)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "scenario\tcontender\tevents/s\tCPU s/M\tharness\tpeak MB\tp99 ms\tevents\tlost\tduplicates\tout of order\t  note")
	for _, at := range r.order {
		o := r.Scenarios[at.scenario][at.contender]
		if o.Error != "" {
			fmt.Fprintf(table, "%s\t%s\t\t\t\t\t\t\t\t\t\t  %s\n", at.scenario, at.contender, o.Error)
			continue
		}
		lost, duplicates, note := o.Lost, o.Duplicates, o.Note
		if k := o.Kills; k != nil {
			lost, duplicates = k.Lost, k.Duplicates
			note = fmt.Sprintf("%d kills, at most %d lost and %d twice", k.Runs, k.MaxLost, k.MaxDuplicates)
		}
		if o.DiskLow != nil {
			note = fmt.Sprintf("%.0f MB left on the disk at the least %s", *o.DiskLow, note)
		}
		if o.Dead != nil {
			note = fmt.Sprintf("%d dead letters %s", *o.Dead, note)
		}
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%.1f\t%.1f\t%.0f\t%.0f\t%d\t%d\t%d\t%d\t  %s\n", at.scenario, at.contender,
			o.Rate, o.CPU, o.HarnessCPU, o.Peak, o.P99, o.Events, lost, duplicates, o.Disordered, note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, peer := range peers {
		if v, ok := r.Ratios["jurymast/"+peer.name]; ok {
			fmt.Fprintf(w, "jurymast has %.2f times the events/s of %s for %.2f times the CPU\n", v, peer.name, r.Ratios["jurymast/"+peer.name+" cpu"])
		}
	}
	for _, m := range r.Missed {
		fmt.Fprintln(w, "missed:", m)
	}
	for _, f := range r.Failures {
		fmt.Fprintln(w, "FAILED:", f)
	}
	return nil
}

func round(v, parts float64) float64 { return math.Round(v*parts) / parts }
