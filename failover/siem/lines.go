package siem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// lines is a file of JSON lines.
type lines struct {
	mu sync.Mutex
	f  *os.File
}

const deadFile = 64 << 20

func openLines(dir, name string, _ int64) (*lines, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name+".jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &lines{f: f}, err
}

func (l *lines) write(_ context.Context, line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.f.Write(append(line, '\n'))
	if err = errors.Join(err, l.f.Sync()); err != nil {
		return fmt.Errorf("siem: %w", err)
	}
	return nil
}

func (l *lines) close() error { return l.f.Close() }
