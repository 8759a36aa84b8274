//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package disk

import (
	"os"
	"time"
)

// Supported says that this operating system has both, locks and durable names.
const Supported = false

// Lock does nothing.
func Lock(*os.File, time.Duration) error { return nil }

// Unlock does nothing.
func Unlock(*os.File) {}

// SyncDir does nothing: directories cannot be synced here.
func SyncDir(string) error { return nil }
