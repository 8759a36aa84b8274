package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/failover/twin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The whole outage in virtual time.
func TestSimulatedKeepsItsPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r, err := simulate(t.Context(), &out, twin.Config{Hosts: 200, InMemory: true})
		if err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		r.table(&out)
		if err := r.broken(); err != nil {
			t.Errorf("%v\n%s", err, &out)
		}
		if r.byDefender < 8 || r.byFalcon < 100 {
			t.Errorf("answered by Falcon %d, by Defender %d", r.byFalcon, r.byDefender)
		}
	})
}

// A report must be able to say that a promise was broken.
func TestBrokenPromisesAreSaid(t *testing.T) {
	clouds, err := twin.New(twin.Config{Hosts: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer clouds.Close()
	r := &report{clouds: clouds, FailedCalls: 1}
	for _, want := range []string{"held by", "fail over", "still held", "calls failed", "only 0 calls", "0 of 2 hosts"} {
		if err := r.broken(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestLiveRefusesToActByAccident(t *testing.T) {
	for _, name := range []string{"FALCON_CLIENT_ID", "FALCON_CLIENT_SECRET", "AZURE_CLIENT_SECRET"} {
		t.Setenv(name, "")
	}
	for args, want := range map[string]string{
		"-live -yes":                  "-host NAME",
		"-live -host x -yes":          "-state DIR",
		"-live -host x -release":      "-yes",
		"-live -host x -yes -state d": "FALCON_CLIENT_ID",
		"-live":                       "FALCON_CLIENT_ID",
	} {
		if err := run(context.Background(), strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
