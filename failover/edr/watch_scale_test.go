package edr_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/resilience"
)

// paper is a vendor whose records are made as they are read.
type paper struct {
	hosts  int
	record func(i int, now time.Time) (edr.Record, bool)
}

func (p paper) Find(_ context.Context, _ edr.Query) iter.Seq2[edr.Record, error] {
	return func(yield func(edr.Record, error) bool) {
		now := time.Now()
		for i := range p.hosts {
			if r, ok := p.record(i, now); ok && !yield(r, nil) {
				return
			}
		}
	}
}

func (paper) State(context.Context, string) (edr.State, error) { return edr.NotContained, nil }

func (paper) Isolate(context.Context, string, edr.Intent) (failover.Outcome, error) {
	return failover.Applied, nil
}

func (paper) Release(context.Context, string, edr.Intent) (failover.Outcome, error) {
	return failover.Applied, nil
}

// largeFleet is n hosts at two vendors: one host in 50 is missing at the second, one
// in 97 at the first, one in 31 is silent there.
func largeFleet(tb testing.TB, n int, store kv.Store) *edr.Fleet {
	tb.Helper()
	mac := func(i int) string { return fmt.Sprintf("00-15-5d-%02x-%02x-%02x", i>>16, i>>8&255, i&255) }
	first := paper{n, func(i int, now time.Time) (edr.Record, bool) {
		r := edr.Record{
			ID: fmt.Sprintf("%032x", i), Hostname: fmt.Sprintf("WS-%06d", i), FQDN: fmt.Sprintf("WS-%06d.corp.example", i), OS: "Windows 11",
			MACs: []string{mac(i)}, IPs: []string{fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "203.0.113.7"},
			Serial: fmt.Sprintf("5CG%07dXZ", i), State: edr.NotContained, LastSeen: now.Add(-time.Duration(i%50) * time.Minute), AsOf: now,
		}
		if i%31 == 0 {
			r.LastSeen = now.Add(-2 * week)
		}
		return r, i%97 != 0
	}}
	second := paper{n, func(i int, now time.Time) (edr.Record, bool) {
		return edr.Record{
			ID: fmt.Sprintf("%040x", i), Hostname: fmt.Sprintf("ws-%06d", i), FQDN: fmt.Sprintf("ws-%06d.corp.example", i), OS: "Windows11",
			MACs: []string{mac(i), fmt.Sprintf("0a0027%06x", i)}, IPs: []string{fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)},
			EntraID: fmt.Sprintf("%08x-0000-4000-8000-000000000000", i), LastSeen: now.Add(-time.Duration(i%24) * time.Hour), AsOf: now,
		}, i%50 != 0
	}}
	beats := func(context.Context) (map[string]time.Time, error) {
		out := make(map[string]time.Time, n/10)
		for i := 0; i < n; i += 10 { // servers
			out[fmt.Sprintf("ws-%06d.corp.example", i)] = time.Now()
		}
		return out, nil
	}
	limits := []edr.Limit{{Window: resilience.Window{Calls: 100, Per: time.Minute}, Cost: 1}, {Window: resilience.Window{Calls: 1500, Per: time.Hour}, Cost: 1}}
	fleet, err := edr.New(edr.Config{Store: store, Heartbeats: beats, Drivers: []edr.Driver{
		{Provider: "first", Find: first, Isolate: first, SeenEvery: time.Hour},
		{Provider: "second", Find: second, Isolate: second, Limits: limits},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return fleet
}

// watchAll reads both lists three times: merged, for readiness and for protection.
func watchAll(tb testing.TB, fleet *edr.Fleet, n int) {
	tb.Helper()
	hosts, err := fleet.Hosts(tb.Context())
	listed := len(hosts.Value)
	if err != nil || !hosts.Complete() || listed < n*9/10 {
		tb.Fatalf("%d hosts, %v, %v", listed, hosts.Gaps, err)
	}
	ready, err := fleet.Readiness(tb.Context(), "second")
	if err != nil || !ready.Complete() || ready.Value.Ready < n*9/10 || ready.Value.Ready == n {
		tb.Fatalf("%v, %v", ready.Value, err)
	}
	protection, err := fleet.Protection(tb.Context())
	if p := protection.Value; err != nil || !protection.Complete() || p.Protected < n*9/10 || p.SingleCovered == 0 || p.Protected+p.SingleCovered+p.Unprotected+p.Unknown < listed {
		tb.Fatalf("%d protected, %d by one, %v", p.Protected, p.SingleCovered, err)
	}
}

// peak samples the heap while it runs and returns its highest size, in bytes.
func peak() (stop func() uint64) {
	var highest uint64
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			highest = max(highest, m.HeapInuse)
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	return func() uint64 { close(done); wg.Wait(); return highest }
}

// With what was learned in peace time, and without.
func BenchmarkWatch100kHosts(b *testing.B) {
	const n = 100_000
	for _, linked := range []bool{false, true} {
		b.Run(map[bool]string{false: "unlinked", true: "linked"}[linked], func(b *testing.B) {
			store, err := kv.Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = store.Close() }()
			fleet := largeFleet(b, n, store)
			if linked {
				if l, err := fleet.Learn(b.Context()); err != nil || l.Links < n*9/10 {
					b.Fatalf("%+v, %v", l, err)
				}
			}
			runtime.GC() // learning is a pass of its own
			stop := peak()
			for b.Loop() {
				watchAll(b, fleet, n)
			}
			b.ReportMetric(float64(stop())/1e6, "MB-peak")
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "hosts/s")
		})
	}
}

// Everything that a host costs, garbage included: what is quadratic, or keeps a copy too
// many, shows here on any machine.
func TestWhatAHostCosts(t *testing.T) {
	const n, bound = 10_000, 24 << 10 // bytes a host, over three reads of both lists
	fleet := largeFleet(t, n, kv.NewMemory())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	watchAll(t, fleet, n)
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > bound {
		t.Errorf("%d bytes a host, more than %d", each, bound)
	} else {
		t.Logf("%d bytes a host", each)
	}
}

func TestTheTimeIsThatOfTheHostsThatAreReady(t *testing.T) {
	fleet := largeFleet(t, 103, kv.NewMemory())
	res, err := fleet.Readiness(t.Context(), "second")
	if r := res.Value; err != nil || r.Ready != 100 || r.Hosts != 102 || !r.QuotaKnown || r.Fastest != 0 || r.Paced != 85*time.Minute/80 {
		t.Errorf("%v, %v, %v, %v", r, r.Fastest, r.Paced, err)
	}
	res, err = fleet.Readiness(t.Context(), "first")
	if r := res.Value; err != nil || r.QuotaKnown || r.Fastest+r.Paced != 0 || !strings.Contains(r.String(), "in a time that is not known") {
		t.Errorf("%v, %v", r, err)
	}
}
