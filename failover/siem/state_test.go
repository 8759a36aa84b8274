package siem

import (
	"context"
	"errors"
	"testing"

	"github.com/jurymast/jurymast/failover/kv"
)

// mute keeps what is put, or does not, and says that it failed.
type mute struct {
	kv.Store
	keeps bool
}

func (m mute) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if m.keeps {
		if _, err := m.Store.Put(ctx, key, value, rev); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no space left on device")
}

// A write that failed may have been kept: the next one must not conflict with it.
func TestStateIsSavedAfterAWriteThatFailed(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		store := kv.NewMemory()
		rev, err := saveState(t.Context(), store, "k", 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if rev, err = saveState(t.Context(), mute{store, keeps}, "k", 2, rev); err == nil {
			t.Fatal("no error")
		}
		if _, err = saveState(t.Context(), store, "k", 3, rev); err != nil {
			t.Errorf("keeps %v: %v", keeps, err)
		}
		if e, err := store.Get(t.Context(), "k"); err != nil || string(e.Value) != "3" {
			t.Errorf("%s, %v", e.Value, err)
		}
	}
	if _, err := saveState(t.Context(), kv.NewMemory(), "k", func() {}, 0); err == nil {
		t.Error("a value that is no JSON")
	}
}
