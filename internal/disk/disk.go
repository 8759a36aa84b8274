// Package disk is what stores on disk need of the operating system beyond package os:
// one holder at a time, and names that outlive a power cut. Where the system has
// neither it does nothing, and Supported says so: whoever opens a store decides.
package disk

import (
	"errors"
	"syscall"
)

// ErrLocked: another process, or another open file in this one, has the lock.
var ErrLocked = errors.New("locked by another")

// Full reports that err is for want of room: on the disk, or in a quota of it.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
