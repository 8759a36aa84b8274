package edr_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// store counts what is written, and fails as told.
type store struct {
	kv.Store
	puts   atomic.Int64
	before func(key string) // a Put of links
	get    func(key string) error
}

func (s *store) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if !strings.HasPrefix(key, "edr/list/") { // what was believed of a list
		s.puts.Add(1)
	}
	if s.before != nil && strings.HasPrefix(key, "edr/links/") {
		s.before(key)
	}
	return s.Store.Put(ctx, key, value, rev)
}

func (s *store) Get(ctx context.Context, key string) (kv.Entry, error) {
	if s.get != nil {
		if err := s.get(key); err != nil {
			return kv.Entry{}, err
		}
	}
	return s.Store.Get(ctx, key)
}

func withStore(s *store) setup {
	s.Store = kv.NewMemory()
	return setup{fleet: func(c *edr.Config) { c.Store = s }}
}

func (w *world) links(t *testing.T) (out []edr.Link) {
	t.Helper()
	for l, err := range w.fleet.Links(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// linkOf is the stored link of a Falcon id.
func (w *world) linkOf(t *testing.T, falconID string) edr.Link {
	t.Helper()
	for _, l := range w.links(t) {
		if m, ok := l.Member("falcon/us-1"); ok && m.ID == falconID {
			return l
		}
	}
	return edr.Link{}
}

// believe lifts the doubt of a list.
func (w *world) believe(t *testing.T, provider string) {
	t.Helper()
	if err := w.fleet.Believe(t.Context(), provider, "soc", "they were retired"); err != nil {
		t.Error(err)
	}
}

const day = 24 * time.Hour

func TestLearnWritesOnceADay(t *testing.T) {
	s := &store{}
	run(t, withStore(s), func(t *testing.T, w *world) {
		got := w.learn(t)
		if got.Hosts != 3 || got.Links != 3 || got.Added != 3 || got.Proven != 0 || len(got.Gaps)+len(got.Contradictions) != 0 {
			t.Errorf("%+v", got)
		}
		l := w.linkOf(t, twin.FalconID(1))
		first := time.Now()
		if l.Grade != edr.Strong || len(l.Members) != 2 || l.Members[1].Name != "ws-001" || !l.Learned.Equal(first) || len(l.Evidence) != 2 {
			t.Errorf("%+v", l)
		}
		for _, tc := range []struct {
			after time.Duration
			write bool
		}{{time.Hour, false}, {22 * time.Hour, false}, {2 * time.Hour, true}, {time.Hour, false}} {
			time.Sleep(tc.after)
			before := s.puts.Load()
			got := w.learn(t)
			if wrote := s.puts.Load() != before; wrote != tc.write || got.Added != 0 || got.Proven != 3 {
				t.Errorf("%v later: wrote %v, %+v", tc.after, wrote, got)
			}
		}
		if l := w.linkOf(t, twin.FalconID(1)); !l.Learned.Equal(first) || !l.Proven.Equal(first.Add(25*time.Hour)) {
			t.Errorf("learned %v, proven %v", l.Learned, l.Proven)
		}
	})
}

// Weak and Probable hosts are not linked, and links do not prove themselves.
func TestOnlyStrongHostsAreLearned(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.weaken()
		if got := w.learn(t); got.Links != 2 || w.linkOf(t, twin.FalconID(1)).Members != nil {
			t.Errorf("%+v", got)
		}
	})
	run(t, setup{}, func(t *testing.T, w *world) {
		w.learn(t)
		w.weaken()
		for range 3 {
			time.Sleep(31 * day)
			w.learn(t)
		}
		if l := w.linkOf(t, twin.FalconID(1)); l.Members != nil {
			t.Errorf("not proven for 93 days: %+v", l)
		}
		if n := len(w.links(t)); n != 2 {
			t.Errorf("%d links", n)
		}
	})
}

func TestAMissingVendorDropsNothing(t *testing.T) {
	run(t, setup{fleet: func(c *edr.Config) { c.LinkTTL = 10 * day }}, func(t *testing.T, w *world) {
		w.learn(t)
		w.pin(t, "pinned", "too")
		heal := w.falconDown()
		time.Sleep(11 * day)
		got := w.learn(t)
		if got.Links != 4 || got.Dropped != 0 || len(got.Gaps) != 1 || got.Gaps[0].Provider != "falcon/us-1" || got.Hosts != 3 {
			t.Errorf("%+v", got)
		}
		heal()
		w.Azure.RemoveMachine(twin.DefenderID(2))
		time.Sleep(time.Hour)
		if got = w.learn(t); got.Links != 3 || got.Dropped != 1 || got.Proven != 2 {
			t.Errorf("Falcon is back, one machine is gone: %+v", got)
		}
		w.falconDown()
		w.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if got, err := w.fleet.Learn(t.Context()); err == nil || len(got.Gaps) != 2 || len(w.links(t)) != 3 {
			t.Errorf("both down: %+v, %v", got, err)
		}
		// The two that are learned end; the pin does not.
		w.Falcon.Faults().Heal()
		w.Azure.Faults().Heal()
		for i := range 2 {
			w.Azure.RemoveMachine(twin.DefenderID(i))
		}
		time.Sleep(11 * day)
		// A vendor that lost most of its hosts is not believed, until somebody does.
		if got := w.learn(t); got.Links != 3 || len(got.Gaps) != 1 || !errors.Is(got.Gaps[0].Err, edr.ErrImplausible) {
			t.Errorf("%+v", got)
		}
		w.believe(t, "defender")
		if got := w.learn(t); got.Links != 1 || w.links(t)[0].Pinned == nil {
			t.Errorf("%+v", got)
		}
	})
}

func TestContradictionsAreReported(t *testing.T) {
	// Defender's record is another one, proven Strong: it replaces the link.
	run(t, setup{}, func(t *testing.T, w *world) {
		w.learn(t)
		m, _ := w.Azure.Machine(twin.DefenderID(1))
		w.Azure.RemoveMachine(m.ID)
		m.ID = "new"
		w.Azure.AddMachine(m)
		got := w.learn(t)
		if len(got.Contradictions) != 1 {
			t.Fatalf("%+v", got)
		}
		c := got.Contradictions[0]
		if now, _ := w.linkOf(t, twin.FalconID(1)).Member("defender"); c.Replaced == nil || now.ID != "new" || !strings.Contains(c.Why, "was linked") {
			t.Errorf("%+v; linked is %s", c, now)
		}
		if len(w.links(t)) != 3 || got.Links != 3 {
			t.Errorf("%+v: %v", got, w.links(t))
		}
		if got := w.learn(t); len(got.Contradictions) != 0 {
			t.Errorf("again: %+v", got)
		}
	})
	// A pin stays.
	run(t, setup{}, func(t *testing.T, w *world) {
		w.pin(t, twin.FalconID(1), twin.DefenderID(2))
		for range 2 {
			got := w.learn(t)
			l := w.linkOf(t, twin.FalconID(1))
			if len(got.Contradictions) != 2 || got.Contradictions[0].Replaced != nil || l.Pinned == nil || got.Links != 2 {
				t.Errorf("%+v, %+v", got, l)
			}
			for _, c := range got.Contradictions {
				if c.Link.Pinned == nil || !strings.Contains(c.Why, "is pinned") {
					t.Errorf("%+v", c)
				}
			}
		}
	})
	// Nothing better is known: the link stays, and is not proven.
	for why, change := range map[string]func(*world){
		"no network address in common": func(w *world) {
			w.changeDefender(1, func(m *azuretest.Machine) {
				m.ComputerDNSName, m.IPAddresses = "ws-001", []azuretest.IPAddress{{IPAddress: "10.0.0.9", MACAddress: "00155D990099"}}
			})
		},
		"is called kiosk-9 now": func(w *world) {
			w.changeFalcon(1, func(h *falcontest.Host) { h.Hostname = "kiosk-9" })
		},
		"was re-imaged": func(w *world) {
			w.changeFalcon(1, func(h *falcontest.Host) { h.LastSeen = time.Now().Add(-time.Hour) })
			h, _ := w.Falcon.Host(twin.FalconID(1))
			h.DeviceID, h.FirstSeen, h.LastSeen = "aaaa", time.Now(), time.Time{}
			w.Falcon.AddHost(h)
			w.weaken()
		},
	} {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.learn(t)
			before := w.linkOf(t, twin.FalconID(1))
			time.Sleep(2 * day)
			change(w)
			got := w.learn(t)
			if len(got.Contradictions) != 1 || got.Contradictions[0].Replaced != nil || !strings.Contains(got.Contradictions[0].Why, why) {
				t.Errorf("%s: %+v", why, got.Contradictions)
			}
			if l := w.linkOf(t, twin.FalconID(1)); !l.Proven.Equal(before.Proven) || got.Links != 3 {
				t.Errorf("%s: %+v", why, l)
			}
		})
	}
}

// A third vendor that is missing takes nothing from a link of three.
func TestALinkOfThreeSurvivesTheThird(t *testing.T) {
	s1 := &toy{records: []edr.Record{{ID: "s1", Hostname: "WS-001", FQDN: "ws-001.corp.example", MACs: []string{"00-15-5d-10-00-01"}}}}
	run(t, setup{fleet: func(c *edr.Config) {
		c.Drivers = append(c.Drivers, edr.Driver{Provider: "s1", Find: s1, Isolate: s1})
	}}, func(t *testing.T, w *world) {
		s1.err = errors.New("down")
		w.learn(t)
		s1.err = nil
		got := w.learn(t)
		if l := w.linkOf(t, twin.FalconID(1)); len(l.Members) != 3 || got.Links != 3 || len(got.Contradictions) != 0 {
			t.Fatalf("%+v, %+v", l, got)
		}
		s1.err = errors.New("down")
		got = w.learn(t)
		if l := w.linkOf(t, twin.FalconID(1)); len(l.Members) != 3 || got.Links != 3 {
			t.Errorf("missing: %+v", l)
		}
		s1.err, s1.records = nil, nil
		w.learn(t)
		w.believe(t, "s1")
		got = w.learn(t)
		if l := w.linkOf(t, twin.FalconID(1)); len(l.Members) != 2 || got.Links != 3 {
			t.Errorf("gone: %+v", l)
		}
	})
}

// toy is a vendor in memory.
type toy struct {
	edr.Isolator
	records []edr.Record
	err     error
}

func (v *toy) Find(context.Context, edr.Query) iter.Seq2[edr.Record, error] {
	return func(yield func(edr.Record, error) bool) {
		for _, r := range v.records {
			if !yield(r, nil) {
				return
			}
		}
		if v.err != nil {
			yield(edr.Record{}, v.err)
		}
	}
}

func TestADocksCardIsNoEvidence(t *testing.T) {
	dock := azuretest.IPAddress{IPAddress: "10.0.0.77", MACAddress: "D481D700000D", Type: "Ethernet", OperationalStatus: "Up"}
	run(t, setup{}, func(t *testing.T, w *world) {
		for i := 1; i <= 2; i++ {
			w.changeFalcon(i, func(h *falcontest.Host) { h.MACAddress = "d4-81-d7-00-00-0d" })
			w.changeDefender(i, func(m *azuretest.Machine) { m.IPAddresses = []azuretest.IPAddress{dock} })
		}
		got := w.learn(t)
		if got.SharedCards != 1 || got.Links != 1 {
			t.Fatalf("%+v", got)
		}
		// Who looks at one host only knows of the dock from what was learned.
		if found, err := w.fleet.Find(t.Context(), host); err != nil || found.Value.Grade != edr.Probable {
			t.Errorf("%+v, %v", found.Value, err)
		}
		heal := w.falconDown()
		w.Azure.RemoveMachine(twin.DefenderID(2))
		if got := w.learn(t); got.SharedCards != 1 {
			t.Errorf("with a vendor missing: %+v", got)
		}
		heal()
		w.Falcon.RemoveHost(twin.FalconID(2))
		time.Sleep(2 * time.Minute)
		if got := w.learn(t); got.SharedCards != 0 || got.Links != 2 {
			t.Errorf("it is one host's now: %+v", got)
		}
	})
}
