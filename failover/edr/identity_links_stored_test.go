package edr_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
)

// Another process learns or pins at the same time: nothing is lost.
func TestConcurrentWritersOfLinks(t *testing.T) {
	s := &store{}
	run(t, withStore(s), func(t *testing.T, w *world) {
		other, err := edr.New(edr.Config{Drivers: []edr.Driver{{Provider: "falcon/us-1", Find: &toy{}, Isolate: &toy{}}, {Provider: "defender", Find: &toy{}, Isolate: &toy{}}}, Store: s.Store})
		if err != nil {
			t.Fatal(err)
		}
		once := false
		s.before = func(string) {
			if once {
				return
			}
			once = true
			err := other.Pin(t.Context(), edr.Link{
				Members: []edr.Linked{{Provider: "falcon/us-1", ID: twin.FalconID(1)}, {Provider: "defender", ID: twin.DefenderID(2)}},
				Pinned:  &edr.Pin{By: "cmdb", Why: "asset"},
			})
			if err != nil {
				t.Error(err)
			}
		}
		got := w.learn(t)
		if l := w.linkOf(t, twin.FalconID(1)); l.Pinned == nil || got.Links != 2 {
			t.Errorf("%+v, %+v", l, got)
		}
	})
}

// What cannot be read is left alone, and said; hosts are found and contained without.
func TestLinksThatCannotBeRead(t *testing.T) {
	s := &store{}
	run(t, withStore(s), func(t *testing.T, w *world) {
		w.learn(t)
		s.get = func(key string) error {
			if strings.HasPrefix(key, "edr/links") {
				return &kv.CorruptError{Path: "state.db", Key: key, Err: errors.New("crc")}
			}
			return nil
		}
		res, err := w.fleet.Contain(t.Context(), atFalcon, intent)
		if err != nil || res.By() != "falcon/us-1" {
			t.Errorf("%+v, %v", res, err)
		}
		found, err := w.fleet.Find(t.Context(), host)
		if err != nil || found.Complete() || found.Gaps[0].Provider != "links" {
			t.Errorf("%v, %v", found.Gaps, err)
		}
		if all, err := w.fleet.Hosts(t.Context()); err != nil || all.Complete() || len(all.Value) != 3 {
			t.Errorf("%v, %v", all.Gaps, err)
		}
		before := s.puts.Load()
		if _, err := w.fleet.Learn(t.Context()); err == nil {
			t.Error("learned, and stored nothing")
		}
		if s.puts.Load() != before {
			t.Error("wrote over what could not be read")
		}
		n := 0
		for _, err := range w.fleet.Links(t.Context()) {
			if err != nil {
				n++
			}
		}
		if n == 0 {
			t.Error("Links says nothing of it")
		}
		s.get = nil
		if n := len(w.links(t)); n != 3 {
			t.Errorf("%d links are left", n)
		}
	})
	// A newer program wrote them.
	run(t, withStore(s), func(t *testing.T, w *world) {
		w.learn(t)
		var keys []string
		for e, err := range s.Scan(t.Context(), "edr/links/") {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, e.Key)
			if _, err := s.Store.Put(t.Context(), e.Key, []byte(`{"v":2,"links":{}}`), e.Rev); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.fleet.Learn(t.Context()); err == nil || !strings.Contains(err.Error(), "version") && !strings.Contains(err.Error(), "unmarshal") {
			t.Errorf("got %v", err)
		}
		for _, k := range keys {
			if e, err := s.Store.Get(t.Context(), k); err != nil || !strings.Contains(string(e.Value), `"v":2`) {
				t.Errorf("%s: %s, %v", k, e.Value, err)
			}
		}
	})
}

// Links outlive the process, each under all its members.
func TestLinksOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	run(t, setup{}, func(t *testing.T, w *world) {
		bolt := func() *kv.Bolt {
			s, err := kv.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := bolt()
		var err error
		if w.fleet, err = w.another(s); err != nil {
			t.Fatal(err)
		}
		w.learn(t)
		w.pin(t, "a", "b")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = bolt()
		defer func() { _ = s.Close() }()
		if w.fleet, err = w.another(s); err != nil {
			t.Fatal(err)
		}
		if n := len(w.links(t)); n != 4 {
			t.Errorf("%d links", n)
		}
		w.falconDown()
		if res, err := w.fleet.Contain(t.Context(), atFalcon, intent); err != nil || res.By() != "defender" {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// A pass that was cut off between two members is made good by the next.
func TestHalfALinkIsMadeGood(t *testing.T) {
	s := &store{}
	run(t, withStore(s), func(t *testing.T, w *world) {
		w.learn(t)
		var whole []string
		for e := range s.Scan(t.Context(), "edr/links/") {
			whole = append(whole, e.Key)
		}
		e, err := s.Store.Get(t.Context(), whole[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Store.Delete(t.Context(), e.Key, e.Rev); err != nil {
			t.Fatal(err)
		}
		w.falconDown()
		for i := range 3 { // whichever it was, half of it is not acted on, from either side
			for _, q := range []edr.Query{edr.Native("falcon/us-1", twin.FalconID(i)), edr.Native("defender", twin.DefenderID(i))} {
				found, err := w.fleet.Find(t.Context(), q)
				if half := len(w.whole(t, s, i)) < 2; half && err == nil && q.Provider == "falcon/us-1" || half && len(found.Value.Records) > 1 {
					t.Errorf("%s: %+v, %v", q, found.Value, err)
				}
			}
		}
		w.Falcon.Faults().Heal()
		time.Sleep(2 * time.Minute)
		if got := w.learn(t); got.Links != 3 || got.Proven+got.Added != 3 {
			t.Errorf("%+v", got)
		}
		var again []string
		for e := range s.Scan(t.Context(), "edr/links/") {
			again = append(again, e.Key)
		}
		if !slices.Equal(again, whole) {
			t.Errorf("shards %v, were %v", again, whole)
		}
	})
}

// whole are the copies of the link of host i: two, unless both are in one shard.
func (w *world) whole(t *testing.T, s *store, i int) (copies []string) {
	t.Helper()
	for e, err := range s.Scan(t.Context(), "edr/links/") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(e.Value), twin.FalconID(i)) {
			copies = append(copies, e.Key)
		}
	}
	return copies
}

func (w *world) another(s kv.Store) (*edr.Fleet, error) {
	return edr.New(edr.Config{Drivers: []edr.Driver{crowdstrike.EDR(w.falcon), microsoft.EDR(w.azure)}, Store: s})
}
