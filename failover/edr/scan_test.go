package edr_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/edr/edrtest"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// fakes are two vendors in memory that know one host, and a fleet over both.
type fakes struct {
	a, b   *edrtest.Fake
	da, db edr.Driver
	log    []edr.AuditRecord
}

func newFakes() *fakes {
	w := &fakes{
		a: edrtest.NewFake("a", edr.Record{ID: "a-1", Hostname: "ws-1", Serial: "s1"}),
		b: edrtest.NewFake("b", edr.Record{ID: "b-1", Hostname: "ws-1", Serial: "s1"}, edr.Record{ID: "b-2", Hostname: "ws-2", Serial: "s2"}),
	}
	w.da, w.db = w.a.Driver(), w.b.Driver()
	return w
}

func (w *fakes) fleet(t *testing.T, cfg edr.Config) *edr.Fleet {
	t.Helper()
	var mu sync.Mutex
	cfg.Drivers, cfg.Volatile = []edr.Driver{w.da, w.db}, true
	cfg.Audit = func(_ context.Context, r edr.AuditRecord) {
		mu.Lock()
		defer mu.Unlock()
		w.log = append(w.log, r)
	}
	f, err := edr.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (w *fakes) scanned() [2]int {
	return [2]int{w.a.Effects("a-1").Scanned, w.b.Effects("b-1").Scanned}
}

// One vendor scans; which, and what comes of it, in every kind of trouble.
func TestScanIsOneVendors(t *testing.T) {
	for name, c := range map[string]struct {
		trouble func(*fakes)
		query   edr.Query
		outcome failover.Outcome
		by      string
		scanned [2]int
		is      []error
		gaps    []string
	}{
		"all is well":                   {outcome: failover.Accepted, by: "a", scanned: [2]int{1, 0}},
		"named at the second":           {query: edr.Native("b", "b-1"), outcome: failover.Accepted, by: "b", scanned: [2]int{0, 1}},
		"the first is down":             {trouble: func(w *fakes) { w.a.Down() }, outcome: failover.Accepted, by: "b", scanned: [2]int{0, 1}, gaps: []string{"a"}},
		"the first cannot scan":         {trouble: func(w *fakes) { w.da.Scan = nil }, outcome: failover.Accepted, by: "b", scanned: [2]int{0, 1}, gaps: []string{"a"}},
		"the first lost the answer":     {trouble: func(w *fakes) { w.a.LoseAnswers() }, outcome: failover.Unknown, scanned: [2]int{1, 0}, is: []error{edr.ErrUnknownOutcome}, gaps: []string{"a"}},
		"nobody can scan":               {trouble: func(w *fakes) { w.da.Scan, w.db.Scan = nil, nil; w.a.Down(); w.b.Down() }, outcome: failover.Unsupported, is: []error{edr.ErrUnsupported}, gaps: []string{"a", "b"}},
		"only who cannot scan knows it": {trouble: func(w *fakes) { w.db.Scan = nil }, query: edr.Hostname("ws-2"), outcome: failover.Unsupported, is: []error{edr.ErrUnsupported}, gaps: []string{"a", "b"}},
		"who can scan is down":          {trouble: func(w *fakes) { w.da.Scan = nil; w.b.Down() }, outcome: failover.Unset, gaps: []string{"b", "a"}},
		"nobody knows it":               {query: edr.Hostname("ws-3"), is: []error{edr.ErrHostNotFound}},
		"the first does not know it":    {query: edr.Hostname("ws-2"), outcome: failover.Accepted, by: "b", gaps: []string{"a"}},
		"the second is another machine's": {trouble: func(w *fakes) {
			w.b = edrtest.NewFake("b", edr.Record{ID: "b-1", Hostname: "ws-1"})
			w.db = w.b.Driver()
		}, is: []error{edr.ErrWeakIdentity}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFakes()
			if c.trouble != nil {
				c.trouble(w)
			}
			if c.query == (edr.Query{}) {
				c.query = edr.Hostname("ws-1")
			}
			f := w.fleet(t, edr.Config{})
			res, err := f.Scan(t.Context(), c.query, edr.QuickScan, intent)
			if res.Value.Outcome != c.outcome || res.By() != c.by || w.scanned() != c.scanned || (err == nil) != c.outcome.OK() {
				t.Errorf("%v by %q, %v scans: %v", res.Value.Outcome, res.By(), w.scanned(), err)
			}
			for _, want := range c.is {
				if !errors.Is(err, want) {
					t.Errorf("%v does not match %v", err, want)
				}
			}
			if len(c.is) == 0 && errors.Is(err, edr.ErrUnsupported) {
				t.Errorf("unsupported: %v", err)
			}
			var gaps []string
			for _, g := range res.Gaps {
				gaps = append(gaps, g.Provider)
				if cannot := g.Provider == "a" && w.da.Scan == nil || g.Provider == "b" && w.db.Scan == nil; cannot != errors.Is(g.Err, edr.ErrUnsupported) {
					t.Errorf("gap %v", g)
				}
			}
			if !reflect.DeepEqual(gaps, c.gaps) {
				t.Errorf("gaps %v, want %v", gaps, c.gaps)
			}
			if len(res.Served) > 0 && res.Served[0].FellOver != (name == "the first is down") {
				t.Errorf("fell over: %v", res.Served[0].FellOver)
			}
			for range f.Ledger(t.Context()) {
				t.Error("a scan is in the ledger")
			}
		})
	}
}

// A vendor that cannot be reached for anything but the host is no lost answer.
func TestScanThatWasNotSentGoesElsewhere(t *testing.T) {
	w := newFakes()
	good := w.da.Scan
	w.da.Scan = scanner(func(ctx context.Context, id string, kind edr.ScanKind) (failover.Outcome, error) {
		defer w.a.Down()() // since the host was read
		return good.Scan(ctx, id, kind, intent)
	})
	res, err := w.fleet(t, edr.Config{}).Scan(t.Context(), edr.Hostname("ws-1"), edr.FullScan, intent)
	if err != nil || res.By() != "b" || !res.Served[0].FellOver || w.scanned() != [2]int{0, 1} || len(res.Value.Actions) != 2 {
		t.Errorf("%+v, %v", res, err)
	}
	want := []edr.AuditRecord{
		{Verb: edr.VerbScan, Intent: intent, Host: "ws-1", Provider: "a", HostID: "a-1", Outcome: failover.NotSent},
		{Verb: edr.VerbScan, Intent: intent, Host: "ws-1", Provider: "b", HostID: "b-1", Outcome: failover.Accepted},
	}
	for i := range w.log {
		if (w.log[i].Error == "") != want[i].Outcome.OK() {
			t.Errorf("%+v", w.log[i])
		}
		w.log[i].Time, w.log[i].Error = time.Time{}, ""
	}
	if !reflect.DeepEqual(w.log, want) {
		t.Errorf("audit: %+v", w.log)
	}
}

// Who could scan and is kept away from is no vendor that cannot.
func TestScanOfACordonedVendorIsNotUnsupported(t *testing.T) {
	w := newFakes()
	w.da.Scan = nil
	f := w.fleet(t, edr.Config{})
	if err := f.Cordon("b", "an exercise", "me"); err != nil {
		t.Fatal(err)
	}
	res, err := f.Scan(t.Context(), edr.Hostname("ws-1"), edr.QuickScan, intent)
	if !errors.Is(err, failover.ErrCordoned) || errors.Is(err, edr.ErrUnsupported) || res.Value.Outcome != failover.Unset || w.scanned() != [2]int{} {
		t.Errorf("%v, %v", res.Value.Outcome, err)
	}
}

// The vendor that the caller names is asked first, though it is not preferred.
func TestScanBeginsAtTheVendorThatIsNamed(t *testing.T) {
	w := newFakes()
	f := w.fleet(t, edr.Config{})
	pin := edr.Link{
		Members: []edr.Linked{{Provider: "a", ID: "a-1", Name: "ws-1"}, {Provider: "b", ID: "b-1", Name: "ws-1"}},
		Pinned:  &edr.Pin{By: "cmdb", Why: "inventory"},
	}
	if err := f.Pin(t.Context(), pin); err != nil {
		t.Fatal(err)
	}
	res, err := f.Scan(t.Context(), edr.Native("b", "b-1"), edr.QuickScan, intent)
	if err != nil || len(res.Value.Host.Records) != 2 || w.scanned() != [2]int{0, 1} {
		t.Errorf("%+v, %v", res, err)
	}
}

type scanner func(ctx context.Context, id string, kind edr.ScanKind) (failover.Outcome, error)

func (s scanner) Scan(ctx context.Context, id string, kind edr.ScanKind, _ edr.Intent) (failover.Outcome, error) {
	return s(ctx, id, kind)
}

// The second scan of a host waits for the first, that of another host does not, and a
// containment waits for neither.
func TestOneScanOfAHostAtATimeAndNoContainmentWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakes()
		var now, most int
		var mu sync.Mutex
		w.da.Scan = nil
		w.db.Scan = scanner(func(_ context.Context, id string, _ edr.ScanKind) (failover.Outcome, error) {
			mu.Lock()
			if id == "b-1" {
				now++
				most = max(most, now)
			}
			mu.Unlock()
			time.Sleep(10 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			if id == "b-1" {
				now--
			}
			return failover.Accepted, nil
		})
		f := w.fleet(t, edr.Config{})
		begin := time.Now()
		var wg sync.WaitGroup
		for _, host := range []string{"ws-1", "WS-1", "ws-2"} {
			wg.Go(func() {
				if _, err := f.Scan(t.Context(), edr.Hostname(host), edr.QuickScan, intent); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		if _, err := f.Contain(t.Context(), edr.Hostname("ws-1"), intent); err != nil || time.Since(begin) != time.Second {
			t.Errorf("contained after %v: %v", time.Since(begin), err)
		}
		wg.Wait()
		if most != 1 || time.Since(begin) != 20*time.Second {
			t.Errorf("%d scans at a time, all in %v", most, time.Since(begin))
		}
	})
}

// Guards are for containments; what is wrong with the call is said before anything is
// asked.
func TestScanChecksItsArgumentsAndNoGuard(t *testing.T) {
	w := newFakes()
	w.a.Down() // whoever asks sees a gap
	w.b.Down()
	f := w.fleet(t, edr.Config{Guards: edr.Guards{Protected: func(edr.Host) string { return "domain controller" }}})
	for field, scan := range map[string]func() (failover.Result[edr.Effect], error){
		"Query.Provider": func() (failover.Result[edr.Effect], error) {
			return f.Scan(t.Context(), edr.Query{ID: "x"}, edr.QuickScan, intent)
		},
		"Intent.Reason": func() (failover.Result[edr.Effect], error) {
			return f.Scan(t.Context(), host, edr.QuickScan, edr.Intent{ID: "1", Actor: "a"})
		},
		"kind 7": func() (failover.Result[edr.Effect], error) {
			return f.Scan(t.Context(), host, 7, intent)
		},
	} {
		res, err := scan()
		if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), field) || len(res.Gaps) > 0 {
			t.Errorf("%s: %v, %v", field, err, res.Gaps)
		}
	}
	w = newFakes()
	f = w.fleet(t, edr.Config{Guards: edr.Guards{Protected: func(edr.Host) string { return "domain controller" }}})
	if _, err := f.Scan(t.Context(), edr.Hostname("ws-1"), edr.QuickScan, intent); err != nil {
		t.Error(err)
	}
	if edr.FullScan.String() != "full" || edr.ScanKind(7).String() != "edr.ScanKind(7)" {
		t.Errorf("%v %v", edr.FullScan, edr.ScanKind(7))
	}
}

// Falcon's driver has no scan; Defender is told the kind and the intent, and its answer
// is lost once.
func TestScanAtTheClouds(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		res, err := w.fleet.Scan(t.Context(), host, edr.FullScan, intent)
		if err != nil || res.By() != "defender" || res.Served[0].FellOver || len(res.Gaps) != 1 || !errors.Is(res.Gaps[0].Err, edr.ErrUnsupported) {
			t.Errorf("%+v, %v", res, err)
		}
		if a := w.Azure.Actions()[0]; a.Type != "RunAntiVirusScan" || a.Scope != "Full" || a.RequestorComment != intent.Comment() || a.MachineID != twin.DefenderID(1) {
			t.Errorf("%+v", a)
		}
		res, err = w.fleet.Scan(t.Context(), host, edr.QuickScan, intent)
		if err != nil || res.Value.Outcome != failover.Already {
			t.Errorf("while it is scanned: %v, %v", res.Value.Outcome, err)
		}
		time.Sleep(2 * time.Second)
		w.Azure.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPost, Path: "/api/machines"})
		res, err = w.fleet.Scan(t.Context(), host, edr.QuickScan, intent)
		if !errors.Is(err, edr.ErrUnknownOutcome) || res.Value.Outcome != failover.Unknown || len(w.Azure.Actions()) != 2 || w.Azure.Actions()[1].Scope != "Quick" {
			t.Errorf("%v, %v, %+v", res.Value.Outcome, err, w.Azure.Actions())
		}
		if strings.Contains(err.Error(), "hold") {
			t.Errorf("a scan holds nothing: %v", err)
		}
	})
}

func TestRequiredAbilities(t *testing.T) {
	full := edrtest.NewFake("a").Driver()
	for _, c := range []struct {
		lacks   string
		without func(*edr.Driver)
		require edr.Ability
	}{
		{`(b) lacks the ability "scan"`, func(d *edr.Driver) { d.Scan = nil }, edr.AbilityScan},
		{`(b) lacks the ability "held"`, func(d *edr.Driver) { d.Held = nil }, edr.AbilityHeld},
		{`(b) lacks the ability "probe"`, func(d *edr.Driver) { d.Probe = nil }, edr.AbilityProbe},
		{`Config.Require[0] is "fly"`, func(*edr.Driver) {}, "fly"},
	} {
		d := edrtest.NewFake("b").Driver()
		c.without(&d)
		cfg := edr.Config{Drivers: []edr.Driver{full, d}, Volatile: true, Require: []edr.Ability{c.require}}
		if _, err := edr.New(cfg); err == nil || !strings.Contains(err.Error(), c.lacks) {
			t.Errorf("%v", err)
		}
		cfg.Require = nil
		if _, err := edr.New(cfg); err != nil {
			t.Error(err)
		}
		cfg = edr.Config{Drivers: []edr.Driver{full}, Volatile: true, Require: []edr.Ability{edr.AbilityHeld, edr.AbilityProbe, edr.AbilityScan}}
		if _, err := edr.New(cfg); err != nil {
			t.Error(err)
		}
	}
}
