package azure_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestFindGetIsolateUnisolate(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		var found []azure.Machine
		for m, err := range c.Defender.Machines(azure.Query{Filter: azure.Equals("computerDnsName", "ws-000.corp.example")}).All(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, m)
		}
		if len(found) != 1 || found[0].ID != first {
			t.Fatalf("found %+v", found)
		}
		if m, err := c.Defender.Machine(ctx, first); err != nil || m.ComputerDNSName != "ws-000.corp.example" {
			t.Errorf("%+v, %v", m, err)
		}
		is, err := c.Defender.Isolate(ctx, first, azure.Isolate{Comment: "test"})
		if err != nil || is.Already || !is.Action.Status.Open() {
			t.Fatalf("%+v, %v", is, err)
		}
		// While it is open, and after it succeeded, nothing is sent again.
		for range 2 {
			if is, err := c.Defender.Isolate(ctx, first, azure.Isolate{Comment: "test"}); err != nil || !is.Already {
				t.Errorf("%+v, %v", is, err)
			}
			time.Sleep(2 * time.Second)
		}
		if !srv.Isolated(first) {
			t.Error("not isolated")
		}
		if a, err := c.Defender.Action(ctx, is.Action.ID); err != nil || a.Status != azure.ActionSucceeded {
			t.Errorf("%+v, %v", a, err)
		}
		if is, err := c.Defender.Unisolate(ctx, first, azure.Isolate{Comment: "test"}); err != nil || is.Already {
			t.Errorf("%+v, %v", is, err)
		}
		time.Sleep(2 * time.Second)
		if srv.Isolated(first) || len(srv.Actions()) != 2 {
			t.Errorf("isolated %v, %d actions", srv.Isolated(first), len(srv.Actions()))
		}
	})
}

func TestReleaseWaitsForTheIsolationUnderWay(t *testing.T) {
	cloud(t, azuretest.Config{ActionTime: time.Minute}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"}); err != nil {
			t.Fatal(err)
		}
		_, err := c.Defender.Unisolate(t.Context(), first, azure.Isolate{Comment: "x"})
		if busy, ok := errors.AsType[*azure.BusyError](err); !ok || busy.Action.Type != "Isolate" {
			t.Errorf("got %v", err)
		}
	})
}

func TestUnisolateOfANeverIsolatedMachineSendsNothing(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		is, err := c.Defender.Unisolate(t.Context(), first, azure.Isolate{Comment: "x"})
		if err != nil || !is.Already || len(srv.Actions()) != 0 {
			t.Errorf("%+v, %v, %d actions", is, err, len(srv.Actions()))
		}
	})
}

// product.md 0.5: an isolation sent twice can leave the host isolated. A lost
// answer, a 503 and a timeout are all "may have been sent".
func TestIsolateIsNeverSentTwice(t *testing.T) {
	for _, rule := range []fault.Rule{
		{Kind: fault.LoseResponse}, {Kind: fault.Status, Status: 503}, {Kind: fault.Blackhole}, {Kind: fault.Reset},
	} {
		t.Run(rule.Kind.String(), func(t *testing.T) {
			cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
				rule.Method, rule.Path = http.MethodPost, "/api/machines"
				srv.Faults().Add(rule)
				_, err := c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"})
				if f := resilience.Of(err); err == nil || f.Sent != resilience.MaybeSent {
					t.Errorf("got %v (%v)", err, f.Sent)
				}
				posts := 0
				for _, r := range srv.Requests() {
					if strings.HasSuffix(r.Path, "/isolate") {
						posts++
					}
				}
				if posts != 1 {
					t.Errorf("%d POSTs", posts)
				}
			})
		})
	}
}

func TestAFailedReadBeforeTheEffectIsNotSent(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: "/api/machineactions"})
		_, err := c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"})
		if f := resilience.Of(err); err == nil || f.Sent != resilience.NotSent || len(srv.Actions()) > 0 {
			t.Errorf("got %v (%v), %d actions", err, f.Sent, len(srv.Actions()))
		}
	})
}

// An isolation whose time cannot be read is one all the same: a second could be
// carried out behind a release.
func TestAnIsolationWithoutATime(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machineactions", Body: `{"value":[
			{"id":"2","type":"Isolate","status":"Succeeded","machineId":"` + first + `"},
			{"id":"1","type":"Unisolate","status":"Succeeded","machineId":"` + first + `"}]}`})
		is, err := c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"})
		if err != nil || !is.Already || is.Action.ID != "2" || len(srv.Actions()) != 0 {
			t.Errorf("%+v, %v", is, err)
		}
	})
}

// An id must not lead to another path: /api/machines/../isolate.
func TestIDsThatArePathsAreNotSent(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for _, id := range []string{"", " ", ".", ".."} {
			_, err := c.Defender.Isolate(t.Context(), id, azure.Isolate{Comment: "x"})
			_, err2 := c.Defender.Machine(t.Context(), id)
			_, err3 := c.Graph.Alert(t.Context(), id)
			_, err4 := c.Posture.Score(t.Context(), azuretest.SubscriptionID, id)
			_, err5 := c.Posture.Plan(t.Context(), azuretest.SubscriptionID, id)
			for i, err := range []error{err, err2, err3, err4, err5} {
				if resilience.Of(err).Class != resilience.Misuse {
					t.Errorf("%q: %d: %v", id, i, err)
				}
			}
		}
		if n := len(srv.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}
