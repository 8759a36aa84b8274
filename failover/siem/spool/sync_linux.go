package spool

import (
	"errors"
	"os"
	"syscall"
)

// syncData syncs the bytes and the length of f, and not its times.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
