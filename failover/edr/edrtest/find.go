package edrtest

import (
	"slices"
	"strings"

	"github.com/jurymast/jurymast/failover/edr"
)

func providerIsStable(b *bench) {
	first, second := b.Driver.Provider, b.again().Driver.Provider
	if first == "" || first != second {
		b.Errorf("Provider is %q and then %q: it is the key of ledgers and links", first, second)
	}
}

func fleetTakesIt(b *bench) {
	if _, err := edr.New(edr.Config{Drivers: []edr.Driver{b.Driver}, Volatile: true}); err != nil {
		b.Error(err)
	}
	if b.Driver.SeenEvery < 0 {
		b.Errorf("SeenEvery is %v", b.Driver.SeenEvery)
	}
}

func foundByName(b *bench) {
	for _, h := range b.Hosts {
		for _, name := range []string{h.Hostname, strings.ToUpper(h.Hostname), strings.ToLower(h.Hostname)} {
			b.isOne(edr.Hostname(name), h)
		}
	}
}

func foundByFullName(b *bench) {
	b.needs("Hosts[0].FQDN", b.a().FQDN != "")
	for _, name := range []string{b.a().FQDN, strings.ToUpper(b.a().FQDN)} {
		b.isOne(edr.Hostname(name), b.a())
	}
}

func unknownName(b *bench) {
	for _, name := range []string{"edrtest-no-such-host", "edrtest-no-such-host.invalid", "edrtest'*\""} {
		if got := b.find(edr.Hostname(name)); len(got) != 0 {
			b.Errorf("%s found %s", name, ids(got))
		}
	}
}

func allHosts(b *bench) {
	found := ids(b.find(edr.Query{}))
	for _, h := range b.Hosts {
		if !slices.Contains(found, h.ID) {
			b.Errorf("%s is missing in %s", h.ID, found)
		}
	}
	slices.Sort(found)
	if len(slices.Compact(slices.Clone(found))) != len(found) {
		b.Errorf("found twice: %s", found)
	}
}

func foundByID(b *bench) {
	for _, h := range b.Hosts {
		b.isOne(edr.Native(b.Driver.Provider, h.ID), h)
	}
}

func unknownID(b *bench) {
	id := b.stranger() // fails if there is an error
	for r := range b.Driver.Find.Find(b.Context(), edr.Native(b.Driver.Provider, id)) {
		b.Errorf("%s found %+v", id, r)
	}
}

func brokenOff(b *bench) {
	for _, err := range b.Driver.Find.Find(b.Context(), edr.Query{}) {
		if err != nil {
			b.Error(err)
		}
		break // a list that goes on panics
	}
}

func listFails(b *bench) {
	b.needs("Down", b.Down != nil)
	b.breaks(b.Down, func() {
		b.oneError("all", b.Driver.Find.Find(b.Context(), edr.Query{}))
		b.oneError("by name", b.Driver.Find.Find(b.Context(), edr.Hostname(b.a().Hostname)))
		b.oneError("by id", b.Driver.Find.Find(b.Context(), edr.Native(b.Driver.Provider, b.a().ID)))
	})
}

func stateFails(b *bench) {
	b.needs("Down", b.Down != nil)
	b.breaks(b.Down, func() {
		if s, err := b.Driver.Isolate.State(b.Context(), b.a().ID); err == nil {
			b.Errorf("%s, without an error", s)
		}
	})
}

// A record may leave the state out, because it costs a call; what it says is so.
func stateOfRecords(b *bench) {
	b.does("isolate", b.isolate, b.a().ID)
	b.becomesHeld(b.a().ID)
	for _, h := range b.Hosts {
		for _, r := range b.find(edr.Native(b.Driver.Provider, h.ID)) {
			want, err := b.Driver.Isolate.State(b.Context(), r.ID)
			if err != nil || r.State != edr.StateUnknown && r.State != want {
				b.Errorf("the record of %s says %s, its state is %s, %v", r.ID, r.State, want, err)
			}
			if r.AsOf.IsZero() {
				b.Errorf("the record of %s does not say when it was read", r.ID)
			}
		}
	}
}
