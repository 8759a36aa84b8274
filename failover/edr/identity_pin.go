package edr

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Pin sets links, such as those of a CMDB. A pin wins over everything that the
// vendors' records say, is never dropped, and is replaced only by a pin of the same
// records; links that were learned of its members go. Fill in Members, and Pinned.By
// and Pinned.Why; the other fields are set. Pass many links in one call: each call
// writes every part of the store that it concerns once.
//
// All links are checked before any is stored.
func (f *Fleet) Pin(ctx context.Context, links ...Link) error {
	now := time.Now().UTC().Truncate(time.Second)
	pins := make([]*Link, len(links))
	taken := map[recordID]bool{}
	for i, l := range links {
		if err := f.checkPin(fmt.Sprintf("links[%d]", i), l); err != nil {
			return err
		}
		pin := *l.Pinned
		if pin.At.IsZero() {
			pin.At = now
		}
		pins[i] = &Link{Members: slices.Clone(l.Members), Grade: Exact, Evidence: l.Evidence, Learned: now, Proven: now, Pinned: &pin}
		pins[i].sort()
		for j := range pins[i].Members {
			m := &pins[i].Members[j]
			m.Name, _ = splitName(m.Name)
			if taken[m.key()] {
				return resilience.Misusef("edr: Pin: links[%d]: %s is in another link of the call too: a record is of one machine", i, m)
			}
			taken[m.key()] = true
		}
	}
	return f.links.change(ctx, func(t *table) error {
		for _, l := range pins {
			for _, m := range l.Members {
				before := t.at(ctx, m.key())
				switch {
				case before == nil:
				case before.Pinned != nil && !before.sameMembers(*l):
					return resilience.Misusef("edr: Pin: %s has another pin: %s; Fleet.Unpin it first", m, before)
				case before.Pinned != nil:
					l.Learned = before.Learned
				default:
					t.remove(ctx, before)
				}
			}
			t.put(ctx, l)
		}
		return nil
	})
}

func (f *Fleet) checkPin(name string, l Link) error {
	if l.Pinned == nil || l.Pinned.By == "" || l.Pinned.Why == "" {
		return resilience.Misusef("edr: Pin: %s.Pinned needs By and Why: who says so is kept, and shown with every use", name)
	}
	if len(l.Members) < 2 {
		return resilience.Misusef("edr: Pin: %s.Members has %d records: a link joins two or more", name, len(l.Members))
	}
	seen := map[string]bool{}
	for i, m := range l.Members {
		switch {
		case m.ID == "":
			return resilience.Misusef("edr: Pin: %s.Members[%d].ID is empty: use the vendor's own id of the record", name, i)
		case !slices.Contains(f.Providers(), m.Provider):
			return resilience.Misusef("edr: Pin: %s.Members[%d].Provider %q is not one of this fleet's: %s", name, i, m.Provider, strings.Join(f.Providers(), ", "))
		case seen[m.Provider]:
			return resilience.Misusef("edr: Pin: %s.Members has two records of %s: a machine has one there", name, m.Provider)
		}
		seen[m.Provider] = true
	}
	return nil
}

// Unpin removes the pin of a record, by any of its members, and reports whether
// there was one. The next Learn learns what the vendors say.
func (f *Fleet) Unpin(ctx context.Context, provider, id string) (bool, error) {
	was := false
	err := f.links.change(ctx, func(t *table) error {
		l := t.at(ctx, recordID{provider, id})
		if was = l != nil && l.Pinned != nil; was {
			t.remove(ctx, l)
		}
		return nil
	})
	return was, err
}
