// Package spool keeps event chunks on disk between a stream and the systems it
// is delivered to: a directory of append-only segment files.
//
// # When the disk fails
//
// Append returns nil only after the chunk is synced; a chunk whose Append failed
// is not promised, and the stream's cursor ([Spool.Cursor]) does not move past
// it: the caller reads it from the stream again. A sync that failed is never
// tried again on the same file: the segment is cut back to what was synced, and
// the next Append begins a new one.
//
// A full disk, or a spool at Config.MaxBytes, is [ErrFull]: stop reading the
// stream and try again later. Readers go on, acknowledged segments are removed, and
// then Append works again; nothing has to be reopened. An acknowledgement is written
// in place and a removal needs no room. What does need some before room comes back,
// such as the header of the segment that takes over the cursors, gets it from a file
// named reserve: 66 kB up to 63 feeds, 0.6 MB at most, beside Config.MaxBytes.
//
// After a crash or damage [Open] does not refuse the spool. What is not whole at
// the end of the newest segment is cut, kept in quarantine/ and reported by
// [Spool.Recovered]; the cursor falls back to what is left, so that the stream
// replays the rest. Damage anywhere else is a [*GapError] that names the feed and
// the offsets that are missing, and what is behind it stays readable. Bytes that
// fail their checksum are never returned.
//
// A lost or rotten delivery cursor of a sink repeats chunks; it never skips any.
// The spool promises at least once.
//
// A second process gets [ErrInUse] within about a second, with the holder's
// process id. The package starts no goroutine.
package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/jurymast/jurymast/internal/disk"
	"github.com/jurymast/jurymast/resilience"
)

// Limits of what a spool takes.
const (
	MaxBody  = 16 << 20 // bytes in a chunk's body; an empty body is refused too
	MaxFeed  = 256      // bytes in the name of a feed
	MaxFeeds = 1024     // feeds in one spool
)

// Errors that callers tell apart, with [errors.Is].
var (
	// ErrFull means that the disk or the budget has no room. The chunk was not
	// taken; the same Append succeeds once there is room.
	ErrFull   = errors.New("spool: full")
	ErrClosed = errors.New("spool: closed")
	// ErrInUse means that another process, or another Open in this one, has the
	// spool open.
	ErrInUse = errors.New("spool: in use by another process")
)

// Config says what a spool holds and for whom.
type Config struct {
	// CID names the tenant whose events these are. A spool written for another
	// one is refused. At most 256 bytes.
	CID string
	// Sinks are the readers; a segment is removed when each of them acknowledged
	// it. At least one; lower-case letters, digits, '-' and '_', at most 64. A new
	// sink begins with the oldest segment that is left. The cursor of a sink that
	// is no longer named is kept but holds nothing back.
	Sinks []string
	// SegmentBytes is the size at which a new segment begins. Default 64 MiB.
	SegmentBytes int64
	// MaxBytes limits all segments together, the open one included; the header of
	// a new segment may exceed it. Default 0: only the disk limits.
	MaxBytes int64
	// QuarantineBytes limits quarantine/, where Open keeps what it cut; the oldest
	// files make way. Default 64 MiB.
	QuarantineBytes int64
}

// Chunk is a run of events of one feed. Kind, Codec, Flags, RawLength, Count and
// the times are kept as they are and mean nothing to the spool.
type Chunk struct {
	// Position is the chunk's place in the spool, for [Spool.Ack]. Append ignores
	// it. Positions rise over all feeds, with holes.
	Position uint64
	// Feed is the stream's lasting name, such as a CID and partition: not a URL.
	Feed string
	// First and Last are the stream's offsets of the first and the last event.
	First, Last uint64
	Count       uint32 // events
	// MinTime and MaxTime are kept to the microsecond and returned in UTC.
	MinTime, MaxTime time.Time
	Kind             uint8
	Codec            uint8 // how Body is compressed
	Flags            uint8
	RawLength        uint32 // bytes of the body before compression
	// Body is the caller's; Append does not keep it, and what a reader gets is
	// its own.
	Body []byte
}

// GapError says that events which were in the spool cannot be read any more: of
// Feed the offsets First to Last, both included; as offsets have holes, fewer
// events may be missing, and the stream may still have them. First 0 means that
// the beginning is not known. An empty Feed means that nothing of the chunks at
// positions First to Last is left to tell what they held.
type GapError struct {
	Feed        string
	First, Last uint64
}

// Error names the feed and the offsets.
func (e *GapError) Error() string {
	if e.Feed == "" {
		return fmt.Sprintf("spool: the chunks at positions %d to %d are lost", e.First, e.Last)
	}
	return fmt.Sprintf("spool: feed %q: offsets %d to %d are lost", e.Feed, e.First, e.Last)
}

// Spool is an open spool directory. It is safe for concurrent use.
type Spool struct {
	config    Config
	files     files
	lock      *os.File
	recovered Recovered
	sinks     map[string]*sink

	queue requests
	turn  chan struct{} // held by the Append that writes, and by Close
	// Guarded by turn:
	active file // nil: the next Append begins a segment
	salt   uint64
	next   uint64 // position
	buffer []byte

	mu       sync.Mutex
	segments []segment // the last one is the active one, if there is one
	cursors  map[string]uint64
	durable  uint64        // the newest position that is synced
	reserve  int64         // bytes of the reserve; 0: there is none
	grown    chan struct{} // closed and replaced when there is more to read
	closed   chan struct{}
}

var sinkName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// Open opens the spool in dir, which must be named; the directory (0700) and its
// files (0600) are created if missing. It reads the newest segment whole, and of
// the others only their names.
func Open(dir string, config Config) (*Spool, error) {
	if dir == "" {
		return nil, resilience.Misusef("spool: the directory name is empty: name a state directory")
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	quarantine := filepath.Join(dir, quarantineDir)
	if err := os.MkdirAll(quarantine, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, d := range []string{dir, quarantine} { // restored from a backup, perhaps
		if err := os.Chmod(d, 0o700); err != nil {
			return nil, fmt.Errorf("spool: others may read the events, and it cannot be changed: %w", err)
		}
	}
	held, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	_ = disk.SyncDir(filepath.Dir(dir)) // matters if dir is new; its parent may be closed to us
	s, err := open(osFiles{dir}, config)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	s.lock = held
	return s, nil
}

func (c *Config) check() error {
	if len(c.Sinks) == 0 {
		return resilience.Misusef("spool: Config.Sinks is empty: name at least one reader, or nothing is ever removed")
	}
	seen := map[string]bool{}
	for _, name := range c.Sinks {
		if !sinkName.MatchString(name) || seen[name] {
			return resilience.Misusef("spool: Config.Sinks: %q: use 1 to 64 of a-z, 0-9, '-' and '_', each name once", name)
		}
		seen[name] = true
	}
	if len(c.CID) > 256 {
		return resilience.Misusef("spool: Config.CID has %d bytes, more than 256", len(c.CID))
	}
	if c.SegmentBytes < 0 || c.MaxBytes < 0 || c.QuarantineBytes < 0 {
		return resilience.Misusef("spool: Config.SegmentBytes, MaxBytes and QuarantineBytes must not be negative")
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.QuarantineBytes == 0 {
		c.QuarantineBytes = 64 << 20
	}
	return nil
}

func open(files files, config Config) (*Spool, error) {
	s := &Spool{
		config: config, files: files, sinks: map[string]*sink{},
		turn: make(chan struct{}, 1), next: 1, cursors: map[string]uint64{},
		grown: make(chan struct{}), closed: make(chan struct{}),
	}
	if err := s.recover(); err != nil {
		s.closeSinks()
		return nil, err
	}
	return s, nil
}

// Cursor returns the offset of the feed's last event that is durable; ok is false
// if the spool has never held any, or lost all trace of it. Read the stream from
// there on. It is derived from the chunks, so it cannot run ahead of them, and it
// stays when all of them are delivered and removed.
func (s *Spool) Cursor(feed string) (last uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok = s.cursors[feed]
	return last, ok
}

func (s *Spool) bytes() (n int64) {
	for _, seg := range s.segments {
		n += seg.disk
	}
	return n
}

// Close waits for the calls under way and releases the directory. Readers end
// with [ErrClosed]. Closing again is fine.
func (s *Spool) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	if s.isClosed() {
		s.mu.Unlock()
		return nil
	}
	close(s.closed)
	s.mu.Unlock()
	var err error
	if s.active != nil {
		err = s.active.Close()
		s.active = nil
	}
	err = errors.Join(err, s.closeSinks())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

func (s *Spool) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// wait waits for more to read.
func (s *Spool) wait(ctx context.Context, grown <-chan struct{}) error {
	select {
	case <-grown:
		return nil
	case <-s.closed:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("spool: read: %w", ctx.Err())
	}
}
