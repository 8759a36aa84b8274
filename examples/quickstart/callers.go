package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
)

const (
	callerCount = 8
	// While Falcon answers (6,000 calls a minute) a caller reads often; Defender
	// takes 100 calls a minute and operation, so on the backup everybody slows down.
	paceFalcon   = 200 * time.Millisecond
	paceDefender = 4 * time.Second
)

// callers read host states all the time, as a SOAR service would.
type callers struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	fleet  *edr.Fleet
	story  *story

	mu     sync.Mutex
	took   []time.Duration
	asked  map[int]int    // by host: how often
	served map[string]int // by vendor
	last   string
	errs   []error
}

func startCallers(ctx context.Context, fleet *edr.Fleet, s *story, hosts int) *callers {
	ctx, cancel := context.WithCancel(ctx)
	c := &callers{cancel: cancel, fleet: fleet, story: s, asked: map[int]int{}, served: map[string]int{}}
	for i := range callerCount {
		c.done.Go(func() { c.call(ctx, i, hosts) })
	}
	c.done.Go(func() { c.progress(ctx) })
	return c
}

// call reads one host after another, none of which another caller reads.
func (c *callers) call(ctx context.Context, first, hosts int) {
	for host := first; ctx.Err() == nil; host = (host + callerCount) % hosts {
		if host == victim {
			continue
		}
		begin := time.Now()
		// The call may end after the callers are told to stop: it counts.
		res, err := c.fleet.State(context.WithoutCancel(ctx), edr.Hostname(twin.Hostname(host)))
		c.mu.Lock()
		c.took = append(c.took, time.Since(begin))
		c.asked[host]++
		pace := paceFalcon
		if err != nil {
			c.errs = append(c.errs, err)
		} else {
			c.last, _, _ = strings.Cut(res.By(), "/")
			c.served[c.last]++
			if c.last == "defender" {
				pace = paceDefender
			}
		}
		c.mu.Unlock()
		wait(ctx, pace)
	}
}

func (c *callers) progress(ctx context.Context) {
	for wait(ctx, time.Second); ctx.Err() == nil; wait(ctx, time.Second) {
		c.mu.Lock()
		calls, failed, byFalcon, byDefender := len(c.took), len(c.errs), c.served["falcon"], c.served["defender"]
		c.mu.Unlock()
		c.story.tell("  calls %d, failed %d; answered by Falcon %d, by Defender %d", calls, failed, byFalcon, byDefender)
	}
}

// servedBy waits until the newest call was answered by a vendor.
func (c *callers) servedBy(vendor string, atMost time.Duration) bool {
	for end := time.Now().Add(atMost); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c.mu.Lock()
		last := c.last
		c.mu.Unlock()
		if last == vendor {
			return true
		}
	}
	return false
}

// stop ends the callers and waits for them.
func (c *callers) stop() {
	c.cancel()
	c.done.Wait()
}
