package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSimulatedKeepsItsPromises(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-json"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var r report
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("the last line is no JSON object: %v", err)
	}
	if !r.Held || len(r.Steps) != 16 {
		t.Errorf("got %d steps, held: %v\n%s", len(r.Steps), r.Held, &out)
	}
	effects := map[string]int{}
	for _, s := range r.Steps {
		effects[s.Client] += s.Effects
	}
	if effects["gofalcon"] != 1 || effects["azcore"] != 1 {
		t.Errorf("the lost answer must have had its effect once: %v", effects)
	}
}

// A report must be able to say that a promise was broken.
func TestBrokenPromisesAreSaid(t *testing.T) {
	clouds, err := twin.New(twin.Config{Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer clouds.Close()
	v := vendor{name: "x", cloud: clouds.Falcon, effects: func() int { return 0 }, official: func(error) string { return "" }}
	fails := func(context.Context) error { return errors.New("no") }
	var r report
	r.step(t.Context(), v, "w", "read", fails, step{Result: "ok"})
	if len(r.broken) != 1 || !strings.Contains(r.broken[0].Error(), "unknown") {
		t.Errorf("got %v", r.broken)
	}
	r.table(io.Discard)
	if r.Held {
		t.Error("a broken promise was reported as held")
	}
}

// What -live does, at the simulators: it reads, and nothing else leaves.
func TestReadOnlyBindsTheOfficialClients(t *testing.T) {
	clouds, err := twin.New(twin.Config{Hosts: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer clouds.Close()
	o, err := newOfficial(falcon.Config{
		ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
		Cloud: "us-1", HTTPClient: clouds.Falcon.Client(), ReadOnly: true,
	}, azure.Config{
		TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret,
		HTTPClient: clouds.Azure.Client(), ReadOnly: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.close(t.Context()) }()
	if n, err := o.countHosts(t.Context()); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := o.defender.machines(t.Context()); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	_, err = o.countGroups(t.Context()) // no such service in the simulator
	if f := explain(err); f.Class != resilience.NotFound || !strings.Contains(explained("groups", err).Error(), "not_found, answered") {
		t.Errorf("got %v", err)
	}
	for _, err := range []error{
		o.contain(t.Context(), twin.FalconID(0)),
		o.defender.isolate(t.Context(), twin.DefenderID(0), "test"),
	} {
		if !errors.Is(err, resilience.ErrReadOnly) || explain(err).Sent != resilience.NotSent {
			t.Errorf("got %v", err)
		}
	}
	if len(clouds.Falcon.Effects()) != 0 || len(clouds.Azure.Actions()) != 0 {
		t.Error("a read-only client changed something")
	}
}

func TestCommandLine(t *testing.T) {
	for _, name := range []string{"FALCON_CLIENT_ID", "FALCON_CLIENT_SECRET", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"} {
		t.Setenv(name, "")
	}
	for args, want := range map[string]string{"-live": "FALCON_CLIENT_ID", "please": "please"} {
		if err := run(t.Context(), strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
