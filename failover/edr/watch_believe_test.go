package edr_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// populate adds hosts at Falcon, so that there are 20.
func (w *world) populate() {
	for i := 3; i < 20; i++ {
		w.Falcon.AddHost(falcontest.Host{DeviceID: twin.FalconID(i), Hostname: twin.Hostname(i), MachineDomain: twin.Domain})
	}
}

// shrink leaves so many hosts at Falcon.
func (w *world) shrink(left int) {
	for i := left; i < 20; i++ {
		w.Falcon.RemoveHost(twin.FalconID(i))
	}
}

func (w *world) doubted(t *testing.T) *edr.ImplausibleError {
	t.Helper()
	res, err := w.fleet.Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range res.Gaps {
		if e, ok := errors.AsType[*edr.ImplausibleError](g.Err); ok {
			for _, h := range res.Value {
				if _, listed := h.Record(g.Provider); listed {
					t.Error("a list that cannot be true is used")
				}
			}
			return e
		}
		t.Error(g)
	}
	return nil
}

// The answer is a 200, and half the hosts are missing.
func TestAListThatLostItsHostsIsNotBelieved(t *testing.T) {
	store := kv.NewMemory()
	run(t, setup{fleet: func(c *edr.Config) { c.Store = store }}, func(t *testing.T, w *world) {
		w.populate()
		if e := w.doubted(t); e != nil {
			t.Fatal(e)
		}
		before := time.Now()
		time.Sleep(time.Minute)
		w.shrink(9)
		e := w.doubted(t)
		if e == nil || e.Provider != "falcon/us-1" || e.Before != 20 || e.Now != 9 || !e.Believed.Equal(before) || !e.Since.Equal(time.Now()) ||
			!errors.Is(e, edr.ErrImplausible) || !strings.Contains(e.Error(), "Fleet.Believe") {
			t.Fatalf("%+v", e)
		}
		// Automation stops, whichever vendor it is; what acts on one host by its name does not.
		for _, backup := range w.fleet.Providers() {
			res, err := w.fleet.Readiness(t.Context(), backup)
			if !errors.Is(err, edr.ErrImplausible) || res.Complete() || !res.Value.Incomplete {
				t.Errorf("readiness of %s: %+v, %v", backup, res.Value, err)
			}
		}
		if got, res := w.verdict(t, t.Context()); got != edr.SingleCovered || res.Complete() {
			t.Errorf("%v, %v", got, res.Gaps)
		}
		if res, err := w.fleet.Contain(t.Context(), host, intent); err != nil || res.By() != "falcon/us-1" {
			t.Errorf("%+v, %v", res, err)
		}
		// A restart remembers.
		restarted, err := edr.New(edr.Config{Drivers: w.drivers(), Store: store})
		if err != nil {
			t.Fatal(err)
		}
		w.fleet = restarted
		time.Sleep(9 * time.Minute)
		if again := w.doubted(t); again == nil || !again.Since.Equal(e.Since) || !again.Lift.Equal(e.Since.Add(10*time.Minute)) {
			t.Errorf("%+v", again)
		}
		time.Sleep(time.Minute)
		if e := w.doubted(t); e != nil {
			t.Errorf("it has stayed so for long enough: %v", e)
		}
	})
}

// An error is a gap and says nothing of the hosts.
func TestAnErrorIsNotRemembered(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.populate()
		w.doubted(t)
		heal := w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 404, Path: "/devices/combined"})
		for range 2 {
			if res, err := w.fleet.Hosts(t.Context()); err != nil || len(res.Gaps) != 1 || errors.Is(res.Gaps[0].Err, edr.ErrImplausible) {
				t.Errorf("%v, %v", res.Gaps, err)
			}
			time.Sleep(15 * time.Minute)
		}
		heal()
		w.Falcon.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: 200, Path: "/devices/combined", Body: `{"meta":{"pagination":{"total":0}},"resources":[],"errors":[]}`,
			Header: map[string][]string{"Content-Type": {"application/json"}},
		})
		if e := w.doubted(t); e == nil || e.Before != 20 || e.Now != 0 {
			t.Errorf("an empty list after that: %+v", e)
		}
	})
}

func TestEverybodysListIsImplausible(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.doubted(t)
		for i := range 3 {
			w.Falcon.RemoveHost(twin.FalconID(i))
			w.Azure.RemoveMachine(twin.DefenderID(i))
		}
		w.Azure.AddMachine(azuretest.Machine{ComputerDNSName: "another.example"})
		res, err := w.fleet.Hosts(t.Context())
		if !errors.Is(err, edr.ErrImplausible) || len(res.Gaps) != 2 || len(res.Value)+len(res.Served) != 0 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestAHumanLiftsADoubt(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.populate()
		misuse := func(provider, who, why string) {
			t.Helper()
			if err := w.fleet.Believe(t.Context(), provider, who, why); resilience.Of(err).Class != resilience.Misuse {
				t.Error(err)
			}
		}
		misuse("falcon/us-1", "soc", "nothing is in doubt, nor known")
		w.doubted(t)
		misuse("falcon/us-1", "soc", "nothing is in doubt")
		w.shrink(9)
		w.doubted(t)
		misuse("sentinelone", "soc", "no such vendor")
		misuse("falcon/us-1", "", "nobody")
		misuse("falcon/us-1", "soc", "")
		if err := w.fleet.Believe(t.Context(), "falcon/us-1", "soc", "the branch office was sold"); err != nil {
			t.Fatal(err)
		}
		w.shrink(0) // what was believed is what was seen, and no more
		if e := w.doubted(t); e == nil || e.Before != 9 {
			t.Errorf("%+v", e)
		}
		for i := range 9 {
			w.Falcon.AddHost(falcontest.Host{DeviceID: twin.FalconID(i), Hostname: twin.Hostname(i), MachineDomain: twin.Domain})
		}
		if e := w.doubted(t); e != nil {
			t.Error(e)
		}
	})
}

// damaged is a store whose memory of lists cannot be read until it is deleted.
type damaged struct {
	kv.Store
	healed bool
}

func (s *damaged) Get(ctx context.Context, key string) (kv.Entry, error) {
	if strings.HasPrefix(key, "edr/list/falcon") && !s.healed {
		return kv.Entry{}, &kv.CorruptError{Key: key, Err: errors.New("checksum")}
	}
	return s.Store.Get(ctx, key)
}

func (s *damaged) Delete(ctx context.Context, key string, rev uint64) error {
	if rev == 0 {
		s.healed = true
		return nil
	}
	return s.Store.Delete(ctx, key, rev)
}

// The hosts are shown, and nobody says that they are all.
func TestAMemoryThatCannotBeRead(t *testing.T) {
	run(t, setup{fleet: func(c *edr.Config) { c.Store = &damaged{Store: kv.NewMemory()} }}, func(t *testing.T, w *world) {
		res, err := w.fleet.Hosts(t.Context())
		if err != nil || len(res.Value) != 3 || len(res.Served) != 2 || len(res.Gaps) != 1 || errors.Is(res.Gaps[0].Err, edr.ErrImplausible) {
			t.Fatalf("%+v, %v", res, err)
		}
		if r, err := w.fleet.Readiness(t.Context(), "falcon/us-1"); err != nil || !r.Value.Incomplete || r.Value.Ready != 3 {
			t.Errorf("%+v, %v", r, err)
		}
		if err := w.fleet.Believe(t.Context(), "falcon/us-1", "soc", "a disk was replaced"); err != nil {
			t.Fatal(err)
		}
		if e := w.doubted(t); e != nil {
			t.Error(e)
		}
	})
}

// Two who poll at the same time remember one list.
func TestConcurrentPolls(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.populate()
		w.doubted(t)
		w.shrink(5)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if e := w.doubted(t); e == nil || e.Before != 20 {
					t.Errorf("%+v", e)
				}
			})
		}
		wg.Wait()
	})
}
