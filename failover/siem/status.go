package siem

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover"
)

// Status is how a pump stands at a moment: a value for status pages, and by String a
// text for people. What it counts it counts since [Open], unless it says otherwise. Texts of errors are cut short
// and may quote the other side.
type Status struct {
	At time.Time `json:"at"`
	// State is "running", "standby" (Run delivers, and waits for Config.Lease to read)
	// or "stopped".
	State    string               `json:"state"`
	Since    time.Time            `json:"since,omitzero"` // it is running
	Sources  []SourceStatus       `json:"sources"`        // in the order of Config.Sources
	Silences []Silence            `json:"silences"`
	Delivery DeliveryStatus       `json:"delivery"`
	Spool    SpoolStatus          `json:"spool"`
	Sinks    failover.Explanation `json:"sinks"`
	// Dead counts dead letters, DeadAt is when there was one last.
	Dead   int64     `json:"dead"`
	DeadAt time.Time `json:"dead_at,omitzero"`
	// Gaps counts those of [Pump.Gaps] that are open.
	Gaps int `json:"gaps"`

	primary string
	patient time.Duration // how long it may take until something is acknowledged
}

// SourceStatus is how a source stands.
type SourceStatus struct {
	Name  string    `json:"name"`
	Heard time.Time `json:"heard,omitzero"` // the last sign of life
	Event time.Time `json:"event,omitzero"` // the last event that came
	// Failing: its Read ended, and it has not been heard since.
	Failing  bool      `json:"failing"`
	Failures int64     `json:"failures"`
	Error    string    `json:"error,omitempty"` // of the last failure
	ErrorAt  time.Time `json:"error_at,omitzero"`
	// Stored events are in the spool, Acknowledged ones need not be there any more:
	// delivered, in the dead letters, or left out by the Mapping.
	Stored       int64     `json:"stored"`
	Acknowledged int64     `json:"acknowledged"`
	Freshness    Freshness `json:"freshness"`
}

// DeliveryStatus is how the delivery stands.
type DeliveryStatus struct {
	// Events are those that the spool has given back since Config.Dir was made.
	Events     int64 `json:"events"`
	Rows       int64 `json:"rows"`       // accepted by sinks
	Backfilled int64 `json:"backfilled"` // rows that the primary got later
	// Acknowledged is when the last batch was.
	Acknowledged time.Time `json:"acknowledged,omitzero"`
	// Why a batch is sent again and again, since Since; empty: none is.
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// SpoolStatus is what waits.
type SpoolStatus struct {
	Bytes int64 `json:"bytes"` // on disk
	Max   int64 `json:"max"`
	// Drained: all that is in it is delivered.
	Drained bool `json:"drained"`
	// Oldest is when the oldest event that waits came here; zero: none waits, or what
	// waits has not been read yet after a restart.
	Oldest time.Time `json:"oldest,omitzero"`
	// Full is since when sources wait for room; zero: none does.
	Full time.Time `json:"full,omitzero"`
	Disk string    `json:"disk,omitempty"` // what is wrong with it but that it is full, or why a dead letter waits
}

const (
	stateRunning = "running"
	stateStandby = "standby"
	stateStopped = "stopped"

	lateAfter  = 5 * time.Minute // what waits for so long is told
	deadRecent = time.Hour       // and so are dead letters
)

// Status tells how the pump stands. It may be called at any time, also after Close.
func (p *Pump) Status() Status {
	s := Status{
		At: time.Now(), State: stateStopped, Silences: p.watch.silences(), Sinks: p.group.Explain(),
		Dead: p.counts.dead.Load(), primary: p.primary(), patient: p.config.Timeout + 30*time.Second,
	}
	s.Delivery.Rows, s.Delivery.Backfilled = p.counts.delivered.Load(), p.counts.backfilled.Load()
	p.watch.tell(&s)
	for _, g := range p.Gaps() {
		if g.Closed.IsZero() {
			s.Gaps++
		}
	}
	since, why, disk := p.health.standing()
	s.Delivery.Why, s.Delivery.Since, s.Spool.Disk = cut(why), since, cut(cmp.Or(disk, p.dead.waiting()))
	stats := p.spool.Stats()
	s.Delivery.Events = int64(stats.Events[live])
	s.Spool.Bytes, s.Spool.Max, s.Spool.Drained = stats.Bytes, p.config.MaxBytes, drained(stats)
	s.Spool.Oldest, s.Delivery.Acknowledged = p.fresh.waits() // what came since it was drained is in it
	s.Spool.Full = p.health.fullSince()
	for _, f := range p.Freshness() {
		for i := range s.Sources {
			if src := &s.Sources[i]; src.Name == f.Source {
				src.Freshness = f
				src.Stored, _, src.Acknowledged = p.fresh.counted(f.Source)
			}
		}
	}
	return s
}

// tell adds what the watch knows.
func (w *watch) tell(s *Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Since, s.DeadAt = w.runs, w.deadAt
	switch {
	case !w.begun.IsZero():
		s.State, s.Since = stateRunning, w.begun
	case !w.runs.IsZero():
		s.State = stateStandby
	}
	if s.Dead > w.dead {
		s.DeadAt = s.At
	}
	for _, src := range w.pump.config.Sources {
		t := SourceStatus{Name: src.Name()}
		if of := w.sources[src.Name()]; of != nil {
			t.Heard, t.Event, t.Failing, t.Failures = of.heard, of.event, of.failing(), of.failures
			t.Error, t.ErrorAt = cut(of.err), of.failed
		}
		s.Sources = append(s.Sources, t)
	}
}

func cut(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "..."
	}
	return text
}

// OK reports whether there is no problem.
func (s Status) OK() bool { return len(s.Problems()) == 0 }

// Problems tells what is wrong, for people; empty: all sources are heard, what comes is
// stored, the primary sink takes it, nothing waits longer than five minutes, and no gap
// is open. A dead letter is a problem for an hour. The sources of a standby are not
// looked at: another process reads them.
func (s Status) Problems() (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if s.State == stateStopped {
		add("it does not run")
	}
	for _, src := range s.Sources {
		switch {
		case s.State == stateStandby: // another process hears them
		case src.Failing:
			add("source %s fails since %s: %s", src.Name, clock(src.ErrorAt), src.Error)
		case s.State == stateRunning && src.Heard.Before(s.Since) && s.At.Sub(s.Since) >= unheardFor:
			add("source %s has not been heard since the start at %s", src.Name, clock(s.Since))
		}
	}
	for _, x := range s.Silences {
		if s.State != stateStandby {
			add("%s", x)
		}
	}
	if !s.Spool.Full.IsZero() {
		add("the spool is full, and sources wait, since %s", clock(s.Spool.Full))
	}
	if s.Spool.Disk != "" {
		add("the spool: %s", s.Spool.Disk)
	}
	waits := s.waits()
	switch {
	case s.Delivery.Why != "":
		add("no sink takes a batch since %s: %s", clock(s.Delivery.Since), s.Delivery.Why)
	case s.State != stateStopped && !waits.IsZero() && s.At.Sub(later(waits, later(s.Delivery.Acknowledged, s.Since))) > s.patient:
		add("nothing was acknowledged for %v though events wait", s.At.Sub(later(waits, later(s.Delivery.Acknowledged, s.Since))).Round(time.Second))
	}
	if !waits.IsZero() && s.At.Sub(waits) >= lateAfter {
		add("the oldest event waits for %v", s.At.Sub(waits).Round(time.Second))
	}
	if s.Sinks.Current != s.primary {
		add("events go to %q, not to the primary sink %s", s.Sinks.Current, s.primary)
	}
	if s.Gaps > 0 {
		add("gaps: %d are open", s.Gaps)
	}
	if s.Dead > 0 && s.At.Sub(s.DeadAt) < deadRecent {
		add("%d dead letters, the last one at %s", s.Dead, clock(s.DeadAt))
	}
	return all
}

// waits is since when something waits; zero: nothing does.
func (s *Status) waits() time.Time {
	if s.Spool.Oldest.IsZero() && !s.Spool.Drained {
		return later(s.Delivery.Acknowledged, s.Since) // it is not known, at least since then
	}
	return s.Spool.Oldest
}

// String tells it one thing a line, the problems first.
func (s Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "siem: %s", s.State)
	if !s.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", clock(s.Since))
	}
	problems := s.Problems()
	if len(problems) == 0 {
		b.WriteString(", all is well")
	}
	for _, p := range problems {
		fmt.Fprintf(&b, "\n  ! %s", p)
	}
	for _, src := range s.Sources {
		fmt.Fprintf(&b, "\n  source %s: %d events stored, %d acknowledged", src.Name, src.Stored, src.Acknowledged)
		if !src.Heard.IsZero() {
			fmt.Fprintf(&b, "; heard at %s", clock(src.Heard))
		}
		if !src.Event.IsZero() {
			fmt.Fprintf(&b, "; the last event at %s", clock(src.Event))
		}
		if src.Failures > 0 {
			fmt.Fprintf(&b, "; failures: %d, the last one at %s: %s", src.Failures, clock(src.ErrorAt), src.Error)
		}
		fmt.Fprintf(&b, "\n    freshness of %s", src.Freshness)
	}
	fmt.Fprintf(&b, "\n  spool: %d of %d bytes", s.Spool.Bytes, s.Spool.Max)
	switch {
	case !s.Spool.Oldest.IsZero():
		fmt.Fprintf(&b, ", the oldest that waits came at %s", clock(s.Spool.Oldest))
	case s.Spool.Drained:
		b.WriteString(", nothing waits")
	}
	fmt.Fprintf(&b, "\n  delivery: %d rows", s.Delivery.Rows)
	if s.Delivery.Backfilled > 0 {
		fmt.Fprintf(&b, ", %d more to the primary later", s.Delivery.Backfilled)
	}
	if !s.Delivery.Acknowledged.IsZero() {
		fmt.Fprintf(&b, ", the last one at %s", clock(s.Delivery.Acknowledged))
	}
	if s.Gaps > 0 {
		fmt.Fprintf(&b, "; open gaps: %d", s.Gaps)
	}
	if s.Dead > 0 {
		fmt.Fprintf(&b, "; dead letters: %d", s.Dead)
	}
	fmt.Fprintf(&b, "\n  %s", strings.ReplaceAll(s.Sinks.String(), "\n", "\n  "))
	return b.String()
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
