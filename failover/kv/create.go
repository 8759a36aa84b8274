package kv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"
)

const leftover = ".new-" // between the file's name and a random suffix

// create puts a complete empty store at path in one step, so that a process
// killed half way leaves a file under another name and never a torn state.db.
func create(path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+leftover+"*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if err := tmp.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(tmp.Name(), 0o600, &bbolt.Options{Timeout: lockWait})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(recordsBucket); err != nil {
			return err
		}
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return meta.Put(totalsKey, totals{}.encode())
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Link, unlike Rename, does not replace what another process just created.
	err = os.Link(tmp.Name(), path)
	if _, statErr := os.Stat(path); statErr == nil {
		return nil
	}
	return err
}

// removeLeftovers removes what processes killed inside create left behind. A
// live one that loses its file so finds that the store exists already.
func removeLeftovers(path string) {
	dir, name := filepath.Dir(path), filepath.Base(path)
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), name+leftover) {
			_ = os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}
