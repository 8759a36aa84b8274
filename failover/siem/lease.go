package siem

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// Lease lets one of several pumps, each with a Config.Dir of its own and the same
// Sources, read at a time: Falcon gives an appId's stream to one reader only. The
// others stand by and read on where the holder had delivered to.
//
// What a pump has in its spool it delivers with or without the lease. So after a holder
// has died, what it had read and not delivered is read again by the next one, and comes
// a second time, with the same ids, when the dead one is started again.
//
// No clock is shared. A standby takes over when the record in the Store has not changed
// for a TTL by its own monotonic clock; the holder renews it every third of a TTL, and
// stops reading when it could not for two thirds. While the Store cannot be reached the
// holder goes on until then, and nobody takes over.
type Lease struct {
	// Store is shared by the pumps, and durable: the offsets in it are all that a
	// standby knows. It must bound its calls by their ctx.
	Store kv.Store
	// Key of the record, the same in all pumps that take turns, such as
	// "siem/CID/APPID".
	Key string
	// Holder names this process to people, such as its host's name.
	Holder string
	// TTL is how long a holder that has died keeps the others waiting. A holder whose
	// Run ends gives the lease back, and nobody waits. Default 15 s, at least 1 s.
	TTL time.Duration
}

func (l *Lease) check() error {
	switch {
	case l.Store == nil:
		return resilience.Misusef("siem: Lease.Store is nil: want the store that the processes share")
	case l.Key == "" || len(l.Key) > kv.MaxKey:
		return resilience.Misusef("siem: Lease.Key has %d bytes: want 1 to %d", len(l.Key), kv.MaxKey)
	case l.Holder == "":
		return resilience.Misusef("siem: Lease.Holder is empty: name this process, for instance by its host")
	case l.TTL != 0 && l.TTL < time.Second:
		return resilience.Misusef("siem: Lease.TTL is %v: want 1s or more, or 0 for 15s", l.TTL)
	}
	return nil
}

// leaseRecord is what is in the store. Its revision is the fence: only who holds the
// newest one can write the next.
type leaseRecord struct {
	Version int    `json:"version"`
	Holder  string `json:"holder"`
	Run     string `json:"run,omitempty"` // tells pumps of one name apart; empty: given back
	// Feeds are the offsets up to which every event is delivered. Not those up to which
	// it is durable: nobody but the holder has its spool.
	Feeds map[string]uint64 `json:"feeds,omitempty"`
}

const leaseVersion = 1

func parseLease(value []byte) (r leaseRecord, err error) {
	if err := json.Unmarshal(value, &r); err != nil {
		return leaseRecord{}, fmt.Errorf("siem: Lease.Key names something that is no lease: %w", err)
	}
	if r.Version != leaseVersion {
		return leaseRecord{}, fmt.Errorf("siem: the lease has version %d, and this release knows %d", r.Version, leaseVersion)
	}
	return r, nil
}

var errOverdue = errors.New("siem: the lease could not be renewed in time")

// takenError says that another pump reads now.
type takenError struct{ holder string }

func (e *takenError) Error() string { return "siem: the lease is held by " + e.holder }

// keeper gets the lease and keeps it. A nil one is a pump that needs none.
type keeper struct {
	lease Lease
	run   string
	log   *slog.Logger

	turn chan struct{} // held over a write
	// Guarded by turn:
	rev  uint64 // of the record, as we wrote it
	mine bool   // as far as we know

	mu    sync.Mutex
	until time.Time // nobody can have taken over before
	feeds map[string]uint64
}

func newKeeper(l *Lease, log *slog.Logger) *keeper {
	if l == nil {
		return nil
	}
	k := &keeper{lease: *l, run: rand.Text(), log: log, turn: make(chan struct{}, 1), feeds: map[string]uint64{}}
	if k.lease.TTL == 0 {
		k.lease.TTL = 15 * time.Second
	}
	return k
}

// keep calls read while the lease is held, again and again until ctx ends.
func (k *keeper) keep(ctx context.Context, read func(context.Context)) {
	if k == nil {
		read(ctx)
		return
	}
	for k.acquire(ctx) == nil {
		k.log.InfoContext(ctx, "siem: this process reads now", "lease", k.lease.Key, "holder", k.lease.Holder)
		err := k.during(ctx, read)
		if ctx.Err() != nil {
			return
		}
		k.log.WarnContext(ctx, "siem: this process has stopped reading", "lease", k.lease.Key, "holder", k.lease.Holder, "error", err)
	}
}

// during calls read with a context that ends with the lease, and returns why it ended.
func (k *keeper) during(ctx context.Context, read func(context.Context)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() { stop(k.renew(ctx)) })
	wg.Go(func() { stop(k.expire(ctx)) }) // whatever becomes of a renewal under way
	read(ctx)
	err := context.Cause(ctx)
	stop(nil)
	wg.Wait()
	return err
}

func (k *keeper) renew(ctx context.Context) error {
	for pause := k.lease.TTL / 3; ; {
		if err := wait.For(ctx, pause); err != nil {
			return err
		}
		err := k.write(ctx)
		pause = k.lease.TTL / 3
		if taken, ok := errors.AsType[*takenError](err); ok {
			return taken
		}
		if err != nil {
			k.log.WarnContext(ctx, "siem: the lease is not renewed", "lease", k.lease.Key, "error", err)
			pause = k.lease.TTL / 15
		}
	}
}

// expire waits for the end of the lease's time, which every renewal moves.
func (k *keeper) expire(ctx context.Context) error {
	for left := k.left(); left > 0; left = k.left() {
		if err := wait.For(ctx, left); err != nil {
			return err
		}
	}
	return errOverdue
}

func (k *keeper) left() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Until(k.until)
}

// check refuses what a process wants to read that has slept through its time.
func (k *keeper) check() error {
	if k == nil || k.left() > 0 {
		return nil
	}
	return errOverdue
}

// enter waits for the turn to write.
func (k *keeper) enter(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (k *keeper) leave() { <-k.turn }

// write renews the lease and stores what is delivered.
func (k *keeper) write(ctx context.Context) error {
	if err := k.enter(ctx); err != nil {
		return err
	}
	defer k.leave()
	begun := time.Now()
	if err := k.update(ctx, k.run); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Now().After(k.until) {
		return errOverdue // the sources have been told
	}
	k.until = begun.Add(k.lease.TTL / 3 * 2)
	return nil
}

// update writes over the record that is ours. A conflict may be with a write of ours
// whose answer was lost, with a store that has lost the record, which others wait a TTL
// to replace, or with another holder.
func (k *keeper) update(ctx context.Context, run string) error {
	err := k.put(ctx, run, k.rev)
	if !errors.Is(err, kv.ErrConflict) {
		return err
	}
	rec, rev, err := k.get(ctx)
	switch {
	case errors.Is(err, kv.ErrNotFound):
	case err != nil:
		return err
	case rec.Run != k.run:
		k.mine = false
		k.mu.Lock()
		k.until = time.Time{}
		k.mu.Unlock()
		return &takenError{rec.Holder}
	}
	return k.put(ctx, run, rev)
}

// put writes the record over the one at rev.
func (k *keeper) put(ctx context.Context, run string, rev uint64) error {
	k.mu.Lock()
	rec := leaseRecord{Version: leaseVersion, Holder: k.lease.Holder, Run: run, Feeds: maps.Clone(k.feeds)}
	k.mu.Unlock()
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, k.lease.TTL/6)
	defer cancel()
	if rev, err = k.lease.Store.Put(ctx, k.lease.Key, value, rev); err != nil {
		return fmt.Errorf("siem: lease: %w", err)
	}
	k.rev, k.mine = rev, run != ""
	return nil
}

func (k *keeper) get(ctx context.Context) (leaseRecord, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, k.lease.TTL/6)
	defer cancel()
	e, err := k.lease.Store.Get(ctx, k.lease.Key)
	if err != nil {
		return leaseRecord{}, 0, fmt.Errorf("siem: lease: %w", err)
	}
	rec, err := parseLease(e.Value)
	return rec, e.Rev, err
}

// giveBack lets another process take over at once.
func (k *keeper) giveBack(ctx context.Context) {
	if k == nil || k.enter(context.Background()) != nil {
		return
	}
	defer k.leave()
	if !k.mine {
		return
	}
	if err := k.update(context.WithoutCancel(ctx), ""); err != nil {
		k.log.WarnContext(ctx, "siem: the lease is not given back: others wait for its end", "lease", k.lease.Key, "error", err)
	}
}
