//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package kv

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockFile takes the lock that bbolt takes later on the same descriptor (which
// then succeeds at once), so that the file is still while it is checked.
func lockFile(f *os.File, wait time.Duration) error {
	for deadline := time.Now().Add(wait); ; time.Sleep(25 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("kv: lock %s: %w", f.Name(), err)
		case time.Now().After(deadline):
			return ErrInUse
		}
	}
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// unlockFile gives up the lock also while a mapping of the file is left: a
// mapping keeps an open file, and so its lock, alive after Close.
func unlockFile(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
