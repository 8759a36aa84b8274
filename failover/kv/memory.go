package kv

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Memory is a [Store] that forgets everything with the process: for tests, and
// for programs that say aloud that they may lose their state.
type Memory struct {
	mu      sync.RWMutex
	entries map[string]Entry // the values are never changed in place
	rev     uint64
	closed  bool
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{entries: map[string]Entry{}} }

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, key string) (Entry, error) {
	if err := admit(ctx, key); err != nil {
		return Entry{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return Entry{}, ErrClosed
	}
	e, ok := m.entries[key]
	if !ok {
		return Entry{}, notFound(key)
	}
	e.Value = bytes.Clone(e.Value)
	return e, nil
}

// Put implements [Store].
func (m *Memory) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if err := admit(ctx, key); err != nil {
		return 0, err
	}
	if err := admitValue(key, value); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, ErrClosed
	}
	if current := m.entries[key].Rev; current != rev {
		return 0, conflict(key, rev, current)
	}
	m.rev++
	m.entries[key] = Entry{Key: key, Value: bytes.Clone(value), Rev: m.rev}
	return m.rev, nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key string, rev uint64) error {
	if err := admit(ctx, key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	e, ok := m.entries[key]
	if !ok {
		return notFound(key)
	}
	if e.Rev != rev {
		return conflict(key, rev, e.Rev)
	}
	delete(m.entries, key)
	return nil
}

// Scan implements [Store]. It yields one consistent snapshot.
func (m *Memory) Scan(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		entries, err := m.snapshot(prefix)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, e := range entries {
			if ctx.Err() != nil {
				break
			}
			e.Value = bytes.Clone(e.Value)
			if !yield(e, nil) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(Entry{}, fmt.Errorf("kv: scan %q: %w", prefix, ctx.Err()))
		}
	}
}

func (m *Memory) snapshot(prefix string) ([]Entry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	var entries []Entry
	for key, e := range m.entries {
		if strings.HasPrefix(key, prefix) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, nil
}

// Close implements [Store].
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.entries = true, nil
	return nil
}
