package edr

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
)

// deaf cannot read one key.
type deaf struct {
	kv.Store
	key string
}

var errDeaf = errors.New("damaged")

func (d deaf) Get(ctx context.Context, key string) (kv.Entry, error) {
	if key == d.key {
		return kv.Entry{}, errDeaf
	}
	return d.Store.Get(ctx, key)
}

// Reading all links at once agrees with reading them one by one: half a link counts
// for neither member, a copy that cannot be read speaks against nothing, and the newest
// proof counts.
func TestEverythingIsWhatEachRecordWouldSay(t *testing.T) {
	store := &linkStore{kv.NewMemory()}
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	link := func(n string, proven time.Time) *Link {
		return &Link{Members: []Linked{{"a", n, n}, {"b", n, n}}, Grade: Strong, Learned: day, Proven: proven}
	}
	whole, half := link("whole", day), link("half", day)
	a, b := recordID{"a", "whole"}, recordID{"b", "whole"}
	if shardOf(a) == shardOf(b) || shardOf(half.Members[0].key()) == shardOf(half.Members[1].key()) {
		t.Fatal("the members share a shard: take other ids")
	}
	err := store.change(t.Context(), func(table *table) error {
		table.put(t.Context(), whole)
		newer := link("whole", day.Add(time.Hour)) // at one of them
		s := table.load(t.Context(), shardOf(b))
		s.by[b] = newer
		s = table.load(t.Context(), shardOf(half.Members[0].key()))
		s.by[half.Members[0].key()], s.dirty = half, true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*linkStore{"": store, "with a part that cannot be read": {deaf{store.store, shardKey(shardOf(b))}}} {
		all, errs := s.everything(t.Context())
		table := s.table()
		for _, id := range []recordID{a, b, half.Members[0].key(), half.Members[1].key()} {
			want := table.agreed(t.Context(), id)
			got := all[id]
			if (got == nil) != (want == nil) || got != nil && !got.sameMembers(*want) {
				t.Errorf("%s: %v: %v, one by one %v", name, id, got, want)
			}
		}
		if name == "" && (len(errs) != 0 || all[a] == nil || all[a] != all[b] || !all[a].Proven.Equal(day.Add(time.Hour))) {
			t.Errorf("%v, %v", all, errs)
		}
		if name != "" && (len(errs) != 1 || !errors.Is(errs[0], errDeaf) || all[a] == nil) {
			t.Errorf("%s: %v, %v", name, all, errs)
		}
	}
}
