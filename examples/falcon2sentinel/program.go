package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/resilience/fault"
)

// program is one run.
type program struct {
	o   options
	mu  sync.Mutex // over out: the story and the progress are told at once
	out io.Writer
	sim *simulation // nil with real or given servers
	m   *meter
}

func (p *program) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format, args...)
}

func (p *program) run(ctx context.Context) (err error) {
	var (
		fc *falcon.Client
		az *azure.Client
	)
	endpoint, dir := p.o.ingestURL, p.o.state
	if p.o.live || p.o.given() {
		fc, az, err = p.o.clients()
	} else {
		var sim simulation
		if sim, err = newSimulation(); err != nil {
			return err
		}
		defer sim.close()
		p.sim, endpoint = &sim, "https://"+azuretest.IngestHost
		if dir == "" {
			if dir, err = os.MkdirTemp("", "falcon2sentinel"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		}
		p.say("SIMULATED: a Falcon with two partitions and an Azure Monitor in this process\n")
		fc, az, err = sim.clients()
	}
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, fc.Close(closing), az.Close(closing))
	}()
	sink, mapping, err := p.o.sink(az, endpoint)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p.m = &meter{Sink: sink.Value}
	sink.Value = p.m
	pump, err := siem.Open(siem.Config{
		Dir:     dir,
		Sources: []siem.Source{crowdstrike.Events(fc, crowdstrike.EventsConfig{AppID: p.o.appID})},
		Sinks:   []failover.Member[siem.Sink]{sink},
		Mapping: mapping,
	})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.progress(ctx, pump) })
	wg.Go(func() { p.enough(ctx, pump, stop) })
	if p.sim != nil {
		wg.Go(func() { p.story(ctx) })
	}
	if err = pump.Run(ctx); errors.Is(err, context.Canceled) {
		err = nil
	}
	wg.Wait()
	return errors.Join(err, p.finish(pump), pump.Close())
}

// story is what happens on the simulated clouds: events, and an outage of the sink.
func (p *program) story(ctx context.Context) {
	tick := time.NewTicker(max(p.o.every, time.Microsecond))
	defer tick.Stop()
	for i := range p.o.events {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if i == p.o.events/3 && p.o.outage > 0 {
			p.say("the sink is down for %v\n", p.o.outage)
			heal := p.sim.azure.Faults().Add(fault.Rule{Kind: fault.Status, Status: http.StatusServiceUnavailable, Path: "/dataCollectionRules"})
			time.AfterFunc(p.o.outage, heal)
		}
		p.sim.falcon.Publish(i%2, "EppDetectionSummaryEvent", detection(i))
	}
}

// progress writes how far it is, every second; on a terminal on one line.
func (p *program) progress(ctx context.Context, pump *siem.Pump) {
	end := "\n"
	if f, ok := p.out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			end = "\r"
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		st := pump.Status()
		p.say("delivered %d events, %.0f/s; spool %d KB, oldest %v; p99 %v%s", st.Delivery.Events, p.m.perSecond(),
			st.Spool.Bytes>>10, waiting(st), worst(pump).Round(time.Millisecond), end)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func waiting(st siem.Status) time.Duration {
	if st.Spool.Oldest.IsZero() {
		return 0
	}
	return st.At.Sub(st.Spool.Oldest).Round(time.Millisecond)
}

// worst is the p99 of the source that is least fresh.
func worst(pump *siem.Pump) (p99 time.Duration) {
	for _, f := range pump.Freshness() {
		p99 = max(p99, f.P99)
	}
	return p99
}

// enough ends the program when -events are delivered, since the directory was new: what
// the spool has given back, so that a program that is killed and started again ends too.
func (p *program) enough(ctx context.Context, pump *siem.Pump, stop func()) {
	for p.o.events > 0 && pump.Status().Delivery.Events < int64(p.o.events) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
	if p.o.events > 0 {
		stop()
	}
}

// finish says what came of it: with simulated clouds what Azure Monitor holds, otherwise
// what the servers have acknowledged.
func (p *program) finish(pump *siem.Pump) error {
	r := report{Delivered: p.m.rows.Load(), Simulated: p.sim != nil, EventsPerS: p.m.perSecond(), PeakRSSMB: peakRSS()}
	r.CPUSPerMillion = perMillion(cpuTime(), r.Delivered)
	r.P99FreshnessMS = float64(worst(pump).Microseconds()) / 1000
	st := pump.Status()
	r.Distinct = st.Delivery.Events - st.Dead
	r.Delivered = max(r.Delivered, r.Distinct)
	if p.sim != nil {
		rows := p.sim.rows()
		n, err := distinct(rows)
		if err != nil {
			return err
		}
		r.Delivered, r.Distinct = int64(len(rows)), n
	}
	r.Duplicates = r.Delivered - r.Distinct
	r.Lost = max(int64(p.o.events)-r.Distinct, 0)
	p.say("delivered %d rows, %d of them copies; missing %d of %d events, dead letters %d\n", r.Delivered, r.Duplicates, r.Lost, p.o.events, st.Dead)
	if p.o.json {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		p.say("%s\n", text)
	}
	if r.Lost > 0 {
		return fmt.Errorf("%d events are not delivered; they are in the spool, among the dead letters, or still at Falcon", r.Lost)
	}
	return nil
}
