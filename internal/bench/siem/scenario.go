package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// scenario is what all contenders are put through.
type scenario struct {
	name string
	run  func(ctx context.Context, b *bench, c *contender) (outcome, error)
	// skip says why a contender has no part in it, or "".
	skip func(c *contender) string
}

// outcome is one contender's in a scenario: the result of its run, the median one if
// there were several, and what was found over all of them.
type outcome struct {
	result
	Kills *kills `json:"kills,omitempty"`
	Error string `json:"error,omitempty"`
}

// kills are the runs in which a contender was killed.
type kills struct {
	Runs          int    `json:"runs"`
	Lost          int    `json:"lost"`
	MaxLost       int    `json:"max_lost"`
	Duplicates    int    `json:"duplicates"`
	MaxDuplicates int    `json:"max_duplicates"`
	Each          []kill `json:"each"`
}

// kill is one of them.
type kill struct {
	At         int     `json:"at"`    // events that had arrived
	After      float64 `json:"in_ms"` // so long after that, or after the outage began
	Outage     string  `json:"outage,omitempty"`
	Lost       int     `json:"lost"`
	Duplicates int     `json:"duplicates"`
}

func anybody(*contender) string { return "" }

func onlyDurable(c *contender) string {
	if !c.durable {
		return "it has no state"
	}
	return ""
}

var scenarios = []scenario{
	{"throughput", throughput, anybody},
	{"poison", poison, anybody},
	{"kill", kill9(false), anybody},
	{"kill-outage", kill9(true), anybody},
	{"full", fullDisk, onlyDurable},
	{"backlog", backlog, anybody},
}

// plan is what the scenarios have in common.
func (b *bench) plan() plan {
	return plan{
		partitions: b.partitions, events: b.events, rate: b.rate, validate: 1,
		settle: b.settle, limit: 10 * time.Minute,
	}
}

// throughput: everything is well. One body of sixteen is parsed by the sink, whose
// share of the machine would otherwise be a third.
func throughput(ctx context.Context, b *bench, c *contender) (outcome, error) {
	p := b.plan()
	p.validate = 16
	r, err := play(ctx, c, p, b.templates)
	return outcome{result: r}, err
}

// poison: the sink refuses every body with one event in it.
func poison(ctx context.Context, b *bench, c *contender) (outcome, error) {
	p := b.plan()
	p.events, p.poison = b.few(60_000), true
	r, err := play(ctx, c, p, b.templates)
	return outcome{result: r}, err
}

// few bounds the events of a scenario that is repeated or slow.
func (b *bench) few(n int) int { return min(n, b.events) }

// kill9: many runs, in each of which the contender is killed once under load, at a
// point drawn from the seed, and started again with what it left on the disk. In an
// outage the sink is without its service for two seconds, each time in another way,
// and the kill is in the midst of it.
func kill9(withOutage bool) func(context.Context, *bench, *contender) (outcome, error) {
	ways := []int{http.StatusServiceUnavailable, refuseConnections, http.StatusTooManyRequests}
	return func(ctx context.Context, b *bench, c *contender) (outcome, error) {
		r := rand.New(rand.NewPCG(b.seed, 9))
		all := &kills{Runs: b.kills}
		if c.name != "jurymast" {
			all.Runs = min(b.kills, 3) // what they lose is known after that
		}
		var results []result
		for i := range all.Runs {
			p := b.plan()
			p.events, p.kills = b.few(60_000), true
			p.killAt, p.killIn = r.IntN(p.events*9/10), time.Duration(r.Int64N(int64(20*time.Millisecond)))
			k := kill{At: p.killAt}
			if withOutage {
				p.rate = 20_000
				p.outage = outage{at: p.killAt, lasts: 2 * time.Second, status: ways[i%len(ways)]}
				p.killIn = time.Duration(r.Int64N(int64(p.outage.lasts)))
				k.Outage = http.StatusText(p.outage.status)
				if p.outage.status == refuseConnections {
					k.Outage = "connections refused"
				}
			}
			k.After = ms(p.killIn)
			res, err := play(ctx, c, p, b.templates)
			if err != nil {
				return outcome{}, err
			}
			k.Lost, k.Duplicates = res.Lost, res.Duplicates
			all.Each = append(all.Each, k)
			all.Lost += k.Lost
			all.Duplicates += k.Duplicates
			all.MaxLost, all.MaxDuplicates = max(all.MaxLost, k.Lost), max(all.MaxDuplicates, k.Duplicates)
			results = append(results, res)
			b.say("  kill %d/%d at %d events and %.1f ms %s: %d lost, %d duplicates %s", i+1, all.Runs, k.At, k.After, k.Outage, k.Lost, k.Duplicates, res.Note)
		}
		return outcome{result: worst(results), Kills: all}, nil
	}
}

// worst is the result that is the least to be proud of.
func worst(all []result) result {
	out := all[0]
	for _, r := range all[1:] {
		if r.Lost+r.Foreign > out.Lost+out.Foreign || r.Lost+r.Foreign == out.Lost+out.Foreign && r.Peak > out.Peak {
			out = r
		}
	}
	return out
}

// fullDisk: the state is on a disk of 60 MB, which an outage of twelve seconds fills,
// also for who stores compressed: 20,000 events a second would then be 51 MB.
func fullDisk(ctx context.Context, b *bench, c *contender) (outcome, error) {
	dir, unmount, err := smallDisk(60 << 20)
	if err != nil {
		return outcome{Error: fmt.Sprintf("skipped: no disk of 60 MB could be mounted: %v", err)}, nil
	}
	defer unmount()
	p := b.plan()
	p.events, p.rate, p.state, p.small = 700_000, 40_000, dir, true
	p.outage = outage{at: 20_000, lasts: 12 * time.Second, status: http.StatusServiceUnavailable}
	r, err := play(ctx, c, p, b.templates)
	return outcome{result: r}, err
}

// backlog: an outage at full speed; what was taken in meanwhile is delivered after it.
func backlog(ctx context.Context, b *bench, c *contender) (outcome, error) {
	p := b.plan()
	p.partitions = max(p.partitions, 2)
	p.events, p.rate = p.partitions*perPartition, 0
	p.outage = outage{at: 0, lasts: b.outage, status: http.StatusServiceUnavailable}
	p.endWithOutage = true
	r, err := play(ctx, c, p, b.templates)
	return outcome{result: r}, err
}
