package falcon_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// A customer's quota is spent by all its API clients, most of them not ours: here
// sixty calls a minute are left of the six thousand. What Falcon says is believed,
// so nothing is throttled, and the last of it is for who contains a host.
func TestFalconsCountIsBelieved(t *testing.T) {
	set := &resilience.QuotaSet{}
	share := func(c *falcon.Config) { c.Quotas = set }
	cloud(t, falcontest.Config{Quota: 60}, share, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		other, err := falcon.New(falcon.Config{
			ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
			Cloud: "us-1", HTTPClient: srv.Client(), Quotas: set,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close(context.Background()) }()
		reads := 0
		for begin := time.Now(); time.Since(begin) < 5*time.Minute; reads++ {
			for _, client := range []*falcon.Client{c, other} {
				if _, err := client.Hosts.Get(t.Context(), first); err != nil {
					t.Fatal(err)
				}
			}
		}
		if reads < 100 {
			t.Errorf("%d reads in five minutes", 2*reads)
		}
		for _, r := range srv.Requests() {
			if r.Status == http.StatusTooManyRequests {
				t.Fatalf("%s was throttled", r.Path)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Hosts.Contain(ctx, first); err != nil {
			t.Errorf("an urgent call had to wait: %v", err)
		}
	})
}

// Falcon shuts out an address that comes with a bad token 15 times a minute, and
// with it every other client there.
func TestARejectedTokenIsSpared(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		lift := srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/devices", Status: http.StatusUnauthorized})
		for range 600 { // a minute
			_, err := c.Hosts.Get(t.Context(), first)
			if f := resilience.Of(err); f.Class != resilience.Credential {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := count(srv, "/devices/entities/devices/v2"); n < 10 || n > 16 {
			t.Errorf("%d calls with a bad token", n)
		}
		lift()
		time.Sleep(4 * time.Second)
		for range 3 {
			if _, err := c.Hosts.Get(t.Context(), first); err != nil {
				t.Error(err)
			}
		}
	})
}

// The clients of a process ask for no more tokens together than its address may.
func TestTokenRequestsShareAQuota(t *testing.T) {
	set := &resilience.QuotaSet{}
	share := func(c *falcon.Config) { c.Quotas = set }
	cloud(t, falcontest.Config{}, share, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		for range 400 {
			one, err := falcon.New(falcon.Config{
				ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1",
				HTTPClient: srv.Client(), Quotas: set, AuthPolicy: resilience.Config{Total: time.Minute},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := one.Hosts.Get(t.Context(), first); err != nil {
				t.Error(err)
			}
			_ = one.Close(context.Background())
		}
		for _, r := range srv.Requests() {
			if r.Status == http.StatusTooManyRequests {
				t.Fatalf("%s was throttled", r.Path)
			}
		}
	})
}
