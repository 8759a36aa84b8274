package edr

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/resilience"
)

func bulkOf(n int) Bulk {
	b := Bulk{ID: "wave-1", Verb: VerbContain, Intent: toyIntent}
	for i := range n {
		b.Hosts = append(b.Hosts, Hostname(fmt.Sprint("host-", i)))
	}
	return b
}

// effects is how often each host was contained.
func (v *toy) effects() (out map[string]int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	out = map[string]int{}
	for _, id := range v.sent {
		out[id]++
	}
	return out
}

func TestBulkContainsAndReleasesEachHostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(50)...)
		f := toyFleet(t, v)
		b := bulkOf(50)
		var progress []int
		b.Progress = func(p BulkProgress) {
			progress = append(progress, p.Done)
			if p.Of != 50 || p.Failed != 0 || p.Host.Provider != "toy" || p.Host.Outcome != failover.Accepted {
				t.Errorf("%+v", p)
			}
		}
		for range 2 { // again: it is done
			res, err := f.Bulk(t.Context(), b)
			if err != nil || res.Done != 50 || res.Failed+res.Left != 0 {
				t.Fatalf("%+v, %v", res, err)
			}
		}
		if len(progress) != 50 || progress[49] != 50 {
			t.Errorf("progress: %v", progress)
		}
		for id, n := range v.effects() {
			if n != 1 {
				t.Errorf("%s: %d times", id, n)
			}
		}
		b = bulkOf(50)
		b.ID, b.Verb = "wave-1 is over", VerbRelease
		if res, err := f.Bulk(t.Context(), b); err != nil || res.Done != 50 || v.held() != 0 {
			t.Errorf("%+v, %v, %d held", res, err, v.held())
		}
	})
}

// A job whose process ends, however it ends, is gone on with: what is done is done.
func TestBulkGoesOnAfterACancelAndARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(40)...)
		v.takes = time.Second
		store := kv.NewMemory()
		b := bulkOf(40)
		b.Parallel = 2
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		res, err := toyFleetOf(t, Config{Store: store}, v).Bulk(ctx, b)
		if !errors.Is(err, context.DeadlineExceeded) || res.Left == 0 || res.Done == 0 || res.Failed != 0 || res.Done+res.Left != 40 {
			t.Fatalf("%d done, %d failed, %d left, %v", res.Done, res.Failed, res.Left, err)
		}
		first := res.Done
		seen := 0
		b.Progress = func(p BulkProgress) {
			if seen++; p.Done != first+seen {
				t.Errorf("%+v", p)
			}
		}
		res, err = toyFleetOf(t, Config{Store: store}, v).Bulk(t.Context(), b)
		if err != nil || res.Done != 40 || seen != 40-first {
			t.Errorf("%+v, %v, %d in the second run", res, err, seen)
		}
		for id, n := range v.effects() {
			if n != 1 {
				t.Errorf("%s: %d times", id, n)
			}
		}
	})
}

// A job stops when too many hosts fail, and tries those again when it is gone on with.
func TestBulkBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(20)...)
		f := toyFleet(t, v)
		b := bulkOf(20)
		b.Parallel, b.Budget = 1, 3
		v.failed = errors.New("down")
		res, err := f.Bulk(t.Context(), b)
		if !errors.Is(err, ErrBudget) || res.Failed != 3 || res.Left != 17 || res.Hosts[0].Error == "" {
			t.Errorf("%+v, %v", res, err)
		}
		v.failed = nil
		if res, err := f.Bulk(t.Context(), b); err != nil || res.Done != 20 {
			t.Errorf("%+v, %v", res, err)
		}
		// A host that nobody knows fails by itself.
		b = bulkOf(20)
		b.ID, b.Hosts = "wave-2", append(b.Hosts, Hostname("nobody"))
		if res, err := f.Bulk(t.Context(), b); err != nil || res.Done != 20 || res.Failed != 1 || !strings.Contains(res.Hosts[20].Error, "nobody") {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// A quota that has no room makes a job slow, and fails no host.
func TestBulkWaitsForAQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(12)...)
		v.quota, v.window = 5, time.Minute
		b := bulkOf(12)
		b.Budget = 1
		begun := time.Now()
		res, err := toyFleet(t, v).Bulk(t.Context(), b)
		if took := time.Since(begun); err != nil || res.Done != 12 || took < 2*time.Minute || took > 6*time.Minute {
			t.Errorf("%d done, %d failed, %v, after %v", res.Done, res.Failed, err, took)
		}
		for id, n := range v.effects() {
			if n != 1 {
				t.Errorf("%s: %d times", id, n)
			}
		}
		v.quota = -1 // and never again
		b.ID, b.Verb = "over", VerbRelease
		begun = time.Now()
		if res, err := toyFleet(t, v).Bulk(t.Context(), b); !errors.Is(err, ErrBudget) || res.Failed == 0 || time.Since(begun) > 2*time.Hour {
			t.Errorf("%+v, %v, after %v", res, err, time.Since(begun))
		}
	})
}

// The guard of the blast radius ends a job: all other hosts would be refused too.
func TestBulkStopsAtTheBlastRadius(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(20)...)
		f := toyFleetOf(t, Config{Volatile: true, Guards: Guards{MaxHosts: 5}}, v)
		res, err := f.Bulk(t.Context(), bulkOf(20))
		if !errors.Is(err, ErrGuard) || res.Done != 5 || res.Failed != 0 || res.Left != 15 || v.held() != 5 {
			t.Errorf("%+v, %v, %d held", res, err, v.held())
		}
		time.Sleep(time.Hour)
		if res, err = f.Bulk(t.Context(), bulkOf(20)); !errors.Is(err, ErrGuard) || res.Done != 10 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// The guard that ends a job does not cancel what others of it have begun.
func TestBulkFinishesWhatIsBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newToy("toy", toyHosts(20)...)
		v.slow = true
		f := toyFleetOf(t, Config{Volatile: true, Guards: Guards{MaxHosts: 3}}, v)
		res, err := f.Bulk(t.Context(), bulkOf(20))
		if !errors.Is(err, ErrGuard) || res.Done != 3 || res.Left != 17 || v.held() != 3 {
			t.Errorf("%+v, %v, %d held", res, err, v.held())
		}
	})
}

// A job that cannot say how far it came does nothing.
func TestBulkWithoutAStore(t *testing.T) {
	v := newToy("toy", toyHosts(20)...)
	store := kv.NewMemory()
	f := toyFleetOf(t, Config{Store: store}, v)
	b := bulkOf(20)
	b.Parallel = 1
	b.Progress = func(BulkProgress) { _ = store.Close() } // after the first one
	if res, err := f.Bulk(t.Context(), b); !errors.Is(err, kv.ErrClosed) || res.Done != 2 || res.Left != 18 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := f.Bulk(t.Context(), b); !errors.Is(err, kv.ErrClosed) || v.held() != 2 {
		t.Errorf("%v, %d held", err, v.held())
	}
}

func TestBulkMisuse(t *testing.T) {
	f := toyFleet(t, newToy("toy", toyHosts(2)...))
	for want, change := range map[string]func(*Bulk){
		"Bulk.ID":       func(b *Bulk) { b.ID = "" },
		"Bulk.Verb":     func(b *Bulk) { b.Verb = "wipe" },
		"Bulk.Hosts is": func(b *Bulk) { b.Hosts = nil },
		"Bulk.Hosts[1]": func(b *Bulk) { b.Hosts[1] = Query{} },
		"Bulk.Parallel": func(b *Bulk) { b.Parallel = -1 },
		"Intent.Reason": func(b *Bulk) { b.Intent.Reason = "" },
	} {
		b := bulkOf(2)
		change(&b)
		if _, err := f.Bulk(t.Context(), b); err == nil || !strings.Contains(err.Error(), want) || resilience.Of(err).Class != resilience.Misuse {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := f.Bulk(t.Context(), bulkOf(2)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]Bulk{"hosts": bulkOf(1), "verb": bulkOf(2), "intent": bulkOf(2)} {
		switch name {
		case "verb":
			b.Verb = VerbRelease
		case "intent":
			b.Intent.ID = "case-8"
		}
		if _, err := f.Bulk(t.Context(), b); !errors.Is(err, ErrBulkChanged) {
			t.Errorf("other %s: %v", name, err)
		}
	}
}

// Jobs are kept for a month, and then the store has nothing of them.
func TestOldJobsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		f := toyFleetOf(t, Config{Store: store}, newToy("toy", toyHosts(3)...))
		count := func() (n int) {
			for range store.Scan(t.Context(), "edr/bulk") {
				n++
			}
			return n
		}
		if _, err := f.Bulk(t.Context(), bulkOf(3)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * 24 * time.Hour)
		if _, err := f.Sweep(t.Context()); err != nil || count() != 4 {
			t.Errorf("%d records, %v", count(), err)
		}
		time.Sleep(2 * 24 * time.Hour)
		if _, err := f.Sweep(t.Context()); err != nil || count() != 0 {
			t.Errorf("%d records, %v", count(), err)
		}
	})
}
