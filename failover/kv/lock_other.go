//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package kv

import (
	"os"
	"time"
)

// lockFile leaves the locking to bbolt. A second process may then find the file
// in the middle of a write and call it damaged instead of in use; either way it
// does not open it.
func lockFile(*os.File, time.Duration) error { return nil }

// syncDir does nothing: directories cannot be synced here.
func syncDir(string) error { return nil }

// unlockFile leaves the unlocking to Close.
func unlockFile(*os.File) {}
