package edr

import (
	"context"
	"iter"
	"testing"

	"github.com/jurymast/jurymast/failover/kv"
)

// list is a vendor that knows a list.
type list struct {
	Isolator
	records []Record
}

func (l list) Find(context.Context, Query) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range l.records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func bigFleet(b *testing.B) *Fleet {
	b.Helper()
	store, err := kv.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	records := fleetOf(100_000)
	f, d := list{records: records[:100_000]}, list{records: records[100_000:]}
	fleet, err := New(Config{Store: store, Drivers: []Driver{{Provider: "falcon/us-1", Find: f, Isolate: f}, {Provider: "defender", Find: d, Isolate: d}}})
	if err != nil {
		b.Fatal(err)
	}
	return fleet
}

// BenchmarkLearn learns 100,000 hosts of two vendors, on a disk: the first time, and
// when nothing is new.
func BenchmarkLearn(b *testing.B) {
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			fleet := bigFleet(b)
			b.StartTimer()
			if got, err := fleet.Learn(b.Context()); err != nil || got.Added != 100_000 {
				b.Fatal(got, err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		fleet := bigFleet(b)
		if _, err := fleet.Learn(b.Context()); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if got, err := fleet.Learn(b.Context()); err != nil || got.Proven != 100_000 {
				b.Fatal(got, err)
			}
		}
	})
	b.Run("one link", func(b *testing.B) {
		fleet := bigFleet(b)
		if _, err := fleet.Learn(b.Context()); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if l, _ := fleet.linkOf(b.Context(), Native("defender", "0000000000000000000000000000000000000007")); l == nil {
				b.Fatal("no link")
			}
		}
	})
}
