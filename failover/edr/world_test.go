package edr_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" { // see ledger_kill_test.go
		if err := killed(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// The rows of facts/product.md 4.4 that are this package's, and the tests that hold
// them; edrtest holds the drivers to the rest.
//
//	list, find        TestHostsMergesBothVendors, TestWhatIsNotKnown, failover.TestWhole
//	one host's state  TestStateIsThatOfTheHolder, TestReadYourWrites
//	contain           TestContainThroughEveryFailureOfFalcon, TestConcurrentContainsAreOneEffect,
//	                  TestAHostIsContainedWhereItIsHeld, TestContainEverywhere
//	contain, no answer TestOnUnknownStop, TestAnUnknownOutcomeIsSettledByReads
//	release           TestReleaseDebtIsKeptAndPaid, TestReleaseDebtIsAlarmedAndPaidByRun,
//	                  TestKilledAtEveryStepOfARelease
//	split brain       TestSplitBrainIsAState, TestForeignContainmentsAreAdoptedReadOnly
//	plausibility      TestWhatIsPlausibleAfterAList

// world is both clouds, both clients and a fleet over them.
type world struct {
	*twin.Twin
	fleet  *edr.Fleet
	falcon *falcon.Client
	azure  *azure.Client
}

type setup struct {
	falcon func(*falcon.Config)
	azure  func(*azure.Config)
	fleet  func(*edr.Config)
}

// run runs a test in a bubble where time is virtual.
func run(t *testing.T, s setup, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tw, err := twin.New(twin.Config{Hosts: 3, InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer tw.Close()
		w := &world{Twin: tw}
		fc := falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: tw.Falcon.Client()}
		ac := azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: tw.Azure.Client()}
		if s.falcon != nil {
			s.falcon(&fc)
		}
		if s.azure != nil {
			s.azure(&ac)
		}
		if w.falcon, err = falcon.New(fc); err != nil {
			t.Fatal(err)
		}
		if w.azure, err = azure.New(ac); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(w.falcon.Close(context.Background()), w.azure.Close(context.Background())); err != nil {
				t.Error(err)
			}
		}()
		cfg := edr.Config{Drivers: w.drivers(), Volatile: true}
		if s.fleet != nil {
			s.fleet(&cfg)
		}
		if w.fleet, err = edr.New(cfg); err != nil {
			t.Fatal(err)
		}
		test(t, w)
	})
}

func (w *world) drivers() []edr.Driver {
	return []edr.Driver{crowdstrike.EDR(w.falcon), microsoft.EDR(w.azure)}
}

var (
	host   = edr.Hostname("ws-001")
	intent = edr.Intent{ID: "case-7", Actor: "soc@corp.example", Reason: "malware"}
)

// effects counts what really happened to host 1, by the clouds' own records.
func (w *world) effects() (falconContains, defenderIsolates int) {
	for _, e := range w.Falcon.Effects() {
		if e.DeviceID == twin.FalconID(1) && e.Action == "contain" {
			falconContains++
		}
	}
	for _, a := range w.Azure.Actions() {
		if a.MachineID == twin.DefenderID(1) && a.Type == "Isolate" {
			defenderIsolates++
		}
	}
	return falconContains, defenderIsolates
}

const actionsPath = "/devices/entities/devices-actions"
