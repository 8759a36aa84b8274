package edr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/resilience"
)

// ErrImplausible: a vendor's list of hosts cannot be true. See ImplausibleError.
var ErrImplausible = errors.New("implausible list")

// ImplausibleError is a vendor's list of hosts that came without an error and has lost
// more than half of those that were there before; of fewer than 10 hosts, all. It is
// not used. It is believed when a list after Config.BelieveAfter or later is still the
// same, or when somebody says so by Fleet.Believe.
type ImplausibleError struct {
	Provider string
	Before   int       // hosts in the last list that was believed
	Now      int       // hosts in this one
	Since    time.Time // when lists like this one began
	Believed time.Time // when the list before was believed
	Lift     time.Time // from then on, another list like this one is believed
}

// Error says what was expected, since when it is otherwise, and what to do.
func (e *ImplausibleError) Error() string {
	other := ""
	if 2*e.Now >= e.Before && e.Now > 0 {
		other = ", most of them others"
	}
	return fmt.Sprintf("edr: %s lists %d hosts%s, after %d at %s: that cannot be true; it is believed if it is still so at %s, or by Fleet.Believe(%q) if you know it to be",
		e.Provider, e.Now, other, e.Before, e.Believed.Format(time.RFC3339), e.Lift.Format(time.RFC3339), e.Provider)
}

// Is matches ErrImplausible.
func (e *ImplausibleError) Is(target error) bool { return target == ErrImplausible }

// Failure makes ImplausibleError Classified.
func (e *ImplausibleError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Malformed, Sent: resilience.Answered}
}

// implausible is the error for automation, which must not go on without those whose
// lists cannot be true: nil if there are none among the gaps.
func implausible(gaps []failover.Gap) error {
	var errs []error
	for _, g := range gaps {
		if errors.Is(g.Err, ErrImplausible) {
			errs = append(errs, g.Err)
		}
	}
	return errors.Join(errs...)
}

// Believe lifts the doubt about a vendor's list of hosts: lists are held against the
// one in doubt from now on. If what is remembered is damaged it is forgotten, and the
// next list is believed. Who says so, and why, is logged. It is misuse if there is no
// doubt.
func (f *Fleet) Believe(ctx context.Context, provider, who, why string) error {
	if _, err := f.driver(provider); err != nil {
		return err
	}
	if who == "" || why == "" {
		return resilience.Misusef("edr: believing the list of %s needs who says so, and why", provider)
	}
	var before, now int
	_, err := f.remember(ctx, provider, func(b belief) (belief, error) {
		if b.Doubt == nil {
			return b, resilience.Misusef("edr: the list of %s is not in doubt: there is nothing to believe", provider)
		}
		before, now = b.List.Count, b.Doubt.List.Count
		return belief{List: b.Doubt.List, At: time.Now()}, nil
	})
	if _, damaged := errors.AsType[*kv.CorruptError](err); damaged {
		err = f.cfg.Store.Delete(ctx, beliefPrefix+provider, 0)
	}
	if err == nil {
		f.log.WarnContext(ctx, "a list that lost its hosts is believed", "jurymast.provider", provider,
			"before", before, "now", now, "who", who, "why", why)
	}
	return err
}

type answers = failover.Result[[]failover.Answer[[]Record]]

// believed makes a gap of every list of all hosts that cannot be true. A memory that
// cannot be read is a gap too, beside the list, of which nobody can say whether it is
// all.
func (f *Fleet) believed(ctx context.Context) func(answers, error) (answers, error) {
	return func(found answers, err error) (answers, error) {
		if err != nil {
			return found, err
		}
		out := answers{Gaps: found.Gaps}
		for i, a := range found.Value {
			err := f.plausible(ctx, a)
			if err != nil {
				out.Gaps = append(out.Gaps, failover.Gap{Provider: a.Provider, Err: err})
			}
			if !errors.Is(err, ErrImplausible) {
				out.Value, out.Served = append(out.Value, a), append(out.Served, found.Served[i])
			}
		}
		if len(out.Served) == 0 {
			return out, &failover.Error{Capability: "edr", Call: "hosts", Gaps: out.Gaps}
		}
		return out, nil
	}
}

func (f *Fleet) plausible(ctx context.Context, a failover.Answer[[]Record]) error {
	list, now := listingOf(a.Value), time.Now()
	ok, doubted := false, false
	b, err := f.remember(ctx, a.Provider, func(b belief) (belief, error) {
		doubted = b.Doubt != nil
		b, ok = b.judge(list, now, f.cfg.BelieveAfter)
		return b, nil
	})
	switch {
	case err != nil:
		return err
	case !ok:
		return &ImplausibleError{
			Provider: a.Provider, Before: b.List.Count, Now: len(list),
			Since: b.Doubt.Since, Believed: b.At, Lift: b.Doubt.Since.Add(f.cfg.BelieveAfter),
		}
	case doubted:
		f.log.WarnContext(ctx, "a list that was in doubt is believed", "jurymast.provider", a.Provider, "now", len(list))
	}
	return nil
}

const beliefPrefix = "edr/list/"

// remember changes what is remembered of a vendor's list, and returns what is then.
func (f *Fleet) remember(ctx context.Context, provider string, change func(belief) (belief, error)) (belief, error) {
	// The caller may be leaving; what was seen must be written all the same.
	ctx, store, key := context.WithoutCancel(ctx), f.cfg.Store, beliefPrefix+provider
	err := kv.ErrConflict
	for range 8 {
		if !errors.Is(err, kv.ErrConflict) {
			break
		}
		var before, after belief
		var rev uint64
		if before, rev, err = recall(ctx, store, key); err != nil {
			break
		}
		if after, err = change(before); err != nil || after.equal(before) {
			return after, err
		}
		var value []byte
		if value, err = json.Marshal(after); err == nil {
			_, err = store.Put(ctx, key, value, rev)
		}
		if err == nil {
			return after, nil
		}
	}
	return belief{}, fmt.Errorf("edr: whether the list of %s is plausible cannot be said: %w", provider, err)
}

func recall(ctx context.Context, store kv.Store, key string) (b belief, rev uint64, err error) {
	entry, err := store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return belief{}, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(entry.Value, &b)
	}
	return b, entry.Rev, err
}
