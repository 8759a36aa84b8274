package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// plan is one run of a contender.
type plan struct {
	partitions, events int
	rate               float64
	outage             outage
	kills              bool
	killAt             int           // events that have arrived when it is killed
	killIn             time.Duration // so long after that, and after the outage began if there is one
	poison             bool          // one event in the middle is refused
	endWithOutage      bool          // no event happens after the outage
	validate           int64         // see sink.validate
	state              string        // directory; made if empty
	small              bool          // the state's disk is one that may become full
	settle             time.Duration // without a sign of life, after which nothing more is expected of one with less patience
	limit              time.Duration // for everything
}

// outage is a time in which the sink takes nothing.
type outage struct {
	at     int // events that have arrived when it begins
	lasts  time.Duration
	status int // that is answered; refuseConnections: not even that
}

const refuseConnections = -1

// result is what became of a run, as the harness saw it.
type result struct {
	Events     int             `json:"events"`
	Rate       float64         `json:"events_per_s"`
	CPU        float64         `json:"cpu_s_per_million"`
	Peak       float64         `json:"peak_rss_mb"`
	HarnessCPU float64         `json:"harness_cpu_s_per_million"` // source and sink
	P50        float64         `json:"p50_freshness_ms"`
	P99        float64         `json:"p99_freshness_ms"`
	Delivered  int             `json:"delivered"`
	Distinct   int             `json:"distinct"`
	Duplicates int             `json:"duplicates"`
	Lost       int             `json:"lost"`
	Disordered int             `json:"out_of_order"`
	Foreign    int             `json:"foreign"` // rows of no event: wrong bytes
	Requests   int64           `json:"requests"`
	Refused    int64           `json:"refused"`
	Restarts   int             `json:"restarts"` // after it had ended by itself, too early
	Seconds    float64         `json:"seconds"`
	Dead       *int            `json:"dead_letters,omitempty"` // of a run with a poison event
	DeadIsIt   bool            `json:"dead_letter_is_it,omitempty"`
	DiskLow    *float64        `json:"disk_low_mb,omitempty"` // the least that was free on a small disk
	Note       string          `json:"note,omitempty"`
	Says       json.RawMessage `json:"says,omitempty"` // its own last line
}

// trial is a plan under way.
type trial struct {
	plan    plan
	c       *contender
	source  *source
	sink    *sink
	ledger  *ledger
	falcon  *server
	azure   *server
	told    addresses
	dir     string
	current *child
	cpu     time.Duration
	peak    int64

	began, healed time.Time // of the outage
	killDue       time.Time
	killed        bool
	diskLow       int64         // bytes
	own           time.Duration // CPU time of the harness before
	result        result
}

// play runs a contender through a plan.
func play(ctx context.Context, c *contender, p plan, templates []template) (result, error) {
	r := &trial{plan: p, c: c, diskLow: math.MaxInt64, own: ownCPU()}
	defer r.close()
	if err := r.set(templates); err != nil {
		return r.result, err
	}
	if err := r.start(); err != nil {
		return r.result, err
	}
	var pushing sync.WaitGroup
	defer pushing.Wait()
	pushCtx, stopPushing := context.WithCancel(ctx)
	defer stopPushing()
	if c.pushed {
		pushing.Go(func() { r.source.push(pushCtx, r.told.listen) })
	}
	if err := r.follow(ctx); err != nil {
		return r.result, err
	}
	r.end()
	return r.result, nil
}

// set makes the hosts and the events.
func (r *trial) set(templates []template) (err error) {
	p := &r.plan
	if r.dir, err = os.MkdirTemp("", "siem-"); err != nil {
		return err
	}
	if p.state == "" {
		p.state = filepath.Join(r.dir, "state")
		if err := os.Mkdir(p.state, 0o700); err != nil {
			return err
		}
	}
	ca, err := newAuthority(r.dir)
	if err != nil {
		return err
	}
	ev := newEvents(templates, p.partitions, p.events/p.partitions+1)
	r.source, r.ledger = newSource(ev, p.events, p.rate), newLedger(ev)
	r.sink = newSink(r.ledger, p.validate)
	if p.poison {
		r.sink.poison = offsetOf(0, p.events/p.partitions/2)
	}
	if r.falcon, err = newServer(ca, r.source.handler()); err != nil {
		return err
	}
	if r.azure, err = newServer(ca, r.sink.handler()); err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = free.Close() }()
	r.told = addresses{r.falcon.url(), r.azure.url(), ca.file, p.state, free.Addr().String(), p.events}
	return nil
}

func (r *trial) close() {
	if r.current != nil && r.current.running() {
		r.current.kill()
	}
	for _, s := range []*server{r.falcon, r.azure} {
		if s != nil {
			s.close()
		}
	}
	_ = os.RemoveAll(r.dir)
}

// start starts the contender, again with the state that it left.
func (r *trial) start() error {
	args, err := r.c.args(r.told)
	if err != nil {
		return err
	}
	r.current, err = start(r.c.bin, args, dummies)
	return err
}

// again starts it after it has ended.
func (r *trial) again() error {
	r.ended()
	return r.start()
}

// ended counts what an ended process took.
func (r *trial) ended() {
	r.cpu += r.current.cpu()
	r.peak = max(r.peak, r.current.peak.Load())
}

// follow lets happen what the plan says, starts the contender again when it ends too
// early, as a supervisor would, and returns when everything has arrived or nothing
// more is to be expected.
func (r *trial) follow(ctx context.Context) error {
	still := stillness{since: time.Now()}
	limit := time.Now().Add(r.plan.limit)
	failures, before := 0, -1
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
		n, now := r.arrived(), time.Now()
		if r.plan.small {
			r.diskLow = min(r.diskLow, diskFree(r.plan.state))
		}
		if err := r.outage(n, now); err != nil {
			return err
		}
		if err := r.kill(n, now); err != nil {
			return err
		}
		waits := still.longer(r.source.told(), r.sink.requests.Load(), now)
		switch {
		case now.After(limit):
			r.result.Note = fmt.Sprintf("not through after %v", r.plan.limit)
			return nil
		case r.acting():
			still.since = now
		case n >= r.expected() && r.setAside():
			return nil
		case waits > max(r.plan.settle, r.c.patience):
			r.result.Note = fmt.Sprintf("nothing moved for %v: %s", waits.Round(time.Second), r.current.stderr.why())
			return nil
		}
		if r.current.running() {
			continue
		}
		if r.result.Restarts++; n == before {
			failures++
		}
		if before = n; failures >= 3 {
			r.result.Note = "it ends by itself: " + r.current.stderr.why()
			return nil
		}
		if err := r.again(); err != nil {
			return err
		}
	}
}

func (r *trial) arrived() int {
	counts, _ := r.ledger.now()
	return counts.Distinct
}

// expected is how many events are to arrive.
func (r *trial) expected() int {
	n := r.source.total()
	if r.plan.poison {
		n--
	}
	return n
}

// setAside reports whether there is nothing to wait for in the dead letters.
func (r *trial) setAside() bool {
	if !r.plan.poison || !r.c.durable {
		return true
	}
	n, _ := r.deadLetters()
	return n > 0
}

// acting reports whether the plan has something left to do.
func (r *trial) acting() bool {
	return r.plan.kills && !r.killed || r.plan.outage.lasts > 0 && r.healed.IsZero()
}

// outage begins and ends that of the plan.
func (r *trial) outage(arrived int, now time.Time) error {
	o := r.plan.outage
	switch {
	case o.lasts == 0 || !r.healed.IsZero():
		return nil
	case r.began.IsZero() && arrived >= o.at && r.source.first.Load() != 0:
		r.began = now
		if o.status == refuseConnections {
			r.azure.close()
		} else {
			r.sink.fault.Store(int32(o.status))
		}
	case !r.began.IsZero() && now.Sub(r.began) >= o.lasts:
		r.healed = now
		if r.plan.endWithOutage {
			r.source.end()
		}
		r.sink.fault.Store(0)
		if o.status == refuseConnections {
			return r.azure.listen()
		}
	}
	return nil
}

// kill kills the contender when the plan says, and starts it again.
func (r *trial) kill(arrived int, now time.Time) error {
	p := r.plan
	switch {
	case !p.kills || r.killed:
	case r.killDue.IsZero():
		if arrived >= p.killAt && (p.outage.lasts == 0 || !r.began.IsZero()) {
			r.killDue = now.Add(p.killIn)
		}
	case !now.Before(r.killDue):
		r.killed = true
		r.current.kill()
		return r.again()
	}
	return nil
}

// stillness is how long nothing has been told and nothing asked.
type stillness struct {
	told     int
	requests int64
	since    time.Time
}

func (s *stillness) longer(told int, requests int64, now time.Time) time.Duration {
	if told != s.told || requests != s.requests {
		*s = stillness{told, requests, now}
	}
	return now.Sub(s.since)
}

// end lets in what is still on its way, ends the contender and adds up.
func (r *trial) end() {
	select {
	case <-r.current.done: // it knew by itself
	case <-time.After(500 * time.Millisecond):
	}
	r.current.stop()
	r.ended()
	c, last := r.ledger.now()
	res := &r.result
	res.Events, res.Delivered, res.Distinct, res.Disordered, res.Foreign = r.source.total(), c.Delivered, c.Distinct, c.Disordered, c.Foreign
	res.Duplicates = c.Delivered - c.Distinct - c.Foreign
	res.Lost = r.expected() - c.Distinct
	if first := r.source.first.Load(); first != 0 && c.Distinct > 0 {
		res.Seconds = last.Sub(time.Unix(0, first)).Seconds()
		res.Rate = float64(c.Distinct) / res.Seconds
		res.CPU = r.cpu.Seconds() / float64(c.Distinct) * 1e6
		res.HarnessCPU = (ownCPU() - r.own).Seconds() / float64(c.Distinct) * 1e6
	}
	res.Peak = float64(r.peak) / (1 << 20)
	res.P50, res.P99 = ms(r.ledger.freshness(0.5)), ms(r.ledger.freshness(0.99))
	res.Requests, res.Refused = r.sink.requests.Load(), r.sink.refused.Load()
	if line := r.current.stdout.last(); json.Valid([]byte(line)) && strings.HasPrefix(line, "{") {
		res.Says = json.RawMessage(line)
	}
	if r.plan.small {
		low := float64(r.diskLow) / (1 << 20)
		res.DiskLow = &low
	}
	if r.plan.poison {
		n, it := r.deadLetters()
		res.Dead, res.DeadIsIt = &n, it
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// deadLetters counts the lines of the files in the directory dead of the state; it
// says that the poison event is among them.
func (r *trial) deadLetters() (n int, it bool) {
	files, _ := filepath.Glob(filepath.Join(r.plan.state, "dead", "*"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for line := range strings.Lines(string(b)) {
			if strings.TrimSpace(line) != "" {
				n++
				it = it || strings.Contains(line, fmt.Sprint(r.sink.poison))
			}
		}
	}
	return n, it
}
