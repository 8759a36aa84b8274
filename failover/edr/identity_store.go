package edr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/failover/kv"
)

// Links are kept in shards, each link in those of all its members, by a hash of
// provider and id. One record a link would cost a transaction of two fsyncs each:
// minutes for a fleet of 100,000, where 256 shards take seconds. One record for all
// would have to be read for every host that is contained; a shard of that fleet has
// about 200 KB and is read in a few milliseconds.
const (
	linkPrefix  = "edr/links/"
	linkShards  = 256
	linkVersion = 1
	docksKey    = "edr/links-docks" // not below linkPrefix: it is no shard
)

// linkStore reads and writes links. It is safe for concurrent use; writers of other
// processes are told from their own by compare-and-swap.
type linkStore struct{ store kv.Store }

type shardJSON struct {
	V     int    `json:"v"`
	Links []Link `json:"links"`
}

func shardOf(id recordID) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.provider + "\x00" + id.id))
	return int(h.Sum32() % linkShards)
}

func shardKey(n int) string { return fmt.Sprintf("%s%02x", linkPrefix, n) }

// shard is a part of the links as it was read, and is to be written.
type shard struct {
	rev   uint64
	by    map[recordID]*Link // of the members that belong here
	dirty bool
	err   error // it cannot be read, and is left alone
}

func readShard(raw kv.Entry, err error, n int) *shard {
	s := &shard{rev: raw.Rev, by: map[recordID]*Link{}, err: err}
	var in shardJSON
	switch {
	case errors.Is(err, kv.ErrNotFound):
		s.err = nil
		return s
	case err != nil:
		return s
	}
	if s.err = json.Unmarshal(raw.Value, &in); s.err == nil && in.V != linkVersion {
		s.err = fmt.Errorf("its version is %d, and this program knows %d: it was written by another one", in.V, linkVersion)
	}
	if s.err != nil {
		return s
	}
	for i := range in.Links {
		for _, m := range in.Links[i].Members {
			if shardOf(m.key()) == n {
				s.by[m.key()] = &in.Links[i]
			}
		}
	}
	return s
}

// table is the links of one pass: shards are read when they are needed, changed in
// memory, and written by commit.
type table struct {
	*linkStore
	shards [linkShards]*shard
	errs   []error
}

func (s *linkStore) table() *table { return &table{linkStore: s} }

// load reads a shard.
func (t *table) load(ctx context.Context, n int) *shard {
	if t.shards[n] == nil {
		raw, err := t.store.Get(ctx, shardKey(n))
		t.keep(n, readShard(raw, err, n))
	}
	return t.shards[n]
}

func (t *table) keep(n int, s *shard) {
	if t.shards[n] = s; s.err != nil {
		t.errs = append(t.errs, fmt.Errorf("edr: links in %q: %w", shardKey(n), s.err))
	}
}

// loadAll reads every shard, for passes over all links.
func (t *table) loadAll(ctx context.Context) {
	for n := range linkShards {
		t.load(ctx, n)
	}
}

// at returns the link of a record, nil if there is none.
func (t *table) at(ctx context.Context, id recordID) *Link { return t.load(ctx, shardOf(id)).by[id] }

// agreed returns the link of a record if all its members have it. One that some have
// and some have not is left of a write, or a removal, that was cut short, until the
// next pass. A copy that cannot be read speaks against nothing.
func (t *table) agreed(ctx context.Context, id recordID) *Link {
	l := t.at(ctx, id)
	if l == nil {
		return nil
	}
	for _, m := range l.Members {
		s := t.load(ctx, shardOf(m.key()))
		if have := s.by[m.key()]; s.err == nil && (have == nil || !have.sameMembers(*l)) {
			return nil
		}
	}
	return l
}

// everything is the links that all their members agree on (see agreed), by each of
// them. It reads shard by shard and keeps one copy of a link: there are as many as the
// fleet has hosts.
func (s *linkStore) everything(ctx context.Context) (map[recordID]*Link, []error) {
	claimed := map[recordID]*Link{}
	var errs []error
	var unread [linkShards]bool
	for n := range linkShards {
		raw, err := s.store.Get(ctx, shardKey(n))
		part := readShard(raw, err, n)
		if part.err != nil {
			unread[n] = true
			errs = append(errs, fmt.Errorf("edr: links in %q: %w", shardKey(n), part.err))
		}
		for id, l := range part.by {
			claimed[id] = l.oneOf(claimed)
		}
	}
	doubtful := map[*Link]bool{}
	for _, l := range claimed {
		for _, m := range l.Members {
			if claimed[m.key()] != l && !unread[shardOf(m.key())] {
				doubtful[l] = true
			}
		}
	}
	for id, l := range claimed {
		if doubtful[l] {
			delete(claimed, id)
		}
	}
	return claimed, errs
}

// oneOf returns the copy of a link that is there already, brought up to date, or one
// that does not keep the shard it was read from.
func (l *Link) oneOf(claimed map[recordID]*Link) *Link {
	for _, m := range l.Members {
		if known := claimed[m.key()]; known != nil && known.sameMembers(*l) {
			if l.Proven.After(known.Proven) {
				*known = *l
			}
			return known
		}
	}
	kept := *l
	return &kept
}

// mend files a link under those of its members that lack it, or takes it away if
// one of them has a better one. It reports whether the link is left.
func (t *table) mend(ctx context.Context, l *Link) bool {
	for _, m := range l.Members {
		have := t.at(ctx, m.key())
		if have == nil || have.sameMembers(*l) {
			continue
		}
		if have.Pinned != nil && l.Pinned == nil || (have.Pinned != nil) == (l.Pinned != nil) && have.Learned.After(l.Learned) {
			t.remove(ctx, l)
			return false
		}
	}
	for _, m := range l.Members {
		if have := t.at(ctx, m.key()); have == nil || !have.sameMembers(*l) {
			t.put(ctx, l)
			return true
		}
	}
	return true
}

// all are the links, each once, by whichever copy was proven last.
func (t *table) all() map[string]*Link {
	out := map[string]*Link{}
	for _, s := range t.shards {
		if s == nil {
			continue
		}
		for _, l := range s.by {
			k := l.key()
			if before := out[k]; before == nil || l.Proven.After(before.Proven) {
				out[k] = l
			}
		}
	}
	return out
}

func (l *Link) key() string {
	var b strings.Builder
	for _, m := range l.Members {
		b.WriteString(m.Provider + "\x00" + m.ID + "\x00")
	}
	return b.String()
}

// put files a link under all its members.
func (t *table) put(ctx context.Context, l *Link) {
	for _, m := range l.Members {
		s := t.load(ctx, shardOf(m.key()))
		s.by[m.key()], s.dirty = l, true
	}
}

// remove takes a link away from those of its members that still have it.
func (t *table) remove(ctx context.Context, l *Link) {
	for _, m := range l.Members {
		s := t.load(ctx, shardOf(m.key()))
		if have := s.by[m.key()]; have != nil && have.sameMembers(*l) {
			delete(s.by, m.key())
			s.dirty = true
		}
	}
}

// provenEvery is how old the proof of a link may be in the store. Newer ones are
// written only along with what changed: a pass that finds nothing new writes nothing.
const provenEvery = 24 * time.Hour

// prove notes that a link is still true.
func (t *table) prove(ctx context.Context, l *Link) {
	for _, m := range l.Members {
		s := t.load(ctx, shardOf(m.key()))
		have := s.by[m.key()]
		s.dirty = s.dirty || have == nil || !have.sameMembers(*l) || l.Proven.Sub(have.Proven) >= provenEvery
		s.by[m.key()] = l
	}
}

// commit writes what changed. After kv.ErrConflict begin anew with another table.
func (t *table) commit(ctx context.Context) error {
	for n, s := range t.shards {
		if s == nil || !s.dirty || s.err != nil {
			continue
		}
		out := shardJSON{V: linkVersion}
		links := map[string]*Link{}
		for _, l := range s.by {
			links[l.key()] = l
		}
		for _, key := range slices.Sorted(maps.Keys(links)) {
			out.Links = append(out.Links, *links[key])
		}
		value, err := json.Marshal(out)
		if err == nil {
			_, err = t.store.Put(ctx, shardKey(n), value, s.rev)
		}
		if err != nil {
			return fmt.Errorf("edr: links in %q: %w", shardKey(n), err)
		}
	}
	return errors.Join(t.errs...)
}

// change runs one pass over the links, and again if another writer came between.
func (s *linkStore) change(ctx context.Context, pass func(*table) error) error {
	var err error
	for range 8 {
		t := s.table()
		if err = pass(t); err != nil {
			return err
		}
		if err = t.commit(ctx); !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
	return err
}

type docksJSON struct {
	V     int      `json:"v"`
	Cards []string `json:"cards"`
}

// docks reads the network cards that several hosts have.
func (s *linkStore) docks(ctx context.Context) (map[string]bool, uint64, error) {
	raw, err := s.store.Get(ctx, docksKey)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, 0, nil
	}
	var in docksJSON
	if err == nil {
		err = json.Unmarshal(raw.Value, &in)
	}
	if err == nil && in.V != linkVersion {
		err = fmt.Errorf("its version is %d, and this program knows %d", in.V, linkVersion)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("edr: links in %q: %w", docksKey, err)
	}
	out := make(map[string]bool, len(in.Cards))
	for _, mac := range in.Cards {
		out[mac] = true
	}
	return out, raw.Rev, nil
}

// maxDocks bounds the record; a fleet with more of them loses only the evidence
// that the last ones are none.
const maxDocks = 50_000

func (s *linkStore) setDocks(ctx context.Context, docks map[string]bool, rev uint64) error {
	out := docksJSON{V: linkVersion}
	for mac := range docks {
		out.Cards = append(out.Cards, mac)
	}
	slices.Sort(out.Cards)
	out.Cards = out.Cards[:min(len(out.Cards), maxDocks)]
	value, err := json.Marshal(out)
	if err == nil {
		_, err = s.store.Put(ctx, docksKey, value, rev)
	}
	if err != nil {
		return fmt.Errorf("edr: links in %q: %w", docksKey, err)
	}
	return nil
}
