package edr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/resilience"
)

// Guards stand before every containment, against an automation that has gone wrong.
// A release is not guarded: a host that stays cut off is what they are to prevent.
type Guards struct {
	// Protected tells why a host must not be contained, such as "domain controller",
	// or "" if it may be. It is called by several goroutines.
	Protected func(Host) string
	// MaxHosts is how many containments may begin within Window; default 0, any number.
	// The count outlives the process.
	MaxHosts int
	Window   time.Duration // default 1 h
	// Approve is asked last, when everything else allows the containment; its error
	// refuses it. It may take as long as the caller's context allows.
	Approve func(context.Context, Host, Intent) error
}

// Guard is one of the [Guards].
type Guard string

// The guards.
const (
	GuardProtected Guard = "protected host"
	GuardRadius    Guard = "blast radius"
	GuardApproval  Guard = "approval"
)

// ErrGuard: a guard refused the containment. See GuardError.
var ErrGuard = errors.New("refused by a guard")

// GuardError says which guard refused, and why. Nothing was sent.
type GuardError struct {
	Guard Guard
	Host  string
	Why   string
	Err   error // of Guards.Approve
}

// Error names the guard, the host and the reason.
func (e *GuardError) Error() string {
	return fmt.Sprintf("edr: %s is not contained: %s: %s", e.Host, e.Guard, e.Why)
}

// Is matches ErrGuard.
func (e *GuardError) Is(target error) bool { return target == ErrGuard }

// Unwrap gives the error of Guards.Approve.
func (e *GuardError) Unwrap() error { return e.Err }

// Failure makes GuardError Classified.
func (e *GuardError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Misuse, Sent: resilience.NotSent}
}

func (g *Guards) check() error {
	switch {
	case g.MaxHosts < 0:
		return fmt.Errorf("edr: Config.Guards.MaxHosts is %d: want how many hosts may be contained in the window, or 0", g.MaxHosts)
	case g.Window < 0:
		return fmt.Errorf("edr: Config.Guards.Window is %v: want a time, or 0 for an hour", g.Window)
	case g.Window > 0 && g.MaxHosts == 0:
		return errors.New("edr: Config.Guards.Window is set, and MaxHosts is not: how many hosts may be contained in it?")
	case g.Window == 0:
		g.Window = time.Hour
	}
	return nil
}

func (g *Guards) protects(h Host) error {
	if g.Protected != nil {
		if why := g.Protected(h); why != "" {
			return &GuardError{Guard: GuardProtected, Host: h.Name, Why: why}
		}
	}
	return nil
}

// mayContain tells what the guards would say, but for the approval.
func (f *Fleet) mayContain(ctx context.Context, h Host) error {
	if err := f.cfg.Guards.protects(h); err != nil {
		return err
	}
	f.radius.mu.Lock()
	defer f.radius.mu.Unlock()
	_ = f.radius.load(ctx, f.cfg.Store) // a containment would not wait for a disk either
	return f.radius.room(&f.cfg.Guards, h, time.Now())
}

// guard asks the guards. After, which it returns, takes the place in the blast radius
// back if the containment came to nothing.
func (f *Fleet) guard(ctx context.Context, h Host, intent Intent) (after func(failover.Outcome), err error) {
	g := &f.cfg.Guards
	if err := g.protects(h); err != nil {
		return nil, err
	}
	began, err := f.radius.take(ctx, f.cfg.Store, g, h)
	if errors.Is(err, ErrGuard) {
		return nil, err
	}
	if err != nil {
		// As with the ledger, a containment does not wait for a disk.
		f.log.ErrorContext(ctx, "the blast radius is counted in memory only", "error", err.Error())
	}
	after = func(o failover.Outcome) {
		if o != failover.Accepted && o != failover.Applied && o != failover.Unknown {
			f.radius.giveBack(ctx, f.cfg.Store, g, began)
		}
	}
	if g.Approve != nil {
		if err := g.Approve(ctx, h, intent); err != nil {
			after(failover.NotSent)
			return nil, &GuardError{Guard: GuardApproval, Host: h.Name, Why: err.Error(), Err: err}
		}
	}
	return after, nil
}

// radius is when the containments of the window began.
type radius struct {
	mu     sync.Mutex
	read   bool // from the store
	began  []time.Time
	stored uint64 // revision
}

const radiusKey = "edr/radius"

// room says by a GuardError that the window is full; mu is held.
func (r *radius) room(g *Guards, h Host, now time.Time) error {
	r.began = slices.DeleteFunc(r.began, func(t time.Time) bool { return now.Sub(t) >= g.Window })
	if g.MaxHosts == 0 || len(r.began) < g.MaxHosts {
		return nil
	}
	return &GuardError{Guard: GuardRadius, Host: h.Name, Why: fmt.Sprintf(
		"%d hosts were contained within %v, the most that Config.Guards.MaxHosts allows; the next one is allowed at %s",
		len(r.began), g.Window, r.began[0].Add(g.Window).Format(time.RFC3339))}
}

// take takes a place in the window. It tells by a GuardError that there is none, and
// by another error that the store does not know of it.
func (r *radius) take(ctx context.Context, store kv.Store, g *Guards, h Host) (time.Time, error) {
	now := time.Now()
	if g.MaxHosts == 0 {
		return now, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load(ctx, store)
	if full := r.room(g, h, now); full != nil {
		return now, full
	}
	r.began = append(r.began, now)
	return now, errors.Join(err, r.save(ctx, store))
}

func (r *radius) giveBack(ctx context.Context, store kv.Store, g *Guards, began time.Time) {
	if g.MaxHosts == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.began, began.Equal); i >= 0 {
		r.began = slices.Delete(r.began, i, i+1)
		_ = r.save(ctx, store) // what is counted too many is forgotten after the window
	}
}

func (r *radius) load(ctx context.Context, store kv.Store) error {
	if r.read {
		return nil
	}
	e, err := store.Get(ctx, radiusKey)
	if errors.Is(err, kv.ErrNotFound) {
		r.read = true
		return nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &r.began)
	}
	if err != nil {
		return fmt.Errorf("edr: reading the blast radius: %w", err)
	}
	r.read, r.stored = true, e.Rev
	return nil
}

func (r *radius) save(ctx context.Context, store kv.Store) error {
	value, err := json.Marshal(r.began)
	if err == nil {
		r.stored, err = store.Put(context.WithoutCancel(ctx), radiusKey, value, r.stored)
	}
	if err != nil {
		return fmt.Errorf("edr: writing the blast radius: %w", err)
	}
	return nil
}
