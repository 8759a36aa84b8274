//go:build !linux

package disk

import "os"

// SyncData syncs f.
func SyncData(f *os.File) error { return f.Sync() }
