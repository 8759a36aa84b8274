package edr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/kv"
)

// Entry is the ledger's word on one host at one vendor: the last effect that
// Jurymast wanted there, and what became of it. It is written before anything is
// sent, as Unknown, so that a crash leaves a trace, and kept until the vendor itself
// says that nothing is held any more.
type Entry struct {
	Provider string           `json:"provider"`
	HostID   string           `json:"host_id"`
	Name     string           `json:"name"`
	Verb     Verb             `json:"verb"`
	Outcome  failover.Outcome `json:"outcome"`
	Intent   Intent           `json:"intent"`
	At       time.Time        `json:"at"` // when it was wanted
	// Proven is when the vendor last said by itself that the host is held, to the hour;
	// zero if it never did.
	Proven time.Time `json:"proven,omitzero"`
	// Foreign: somebody else contained the host, such as an analyst in the console. It
	// is released when Release is called for the host, and never unasked.
	Foreign bool `json:"foreign,omitempty"`
	// With are the other vendors of a release that has only begun: a crash must not
	// leave the host with one of them.
	With []HostID `json:"with,omitempty"`
}

// HostID is a host at a vendor.
type HostID struct {
	Provider string `json:"provider"`
	ID       string `json:"id"`
}

// Verb is what was wanted.
type Verb string

// The verbs.
const (
	VerbContain Verb = "contain"
	VerbRelease Verb = "release"
	VerbForget  Verb = "forget" // of the audit: the ledger was told to forget
)

// Owed reports that the vendor holds, or may hold, the host, and nobody has
// undone it.
func (e Entry) Owed() bool {
	return e.Verb == VerbContain && e.Outcome.MayHold() || e.Debt()
}

// Debt reports that a release was wanted which is not known to have happened.
func (e Entry) Debt() bool { return e.Verb == VerbRelease && !e.Outcome.OK() }

// settled reports that the vendor itself has confirmed the entry.
func (e Entry) settled() bool { return e.Verb == VerbContain && !e.Proven.IsZero() }

// ledger keeps one Entry for each host and vendor, and none where nothing is held.
type ledger struct{ store kv.Store }

const ledgerPrefix = "edr/ledger/"

func ledgerKey(provider, hostID string) string { return ledgerPrefix + provider + "/" + hostID }

// set replaces an entry and returns the one before, zero if there was none.
func (l *ledger) set(ctx context.Context, e Entry) (before Entry, err error) {
	return l.change(ctx, e.Provider, e.HostID, func(rev uint64) error {
		value, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = l.store.Put(ctx, ledgerKey(e.Provider, e.HostID), value, rev)
		return err
	})
}

// clear removes an entry.
func (l *ledger) clear(ctx context.Context, provider, hostID string) error {
	_, err := l.change(ctx, provider, hostID, func(rev uint64) error {
		if rev == 0 {
			return nil
		}
		return l.store.Delete(ctx, ledgerKey(provider, hostID), rev)
	})
	return err
}

// change writes over whatever revision there is. Another process may write
// between the read and the write; the last intent counts.
func (l *ledger) change(ctx context.Context, provider, hostID string, write func(rev uint64) error) (Entry, error) {
	// The caller may be leaving; what was done must be written all the same.
	ctx = context.WithoutCancel(ctx)
	for range 8 {
		before, rev, err := l.get(ctx, provider, hostID)
		if err == nil {
			err = write(rev)
		}
		if !errors.Is(err, kv.ErrConflict) {
			return before, wrapLedger(err)
		}
	}
	return Entry{}, wrapLedger(kv.ErrConflict)
}

func (l *ledger) get(ctx context.Context, provider, hostID string) (Entry, uint64, error) {
	raw, err := l.store.Get(ctx, ledgerKey(provider, hostID))
	if errors.Is(err, kv.ErrNotFound) {
		return Entry{}, 0, nil
	}
	if err != nil {
		return Entry{}, 0, err
	}
	var e Entry
	if err := json.Unmarshal(raw.Value, &e); err != nil {
		return Entry{}, 0, err
	}
	return e, raw.Rev, nil
}

func wrapLedger(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("edr: ledger: %w", err)
}

// all yields every entry.
func (l *ledger) all(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for raw, err := range l.store.Scan(ctx, ledgerPrefix) {
			var e Entry
			if err == nil {
				err = json.Unmarshal(raw.Value, &e)
			}
			if !yield(e, wrapLedger(err)) {
				return
			}
		}
	}
}

// list is the entries that keep accepts, and what is wrong with those that cannot be
// read.
func (l *ledger) list(ctx context.Context, keep func(Entry) bool) ([]Entry, error) {
	var out []Entry
	var errs []error
	for e, err := range l.all(ctx) {
		switch {
		case err != nil:
			errs = append(errs, err)
		case keep(e):
			out = append(out, e)
		}
	}
	return out, errors.Join(errs...)
}

// Ledger yields what Jurymast did, or may have done, to hosts, and what it knows
// others did, until the vendors say that it is undone: see Entry.Owed for what holds
// a host, or may. An entry that cannot be read is an error, and the iteration goes on.
func (f *Fleet) Ledger(ctx context.Context) iter.Seq2[Entry, error] { return f.ledger.all(ctx) }
