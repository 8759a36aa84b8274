package disk

import (
	"errors"
	"os"
	"syscall"
)

// SyncData syncs the bytes and the length of f, and not its times.
func SyncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
