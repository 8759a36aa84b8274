package siem

import (
	"context"
	"encoding/json"

	"github.com/jurymast/jurymast/failover/kv"
)

// saveState writes a value, as JSON, under a key that nobody else writes, and returns its
// revision. An error does not say whether the value was kept: the revision is then read
// back, or the next write would conflict with this one.
func saveState(ctx context.Context, store kv.Store, key string, value any, rev uint64) (uint64, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return rev, err
	}
	saved, err := store.Put(ctx, key, text, rev)
	if err == nil {
		return saved, nil
	}
	if e, unread := store.Get(ctx, key); unread == nil {
		rev = e.Rev
	}
	return rev, err
}
