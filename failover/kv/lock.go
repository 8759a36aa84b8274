package kv

import (
	"errors"
	"fmt"
	"os"

	"github.com/jurymast/jurymast/internal/disk"
)

// lockFile takes the lock that bbolt takes later on the same descriptor (which then
// succeeds at once), so that the file is still while it is checked. Where there are no
// such locks it is left to bbolt: a second process may then find the file in the middle
// of a write and call it damaged instead of in use; either way it does not open it.
func lockFile(f *os.File) error {
	switch err := disk.Lock(f, lockWait); {
	case err == nil:
		return nil
	case errors.Is(err, disk.ErrLocked):
		return ErrInUse
	default:
		return fmt.Errorf("kv: lock %s: %w", f.Name(), err)
	}
}
