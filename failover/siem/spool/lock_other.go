//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package spool

import (
	"errors"
	"os"
)

// lock refuses: two processes in one spool would destroy it, and directories
// cannot be synced here, so a power cut could take acknowledged chunks.
func lock(string) (*os.File, error) {
	return nil, errors.New("spool: this operating system has neither flock nor directory sync: a spool would not be durable")
}

func syncDir(string) error { return nil }
