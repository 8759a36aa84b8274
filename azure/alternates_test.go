package azure_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const (
	home = "api.security.microsoft.com"
	eu   = "eu.api.security.microsoft.com"
	uk   = "uk.api.security.microsoft.com"
)

func alternates(cfg *azure.Config) {
	cfg.DefenderAlternates = []string{"https://" + eu, "https://" + uk}
}

// hostsOf are the hosts of the API's requests, in order.
func hostsOf(srv *azuretest.Server) (hosts []string) {
	for _, r := range srv.Requests() {
		if strings.HasPrefix(r.Path, "/api/") {
			hosts = append(hosts, strings.TrimSuffix(r.Host, ":443"))
		}
	}
	return hosts
}

// An address that cannot be reached is left, the next one is stayed with, and after
// the last comes the first.
func TestAlternatesAreStickyAndGoRound(t *testing.T) {
	for _, rule := range []fault.Rule{{Kind: fault.Refuse}, {Kind: fault.Blackhole}, {Kind: fault.Reset, Path: "/"}, {Kind: fault.Status, Status: 503}} {
		var log bytes.Buffer
		change := func(cfg *azure.Config) {
			alternates(cfg)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}
		cloud(t, azuretest.Config{}, change, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			last := func() string { h := hostsOf(srv); return h[len(h)-1] }
			down := func(host string) func() {
				rule.Host = host
				return srv.Faults().Add(rule)
			}
			get := func(want string) {
				t.Helper()
				if _, err := c.Defender.Machine(t.Context(), first); err != nil || last() != want {
					t.Errorf("%v: at %s, want %s: %v", rule.Kind, last(), want, err)
				}
			}
			get(home)
			up := down(home)
			get(eu)
			up()
			get(eu)
			down(eu)
			get(uk)
			down(uk)
			get(home)
			if n := strings.Count(log.String(), "another is used"); n != 3 || !strings.Contains(log.String(), "from="+home+" to="+eu) {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}

// What may have been sent is not sent elsewhere, and what reads it back goes to the
// same place.
func TestAnEffectDoesNotGoToAnAlternate(t *testing.T) {
	for _, rule := range []fault.Rule{{Kind: fault.LoseResponse}, {Kind: fault.Status, Status: 503}, {Kind: fault.Blackhole}} {
		cloud(t, azuretest.Config{}, alternates, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			rule.Method, rule.Path, rule.Host = http.MethodPost, "/api/machines", home
			srv.Faults().Add(rule)
			_, err := c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"})
			if resilience.Of(err).Sent != resilience.MaybeSent || requestsOf(srv, http.MethodPost, "/isolate") != 1 {
				t.Errorf("%v, %d POSTs", err, requestsOf(srv, http.MethodPost, "/isolate"))
			}
			if _, err := c.Defender.Isolation(t.Context(), first); err != nil {
				t.Error(err)
			}
			for _, host := range hostsOf(srv) {
				if host != home {
					t.Errorf("%v: at %s", rule.Kind, host)
				}
			}
		})
	}
}

// Nothing got out: the effect may go to the next address, within the same call.
func TestAnUnsentEffectGoesToAnAlternate(t *testing.T) {
	cloud(t, azuretest.Config{}, alternates, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Refuse, Host: home})
		in := feed(1)[0]
		if _, err := c.Defender.SubmitIndicator(t.Context(), in); err != nil || len(srv.Indicators()) != 1 {
			t.Error(err)
		}
		// Unlike what an idempotent change may have left there.
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodPost, Host: eu, Count: 1})
		if _, err := c.Defender.SubmitIndicator(t.Context(), in); err != nil {
			t.Error(err)
		}
		if h := fmt.Sprint(hostsOf(srv)); strings.Contains(h, uk) {
			t.Errorf("at %s", h)
		}
	})
}

// The link of a page is the host's that gave it; the rest may have moved on.
func TestNextLinksStayOnTheirHost(t *testing.T) {
	cloud(t, azuretest.Config{Machines: fleet(3)}, alternates, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		page := `{"value":[{"id":"a"}],"@odata.nextLink":"https://` + home + `/api/machines?$skip=2"}`
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machines", Body: page, Count: 1})
		l := c.Defender.Machines(azure.Query{})
		var rows int
		var last error
		for _, err := range l.All(t.Context()) {
			if rows++; rows > 1 {
				last = err
				break
			}
			srv.Faults().Add(fault.Rule{Kind: fault.Refuse, Host: home, For: time.Minute})
			if _, err := c.Defender.Machine(t.Context(), first); err != nil {
				t.Fatal(err)
			}
		}
		if last == nil {
			t.Error("the page came from elsewhere")
		}
		time.Sleep(2 * time.Minute)
		if got := collect(t, l); len(got) != 1 {
			t.Errorf("%+v", got)
		}
		h := hostsOf(srv)
		if h[len(h)-1] != home {
			t.Errorf("at %v", h)
		}
		if _, err := c.Defender.Machine(t.Context(), first); err != nil || hostsOf(srv)[len(h)] != eu {
			t.Errorf("at %v, %v", hostsOf(srv), err)
		}
	})
}

// Neither Entra's outage nor a caller who leaves is the address's fault.
func TestWhatDoesNotMoveTheAddress(t *testing.T) {
	cloud(t, azuretest.Config{}, alternates, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for _, kind := range []fault.Kind{fault.Refuse, fault.Blackhole} {
			up := srv.Faults().Add(fault.Rule{Kind: kind, Host: "login.microsoftonline.com"})
			if _, err := c.Defender.Machine(t.Context(), first); err == nil {
				t.Fatal("without a token?")
			}
			up()
			time.Sleep(time.Hour)
		}
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		slow := srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: "/api"})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, _ = c.Defender.Machine(ctx, first)
		slow()
		for _, status := range []int{500, 429, 404, 401, 403, 410} {
			up := srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: status, Path: "/api"})
			_, _ = c.Defender.Machine(t.Context(), first)
			up()
		}
		for _, host := range hostsOf(srv) {
			if host != home {
				t.Fatalf("at %s", host)
			}
		}
		// One whose time ran out is another matter.
		slow = srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Host: home})
		defer slow()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = c.Defender.Machine(short, first)
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Error(err)
		}
	})
}

// Many that fail together are one reason to move, not one each.
func TestManyFailuresMoveOnce(t *testing.T) {
	cloud(t, azuretest.Config{}, alternates, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		if _, err := c.Defender.Machine(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Refuse, Host: home})
		srv.Faults().Add(fault.Rule{Kind: fault.Refuse, Host: uk})
		done := make(chan error)
		for range 8 {
			go func() {
				_, err := c.Defender.Machine(t.Context(), first)
				done <- err
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// With an address of its own the client trusts that host only, and the alternates.
func TestAlternatesOfAnAddressOfItsOwn(t *testing.T) {
	change := func(cfg *azure.Config) {
		cfg.DefenderURL = "https://" + uk
		alternates(cfg)
	}
	cloud(t, azuretest.Config{}, change, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Refuse, Host: uk})
		if _, err := c.Defender.Machine(t.Context(), first); err != nil || hostsOf(srv)[0] != eu {
			t.Errorf("at %v, %v", hostsOf(srv), err)
		}
	})
}

func TestAlternatesOfTheConfig(t *testing.T) {
	ok := azure.Config{TenantID: "t", ClientID: "c", ClientSecret: "s"}
	for want, change := range map[string]func(*azure.Config){
		"Config.DefenderAlternates[1]":              func(c *azure.Config) { c.DefenderAlternates = []string{"https://" + eu, "http://x"} },
		"Config.DefenderAlternates: the API is not": func(c *azure.Config) { c.Cloud, c.DefenderAlternates = "china", []string{"https://" + eu} },
	} {
		cfg := ok
		change(&cfg)
		if _, err := azure.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	ok.DefenderURL, ok.DefenderAlternates = "https://"+uk, []string{"https://" + eu}
	if c, err := azure.New(ok); err != nil || c.Defender.Name() != "defender/uk" {
		t.Error(err)
	}
}
