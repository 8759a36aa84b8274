package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/disk"
)

const lockWait = time.Second // how long Open waits for another process, as kv does

// lock takes the directory for this process. The lock lives as long as the file. Where
// there are no locks it refuses: two processes in one spool would destroy it, and a
// power cut could take acknowledged chunks.
func lock(path string) (*os.File, error) {
	if !disk.Supported {
		return nil, errors.New("spool: this operating system has neither flock nor directory sync: a spool would not be durable")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	switch err := disk.Lock(f, lockWait); {
	case err == nil:
		// A courtesy to the next one: a full disk may refuse it.
		_ = f.Truncate(0)
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
		return f, nil
	case errors.Is(err, disk.ErrLocked):
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s, by process %s", ErrInUse, path, strings.TrimSpace(string(pid)))
	default:
		return nil, errors.Join(fmt.Errorf("spool: lock %s: %w", path, err), f.Close())
	}
}
