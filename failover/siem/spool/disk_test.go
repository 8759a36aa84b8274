package spool

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
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
	inodes       []*inode          // that were made
	ops, cutAt   int               // the operation at which the power goes; 0 never
	syncs        int
	syncError    error
	recordError  error // of a sync of a segment that has its header
	limit        int64 // bytes; 0 none
	fullAt       int   // the operation from which on nothing takes new room; 0 never
	lazy         bool  // only a sync finds out, as where quotas are or blocks are given late
	copies       bool  // it does not write in place
	operationLog []string
}

type inode struct {
	data, synced []byte
	pending      []write
	open         int // handles: what is removed and still open takes its room
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

// take says how much of grow more bytes there is room for. The caller holds mu.
func (d *faultDisk) take(grow int64) int64 {
	switch {
	case d.lazy || grow <= 0:
		return grow
	case d.fullAt > 0 && d.ops+1 >= d.fullAt:
		return 0
	case d.limit > 0:
		return max(0, min(grow, d.limit-d.used()))
	}
	return grow
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

// clone copies the bytes of a file. The reserve is large, and written once.
func clone(name string, b []byte) []byte {
	if name == reserveName {
		return b[:len(b):len(b)]
	}
	return slices.Clone(b)
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
		b := clone(name, all[name].synced)
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
		n := &inode{data: clone(name, b), synced: b}
		after.names[name], after.kept[name] = n, n
	}
	return after
}

func (d *faultDisk) failRecords(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recordError = err
}

// kill returns the disk as another process finds it: nothing lost, nothing synced.
func (d *faultDisk) kill() *faultDisk {
	d.cutAt = 0
	return d
}

func (d *faultDisk) clone() *faultDisk {
	c := newDisk()
	for name, n := range d.names {
		m := &inode{data: clone(name, n.data), synced: clone(name, n.data)}
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
		if n == nil && d.take(1) == 0 {
			return nil, syscall.ENOSPC
		}
		n = &inode{} // in place of the one before, which nobody reads any more
		d.names[name] = n
		d.inodes = append(d.inodes, n)
	}
	n.open++
	return &handle{d: d, n: n, name: name}, nil
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

func (d *faultDisk) list(dir string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.names {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

func (d *faultDisk) sync(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("syncdir " + dir); err != nil {
		return err
	}
	for name, n := range d.names {
		if path.Dir(name) == dir {
			d.kept[name] = n
		}
	}
	for name := range d.kept {
		if d.names[name] == nil && path.Dir(name) == dir {
			delete(d.kept, name)
		}
	}
	return nil
}

type handle struct {
	d    *faultDisk
	n    *inode
	name string
	done bool
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
	grow := max(0, at+int64(len(b))-int64(len(h.n.data)))
	if h.d.copies {
		grow = int64(len(b))
	}
	if got := h.d.take(grow); got < grow {
		w.data = w.data[:max(0, int64(len(b))-grow+got)] // a short write
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
	for _, i := range d.inodes {
		if i.open > 0 && !slices.Contains(slices.Collect(maps.Values(d.names)), i) {
			n += int64(len(i.data))
		}
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
	err := h.d.syncError
	if strings.HasSuffix(h.name, suffix) && len(h.n.synced) > 0 && h.d.recordError != nil {
		err = h.d.recordError
	}
	if h.d.lazy && len(h.n.data) > len(h.n.synced) && (h.d.fullAt > 0 && h.d.ops >= h.d.fullAt || h.d.limit > 0 && h.d.used() > h.d.limit) {
		err = syscall.EDQUOT
	}
	if err != nil { // the pages are marked clean and never written
		h.n.pending = nil
		return err
	}
	h.n.synced, h.n.pending = clone(h.name, h.n.data), nil
	return nil
}

func (h *handle) size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.n.data)), nil
}

func (h *handle) Close() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if !h.done {
		h.done = true
		h.n.open--
	}
	return nil
}
