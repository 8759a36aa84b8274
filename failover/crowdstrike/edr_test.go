package crowdstrike_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func driver(t *testing.T, hosts []falcontest.Host, test func(*testing.T, edr.Driver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv, err := falcontest.NewServer(falcontest.Config{InMemory: true, Hosts: hosts})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		c, err := falcon.New(falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close(context.Background()) }()
		test(t, crowdstrike.EDR(c))
	})
}

func ids(t *testing.T, d edr.Driver, q edr.Query) (out []string) {
	t.Helper()
	for r, err := range d.Find.Find(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.ID)
	}
	slices.Sort(out)
	return out
}

// Falcon keeps a host's name as its sensor reported it: short or full, in either case.
func TestFindsTheNameHoweverItIsWritten(t *testing.T) {
	const a, b, c = "0000000000000000000000000000000a", "0000000000000000000000000000000b", "0000000000000000000000000000000c"
	hosts := []falcontest.Host{
		{DeviceID: a, Hostname: "SRV-1"}, {DeviceID: b, Hostname: "srv-2.corp.example"}, {DeviceID: c, Hostname: "srv-10"},
	}
	driver(t, hosts, func(t *testing.T, d edr.Driver) {
		for q, want := range map[string]string{"srv-1": a, "SRV-1": a, "srv-1.corp.example": a, "srv-2.corp.example": b} {
			if got := ids(t, d, edr.Hostname(q)); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %v, want %s", q, got, want)
			}
		}
		if got := ids(t, d, edr.Query{}); len(got) != 3 {
			t.Errorf("all: %v", got)
		}
		if got := ids(t, d, edr.Native(d.Provider, a)); !slices.Equal(got, []string{a}) {
			t.Errorf("by id: %v", got)
		}
		if got := ids(t, d, edr.Native(d.Provider, "f00")); len(got) != 0 {
			t.Errorf("an unknown id is no error, it is nothing: %v", got)
		}
		if err := d.Probe.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A NetBIOS domain is no part of a DNS name.
func TestQualifiedNames(t *testing.T) {
	hosts := []falcontest.Host{
		{Hostname: "a", MachineDomain: "corp.example"}, {Hostname: "b", MachineDomain: "CORP"}, {Hostname: "c.corp.example"},
	}
	driver(t, hosts, func(t *testing.T, d edr.Driver) {
		got := map[string]string{}
		for r, err := range d.Find.Find(t.Context(), edr.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			got[r.Hostname] = r.FQDN
		}
		for name, want := range map[string]string{"a": "a.corp.example", "b": "", "c.corp.example": "c.corp.example"} {
			if got[name] != want {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
		}
	})
}
