package edr_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestReleaseDebtIsKeptAndPaid(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		res, err := w.fleet.Release(t.Context(), host, intent)
		debt, ok := errors.AsType[*edr.DebtError](err)
		if !ok || !errors.Is(err, edr.ErrReleaseDebt) || len(debt.Debts) != 1 || debt.Debts[0].Provider != "falcon/us-1" {
			t.Fatalf("got %v, %+v", err, res.Value)
		}
		owed := 0
		for e, err := range w.fleet.Ledger(t.Context()) {
			if err != nil || !e.Owed() {
				t.Errorf("%+v, %v", e, err)
			}
			owed++
		}
		if owed != 1 {
			t.Errorf("%d debts in the ledger", owed)
		}
		w.Falcon.Faults().Heal()
		time.Sleep(2 * time.Minute)
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f)+len(d) > 0 {
			t.Errorf("still held: %v %v", f, d)
		}
	})
}

// A containment made in a vendor's console is released too: the vendor says so.
func TestReleaseOfForeignContainments(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Falcon.SetStatus(twin.FalconID(1), "contained")
		w.Azure.Isolate(twin.DefenderID(1))
		found, err := w.fleet.Find(t.Context(), host)
		if err != nil || found.Value.State() != edr.Contained || found.Value.Records[1].State != edr.Contained {
			t.Errorf("%v, %v", found.Value, err)
		}
		if s, err := w.fleet.State(t.Context(), host); err != nil || s.Value.State != edr.Contained {
			t.Errorf("%v, %v", s.Value.State, err)
		}
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f)+len(d) > 0 {
			t.Errorf("still held: %v %v", f, d)
		}
	})
}

// Falcon answers 409 and Defender refuses while a containment is under way.
func TestReleaseWaitsForAContainmentUnderWay(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse, For: time.Second})
		if res, err := w.fleet.Contain(t.Context(), host, intent); err != nil || res.By() != "defender" {
			t.Fatalf("%v, %v", res.By(), err)
		}
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if f, d := w.Contained(); len(f)+len(d) > 0 {
			t.Errorf("still held: %v %v", f, d)
		}
	})
}

// The ledger survives the process: a later one knows what to release.
func TestLedgerOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	open := func(t *testing.T) *kv.Bolt {
		s, err := kv.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	run(t, setup{}, func(t *testing.T, w *world) {
		drivers := []edr.Driver{crowdstrike.EDR(w.falcon), microsoft.EDR(w.azure)}
		store := open(t)
		before, err := edr.New(edr.Config{Drivers: drivers, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := before.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		store = open(t)
		after, err := edr.New(edr.Config{Drivers: drivers, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		w.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if _, err := after.Release(t.Context(), host, intent); !errors.Is(err, edr.ErrReleaseDebt) {
			t.Errorf("a new process, with Falcon down, must know of the debt: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A machine that was re-imaged while it was contained is owed under its old id, and
// released there and under the new one.
func TestAReleaseOfAReimagedHostReachesItsOldRecord(t *testing.T) {
	run(t, setup{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		old, _ := w.Falcon.Host(twin.FalconID(1))
		again := old
		again.DeviceID, again.Status = fmt.Sprintf("%032x", 77), "contained"
		again.FirstSeen, again.LastSeen = time.Now(), time.Now()
		w.Falcon.AddHost(again)
		old.LastSeen = time.Now().Add(-time.Hour)
		w.Falcon.AddHost(old)
		if _, err := w.fleet.Release(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		for _, id := range []string{twin.FalconID(1), again.DeviceID} {
			if h, _ := w.Falcon.Host(id); h.Status != "normal" {
				t.Errorf("%s is %s", id, h.Status)
			}
		}
	})
}

// What can never be settled is forgotten by somebody, and that is in the audit.
func TestForget(t *testing.T) {
	var audit []edr.AuditRecord
	run(t, setup{fleet: func(c *edr.Config) {
		c.Audit = func(_ context.Context, r edr.AuditRecord) { audit = append(audit, r) }
	}}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Contain(t.Context(), host, intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.Falcon.RemoveHost(twin.FalconID(1))
		s, err := w.fleet.Sweep(t.Context())
		if err != nil || len(s.Value.Unread) != 1 {
			t.Errorf("%+v, %v", s.Value, err)
		}
		why := edr.Intent{ID: "case-9", Actor: "soc", Reason: "scrapped"}
		if err := w.fleet.Forget(t.Context(), "falcon/us-1", "nobody", why); err == nil || !strings.Contains(err.Error(), "no entry") {
			t.Error(err)
		}
		if err := w.fleet.Forget(t.Context(), "falcon/us-1", twin.FalconID(1), edr.Intent{}); err == nil || !strings.Contains(err.Error(), "Intent.ID") {
			t.Error(err)
		}
		if err := w.fleet.Forget(t.Context(), "falcon/us-1", twin.FalconID(1), why); err != nil {
			t.Error(err)
		}
		last := audit[len(audit)-1]
		if len(w.ledger(t)) != 0 || last.Verb != edr.VerbForget || last.Intent != why || last.HostID != twin.FalconID(1) {
			t.Errorf("%+v", last)
		}
	})
}
