package azure_test

import (
	"context"
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

// scan starts one.
func scan(t *testing.T, c *azure.Client) azure.MachineAction {
	t.Helper()
	a, err := c.Defender.Scan(t.Context(), first, azure.Scan{Comment: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return a.Action
}

func TestWaitForAnAction(t *testing.T) {
	for status, class := range map[azure.ActionStatus]resilience.Class{
		azure.ActionSucceeded: resilience.Unknown, azure.ActionFailed: resilience.Rejected,
		azure.ActionTimeOut: resilience.Timeout, azure.ActionCancelled: resilience.Conflict,
	} {
		t.Run(string(status), func(t *testing.T) {
			cloud(t, azuretest.Config{ActionTime: 3 * time.Hour}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
				if status != azure.ActionSucceeded {
					srv.FailNextAction(string(status))
				}
				id := scan(t, c).ID
				begin := time.Now()
				a, err := c.Defender.Wait(t.Context(), id)
				if a.Status != status || a.MachineID != first || time.Since(begin) < 3*time.Hour-time.Minute || time.Since(begin) > 3*time.Hour+2*time.Minute {
					t.Errorf("%+v after %v", a, time.Since(begin))
				}
				failed, ok := errors.AsType[*azure.ActionError](err)
				if ok != (status != azure.ActionSucceeded) || ok && failed.Action.ID != id || resilience.Of(err).Class != class {
					t.Errorf("got %v", err)
				}
				if n := requestsOf(srv, http.MethodGet, id); n < 150 || n > 300 { // about one a minute
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}

// The id is all the state: another process, with another client, waits on.
func TestWaitSurvivesARestart(t *testing.T) {
	cloud(t, azuretest.Config{ActionTime: time.Hour}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		id := scan(t, c).ID
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Minute, stop)
		a, err := c.Defender.Wait(ctx, id)
		if !errors.Is(err, context.Canceled) || a.Status != azure.ActionPending || resilience.Of(err).Class != resilience.Canceled {
			t.Fatalf("%+v, %v", a, err)
		}
		other, err := azure.New(azure.Config{
			TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: srv.Client(), ReadOnly: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close(context.Background()) }()
		if a, err := other.Defender.Wait(t.Context(), id); err != nil || a.Status != azure.ActionSucceeded {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// An outage in the middle, with the breaker open, is no reason to forget the action.
func TestWaitOutlivesAnOutage(t *testing.T) {
	for _, rule := range []fault.Rule{{Kind: fault.Refuse}, {Kind: fault.Status, Status: 503}, {Kind: fault.Status, Status: 200, Body: "<html>"}, {Kind: fault.Blackhole}} {
		cloud(t, azuretest.Config{ActionTime: 10 * time.Minute}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			id := scan(t, c).ID
			rule.Host, rule.Start, rule.For = "api.security.microsoft.com", time.Minute, 20*time.Minute
			srv.Faults().Add(rule)
			if a, err := c.Defender.Wait(t.Context(), id); err != nil || a.Status != azure.ActionSucceeded {
				t.Errorf("%v: %+v, %v", rule.Kind, a, err)
			}
			// A deadline ends it, with what is known and why.
			srv.Faults().Heal()
			id = scan(t, c).ID
			rule.Start, rule.For = time.Minute, 0
			srv.Faults().Add(rule)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			begin := time.Now()
			a, err := c.Defender.Wait(ctx, id)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Hour || !a.Status.Open() || a.ID != id {
				t.Errorf("%v: %+v, %v after %v", rule.Kind, a, err, time.Since(begin))
			}
		})
	}
}

func TestWaitEndsWhereNothingWillChange(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Wait(t.Context(), "4711"); !errors.Is(err, azure.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machineactions", Body: `{"id":"4711","type":"Isolate","status":"Vanished"}`, Count: 1})
		a, err := c.Defender.Wait(t.Context(), "4711")
		if _, ok := errors.AsType[*azure.ActionError](err); !ok || a.Status != "Vanished" || !strings.Contains(err.Error(), "Vanished") {
			t.Errorf("%+v, %v", a, err)
		}
	})
	cloud(t, azuretest.Config{Roles: []string{}}, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Wait(t.Context(), "4711"); resilience.Of(err).Class != resilience.Denied {
			t.Errorf("got %v", err)
		}
	})
}

// Forty who wait share the quota of one operation; none of them is refused for good.
func TestManyWaitersShareTheQuota(t *testing.T) {
	cloud(t, azuretest.Config{Machines: fleet(40), ActionTime: 2 * time.Hour}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ids := make(chan string)
		ended := make(chan error)
		for range 40 {
			go func() {
				a, err := c.Defender.Wait(t.Context(), <-ids)
				if err == nil && a.Status != azure.ActionSucceeded {
					err = errors.New(string(a.Status))
				}
				ended <- err
			}()
		}
		for _, m := range srv.Machines() {
			a, err := c.Defender.Scan(t.Context(), m.ID, azure.Scan{Comment: "x"})
			if err != nil {
				t.Fatal(err)
			}
			ids <- a.Action.ID
		}
		for range 40 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		for _, r := range srv.Requests() {
			if r.Status == http.StatusTooManyRequests {
				t.Fatal("Defender had to say so")
			}
		}
	})
}
