package spool

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
)

var errPower = errors.New("power cut")

// faultDisk is a directory in memory that loses what was not synced.
type faultDisk struct {
	mu           sync.Mutex
	names, kept  map[string]*inode // kept: durable names
	ops, cutAt   int               // the operation at which the power goes; 0 never
	syncs        int
	failSync     bool
	limit        int64 // bytes; 0 none
	operationLog []string
}

type inode struct {
	data, synced []byte
	pending      []write
}

type write struct {
	at   int64
	data []byte // nil: truncate
}

func newDisk() *faultDisk { return &faultDisk{names: map[string]*inode{}, kept: map[string]*inode{}} }

func (w write) apply(b []byte) []byte {
	end := w.at + int64(len(w.data))
	if w.data == nil && int64(len(b)) > end {
		return b[:end]
	}
	if n := end - int64(len(b)); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	copy(b[w.at:], w.data)
	return b
}

// op counts an operation that changes the disk. The caller holds mu.
func (d *faultDisk) op(name string) error {
	d.ops++
	d.operationLog = append(d.operationLog, name)
	if d.cutAt > 0 && d.ops >= d.cutAt {
		return errPower
	}
	return nil
}

// crash returns what a power cut leaves: all that was synced, and of the rest what chance wills.
func (d *faultDisk) crash(rng *rand.Rand) *faultDisk {
	after := newDisk()
	all := maps.Clone(d.kept)
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if d.kept[name] != d.names[name] && rng.IntN(2) == 0 {
			all[name] = d.names[name]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if d.names[name] == nil && rng.IntN(2) == 0 {
			continue // a removal that made it
		}
		b := slices.Clone(all[name].synced)
		for _, w := range all[name].pending {
			switch rng.IntN(3) {
			case 0:
			case 1:
				b = w.apply(b)
			case 2:
				if w.data != nil {
					w.data = w.data[:rng.IntN(len(w.data)+1)]
				}
				b = w.apply(b)
			}
		}
		n := &inode{data: slices.Clone(b), synced: b}
		after.names[name], after.kept[name] = n, n
	}
	return after
}

// kill returns the disk as another process finds it: nothing lost, nothing synced.
func (d *faultDisk) kill() *faultDisk {
	d.cutAt = 0
	return d
}

func (d *faultDisk) clone() *faultDisk {
	c := newDisk()
	for name, n := range d.names {
		m := &inode{data: slices.Clone(n.data), synced: slices.Clone(n.data)}
		c.names[name], c.kept[name] = m, m
	}
	return c
}

func (d *faultDisk) open(name string, create bool) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil && !create {
		return nil, fs.ErrNotExist
	}
	if create {
		if err := d.op("create " + name); err != nil {
			return nil, err
		}
		n = &inode{}
		d.names[name] = n
	}
	return &handle{d, n, name}, nil
}

func (d *faultDisk) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("remove " + name); err != nil {
		return err
	}
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.names, name)
	return nil
}

func (d *faultDisk) list() (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.names {
		if !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names, nil
}

func (d *faultDisk) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("syncdir"); err != nil {
		return err
	}
	d.kept = maps.Clone(d.names)
	return nil
}

type handle struct {
	d    *faultDisk
	n    *inode
	name string
}

func (h *handle) ReadAt(b []byte, at int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if at >= int64(len(h.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.n.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) change(w write) error {
	if err := h.d.op("write " + h.name); err != nil {
		if w.data != nil { // it may have begun
			h.n.pending = append(h.n.pending, w)
		}
		return err
	}
	h.n.data = w.apply(h.n.data)
	h.n.pending = append(h.n.pending, w)
	return nil
}

func (h *handle) WriteAt(b []byte, at int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	w := write{at, slices.Clone(b)}
	if grow := at + int64(len(b)) - int64(len(h.n.data)); h.d.limit > 0 && grow > 0 && h.d.used()+grow > h.d.limit {
		w.data = w.data[:max(0, int64(len(b))-grow+h.d.limit-h.d.used())] // a short write
		if err := h.change(w); err != nil {
			return 0, err
		}
		return len(w.data), syscall.ENOSPC
	}
	if err := h.change(w); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (d *faultDisk) used() (n int64) {
	for _, i := range d.names {
		n += int64(len(i.data))
	}
	return n
}

func (h *handle) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return h.change(write{at: size})
}

func (h *handle) sync() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.op("sync " + h.name); err != nil {
		return err
	}
	h.d.syncs++
	if h.d.failSync { // the pages are marked clean and never written
		h.n.pending = nil
		return syscall.EIO
	}
	h.n.synced, h.n.pending = slices.Clone(h.n.data), nil
	return nil
}

func (h *handle) size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.n.data)), nil
}

func (h *handle) Close() error { return nil }
