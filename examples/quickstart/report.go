package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jurymast/jurymast/failover/twin"
)

// report is what the clouds recorded and what state the machines are in; only
// the latencies are the callers' own.
type report struct {
	ContainedBy        string  `json:"contained_by"`
	FailedOver         bool    `json:"failed_over"`
	Calls              int     `json:"calls"`
	FailedCalls        int     `json:"failed_calls"`
	P50                float64 `json:"p50_ms"`
	P99                float64 `json:"p99_ms"`
	ReleasedEverywhere bool    `json:"released_everywhere"`
	Hosts              int     `json:"hosts"`

	clouds           *twin.Twin
	falcon, defender int // contain effects on the victim
	byFalcon         int // calls answered
	byDefender       int
	errs             []error
}

// noteContained asks the machines who holds the victim.
func (r *report) noteContained() {
	falcon, defender := r.clouds.Contained()
	var by []string
	if slices.Contains(falcon, victim) {
		by = append(by, "falcon")
	}
	if slices.Contains(defender, victim) {
		by = append(by, "defender")
	}
	r.ContainedBy = strings.Join(by, "+")
}

// noteEnd counts, from the clouds' records, effects and answered calls.
func (r *report) noteEnd(c *callers) {
	falcon, defender := r.clouds.Contained()
	r.ReleasedEverywhere = len(falcon) == 0 && len(defender) == 0
	for _, e := range r.clouds.Falcon.Effects() {
		if e.DeviceID == twin.FalconID(victim) && e.Action == "contain" {
			r.falcon++
		}
	}
	for _, a := range r.clouds.Azure.Actions() {
		if a.MachineID == twin.DefenderID(victim) && a.Type == "Isolate" {
			r.defender++
		}
	}
	r.FailedOver = r.falcon == 0 && r.defender > 0

	r.errs = c.errs
	r.Calls = len(c.took)
	byFalcon, byDefender := r.answered()
	for host, asked := range c.asked {
		r.byFalcon += byFalcon[host]
		r.byDefender += byDefender[host]
		r.FailedCalls += max(0, asked-byFalcon[host]-byDefender[host])
	}
	slices.Sort(c.took)
	r.P50, r.P99 = quantile(c.took, 0.50), quantile(c.took, 0.99)
}

// answered counts the state reads that each cloud answered, by host. A read ends
// with the host's record at Falcon, and with its machine actions at Defender.
func (r *report) answered() (falcon, defender map[int]int) {
	falcon, defender = map[int]int{}, map[int]int{}
	names, ids := map[string]int{}, map[string]int{}
	for i := range r.clouds.Hosts() {
		names["'"+twin.Hostname(i)+"'"] = i
		ids["machineId eq '"+twin.DefenderID(i)+"'"] = i
	}
	for _, q := range r.clouds.Falcon.Requests() {
		filter := q.Query.Get("filter")
		if q.Status != http.StatusOK || q.Path != "/devices/combined/devices/v1" || filter == "" {
			continue
		}
		quoted, _, _ := strings.Cut(strings.TrimPrefix(filter, "hostname:["), ",")
		falcon[names[quoted]]++
	}
	for _, q := range r.clouds.Azure.Requests() {
		if q.Status == http.StatusOK && q.Path == "/api/machineactions" {
			defender[ids[q.Query.Get("$filter")]]++
		}
	}
	return falcon, defender
}

func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	d := sorted[int(q*float64(len(sorted)-1))]
	return float64(d.Microseconds()) / 1000
}

func (r *report) table(out io.Writer) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("host contained by", "%s (asked to: Falcon %d times, Defender %d)", r.ContainedBy, r.falcon, r.defender)
	row("failed over", "%v", r.FailedOver)
	row("released everywhere", "%v", r.ReleasedEverywhere)
	row("calls", "%d, answered by Falcon %d, by Defender %d", r.Calls, r.byFalcon, r.byDefender)
	row("failed calls", "%d", r.FailedCalls)
	row("latency", "p50 %.1f ms, p99 %.1f ms (the first calls into the black hole wait for it)", r.P50, r.P99)
	row("hosts listed", "%d", r.Hosts)
	_ = w.Flush()
}

// broken says which promise did not hold.
func (r *report) broken() error {
	var errs []error
	promise := func(held bool, format string, args ...any) {
		if !held {
			errs = append(errs, fmt.Errorf("broken promise: "+format, args...))
		}
	}
	promise(r.ContainedBy == "defender", "the host is held by %q, not by Defender", r.ContainedBy)
	promise(r.FailedOver, "the containment did not fail over")
	promise(r.falcon <= 1 && r.defender <= 1, "contained more than once: Falcon %d, Defender %d", r.falcon, r.defender)
	promise(r.ReleasedEverywhere, "a host is still held")
	promise(r.FailedCalls == 0 && len(r.errs) == 0, "%d calls failed: %v", max(r.FailedCalls, len(r.errs)), errors.Join(r.errs...))
	promise(r.Calls > 100, "only %d calls were made", r.Calls)
	promise(r.Hosts == r.clouds.Hosts(), "%d of %d hosts were listed", r.Hosts, r.clouds.Hosts())
	return errors.Join(errs...)
}
