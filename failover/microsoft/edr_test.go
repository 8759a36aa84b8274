package microsoft_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/microsoft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func driver(t *testing.T, machines []azuretest.Machine, test func(*testing.T, *azuretest.Server, edr.Driver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv, err := azuretest.NewServer(azuretest.Config{InMemory: true, Machines: machines})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		c, err := azure.New(azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close(context.Background()) }()
		test(t, srv, microsoft.EDR(c))
	})
}

// Records of machines that were re-imaged into another, or offboarded, must not
// be acted on, and must not make a name ambiguous.
func TestLeavesOutRecordsOfGoneMachines(t *testing.T) {
	machines := []azuretest.Machine{
		{ID: "old", ComputerDNSName: "srv-1.corp.example", MergedIntoMachineID: "new"},
		{ID: "off", ComputerDNSName: "srv-1.corp.example", OnboardingStatus: "CanBeOnboarded"},
		{ID: "new", ComputerDNSName: "srv-1.corp.example"},
		{ID: "other", ComputerDNSName: "srv-10.corp.example"},
	}
	driver(t, machines, func(t *testing.T, _ *azuretest.Server, d edr.Driver) {
		var got []string
		for r, err := range d.Find.Find(t.Context(), edr.Hostname("SRV-1")) {
			if err != nil {
				t.Fatal(err)
			}
			if edr.Hostname("SRV-1").Matches(r) {
				got = append(got, r.ID)
			}
		}
		if !slices.Equal(got, []string{"new"}) {
			t.Errorf("got %v", got)
		}
		for range d.Find.Find(t.Context(), edr.Native(d.Provider, "f00")) {
			t.Error("an unknown id is nothing")
		}
		if err := d.Probe.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Defender has no field for it: the state is that of the newest action.
func TestStateFollowsTheNewestAction(t *testing.T) {
	driver(t, []azuretest.Machine{{ID: "m", ComputerDNSName: "a"}}, func(t *testing.T, srv *azuretest.Server, d edr.Driver) {
		intent := edr.Intent{ID: "1", Actor: "a", Reason: "r"}
		want := func(s edr.State) {
			t.Helper()
			if got, err := d.Isolate.State(t.Context(), "m"); err != nil || got != s {
				t.Errorf("%v, %v, want %v", got, err, s)
			}
		}
		want(edr.NotContained)
		if o, err := d.Isolate.Isolate(t.Context(), "m", intent); err != nil || o != failover.Accepted {
			t.Errorf("%v, %v", o, err)
		}
		want(edr.ContainPending)
		time.Sleep(2 * time.Second)
		want(edr.Contained)
		if o, err := d.Isolate.Release(t.Context(), "m", intent); err != nil || o != failover.Accepted {
			t.Errorf("%v, %v", o, err)
		}
		want(edr.ReleasePending)
		time.Sleep(2 * time.Second)
		want(edr.NotContained)
		// An isolation that failed has not isolated.
		srv.FailNextAction("Failed")
		if _, err := d.Isolate.Isolate(t.Context(), "m", intent); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		want(edr.NotContained)
		if a := srv.Actions()[0]; a.RequestorComment != intent.Comment() {
			t.Errorf("the comment is %q", a.RequestorComment)
		}
	})
}
