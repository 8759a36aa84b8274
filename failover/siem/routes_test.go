package siem

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("503")

func down(*Batch) (Receipt, error) { return Receipt{}, errDown }

func distinct(ids ...[]string) (n int) {
	seen := map[string]bool{}
	for _, some := range ids {
		for _, id := range some {
			seen[id] = true
		}
	}
	return len(seen)
}

func TestTheSecondSinkTakesOverAndGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 1800, every: time.Second}
		first, second := &toySink{}, &toySink{}
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(first, second)})
		defer stop()
		time.Sleep(5 * time.Minute)
		first.set(down)
		time.Sleep(10 * time.Minute)
		if n := len(second.got()); n < 590 || n > 610 || p.group.Current() != "second" {
			t.Errorf("the second sink has %d rows, current is %s", n, p.group.Current())
		}
		first.set(nil)
		time.Sleep(20 * time.Minute)
		if n := distinct(first.got(), second.got()); n != 1800 || p.group.Current() != "first" {
			t.Errorf("%d of 1800 rows, current is %s", n, p.group.Current())
		}
		if n := len(first.got()) + len(second.got()); n != 1800 {
			t.Errorf("%d rows, some twice", n)
		}
	})
}

func TestThePrimaryGetsWhatWentElsewhere(t *testing.T) {
	for name, restart := range map[string]func(stop func(), again func()){
		"at once":                       func(func(), func()) {},
		"after a restart":               func(stop, again func()) { stop(); again() },
		"after a restart in the outage": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &toySource{name: "toy", feeds: []string{"0", "1"}, until: 900, every: time.Second}
				first, second := &toySink{}, &toySink{}
				cfg := Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(first, second), Backfill: true}
				p, stop := running(t, cfg)
				defer func() { stop() }()
				again := func() { p, stop = running(t, cfg) }
				for range 2 {
					time.Sleep(2 * time.Minute)
					first.set(down)
					time.Sleep(2 * time.Minute)
					if restart == nil {
						stop()
						again()
						time.Sleep(time.Minute)
					}
					first.set(nil)
					if restart != nil {
						restart(stop, again)
					}
				}
				if n := len(second.got()); n < 400 {
					t.Errorf("the second sink got %d rows", n)
				}
				time.Sleep(20 * time.Minute)
				if n := distinct(first.got()); n != 1800 {
					t.Errorf("the primary has %d of 1800 rows", n)
				}
				if _, ok := p.routes.next(); ok || p.spool.Stats().Acked[keep] != p.spool.Stats().Durable {
					t.Errorf("still kept: %+v, %+v", p.routes.spans, p.spool.Stats())
				}
				if n := p.counts.backfilled.Load(); n == 0 {
					t.Error("nothing was counted")
				}
			})
		})
	}
}

// What is kept for the primary alone must not stop the events.
func TestAFullSpoolGivesUpTheBackfillFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := fmt.Sprintf(`%x`, noise(3000))
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 10_000, every: 10 * time.Millisecond, batch: 10, raw: func(feed string, n uint64) string {
			return fmt.Sprintf(`{"n":%d,"text":%q}`, n, long[n%1000:])
		}}
		first, second := &toySink{}, &toySink{}
		first.set(down)
		p, stop := running(t, Config{Dir: memory(t), Sources: []Source{src}, Sinks: members(first, second), Backfill: true, MaxBytes: minBytes})
		defer stop()
		time.Sleep(time.Hour)
		if n := distinct(second.got()); n != 10_000 {
			t.Errorf("the second sink got %d rows", n)
		}
		if p.routes.givenUp == 0 {
			t.Error("nothing was given up")
		}
		p.routes.mu.Lock()
		spans := slices.Clone(p.routes.spans)
		p.routes.mu.Unlock()
		if len(spans) != 1 || spans[0].Last != 0 {
			t.Errorf("%+v", spans)
		}
	})
}

func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}
