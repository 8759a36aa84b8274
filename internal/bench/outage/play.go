package main

import (
	"context"
	"sync"
	"time"
)

const (
	callers = 200
	every   = 100 * time.Millisecond
)

// record is what became of one call.
type record struct {
	at   time.Duration // since the run began
	took time.Duration
	from source // nobody: it failed
}

// result is what a run left behind.
type result struct {
	course              course
	records             []record
	toPrimary, toBackup int // while the primary was sick
}

// play runs one implementation through one outage.
func play(ctx context.Context, i impl, s scenario, c course) (result, error) {
	primary, backup := newPrimary(c.seed, s.sickness), newBackup(c.seed)
	call, err := i.new(primary, backup)
	if err != nil {
		return result{}, err
	}
	r := result{course: c}
	begin := time.Now()
	done := make(chan []record, 1)
	go func() { done <- load(ctx, begin, c.healthy+c.sick+c.healed, call) }()

	wait(ctx, begin.Add(c.healthy))
	r.toPrimary, r.toBackup = -int(primary.requests.Load()), -int(backup.requests.Load())
	primary.sick.Store(true)
	wait(ctx, begin.Add(c.healthy+c.sick))
	primary.sick.Store(false)
	r.toPrimary += int(primary.requests.Load())
	r.toBackup += int(backup.requests.Load())

	r.records = <-done
	return r, ctx.Err()
}

// load lets all callers call for so long and returns their records.
func load(ctx context.Context, begin time.Time, long time.Duration, call client) []record {
	records := make([][]record, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			// Spread evenly, so that the load has no beat of its own.
			next := time.Duration(i) * every / callers
			for next < long && wait(ctx, begin.Add(next)) {
				at := time.Since(begin)
				from, err := call(ctx)
				if err != nil {
					from = nobody
				}
				end := time.Since(begin)
				records[i] = append(records[i], record{at: at, took: end - at, from: from})
				next = max(next+every, end)
			}
		})
	}
	all.Wait()
	var flat []record
	for _, r := range records {
		flat = append(flat, r...)
	}
	return flat
}

// wait sleeps until then, and reports whether to go on.
func wait(ctx context.Context, then time.Time) bool {
	t := time.NewTimer(time.Until(then))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backupP99 is what the backup gives callers that ask nobody else: the yardstick
// of settled_ms, measured because the machine has its part in it.
func backupP99(ctx context.Context, seed uint64) time.Duration {
	records := load(ctx, time.Now(), time.Second, newBackup(seed).read)
	return percentile(durations(records), 99)
}
