package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The story in virtual time.
func TestDemo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &program{out: &out, o: options{
			intent: edr.Intent{ID: "1", Actor: "a", Reason: "r"}, clouds: twin.Config{Hosts: 10, InMemory: true},
		}}
		if err := p.within(t.Context(), func() error { return demo(t.Context(), p, nil) }); err != nil {
			t.Errorf("%v\n%s", err, &out)
		}
		for _, want := range []string{
			"ws-007.corp.example: contained by falcon/us-1", "ws-008.corp.example: contained by defender",
			"error: host \"ws-007\"", "release not_sent", "released: ws-007", "nothing is held, and nothing is owed",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in\n%s", want, &out)
			}
		}
	})
}

func program1(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), args, &out)
	return out.String(), err
}

func TestCommands(t *testing.T) {
	for _, tc := range []struct {
		args string
		want []string
		code int
	}{
		{"contain ws-001 WS-002", []string{"SIMULATED", "ws-001.corp.example: contained by falcon/us-1", "ws-002.corp.example: contained by falcon/us-1"}, 0},
		{"-dry-run contain ws-001", []string{"ws-001.corp.example: would be contained by falcon/us-1, else by defender"}, 0},
		{"contain ws-001 nobody", []string{"ws-001.corp.example: contained", "nobody: not contained"}, 1},
		{"-protect ws-* contain ws-001", []string{"ws-001.corp.example: not contained (not_sent)"}, 1},
		{"-max 1 contain ws-001 ws-002", []string{"ws-001.corp.example: contained", "ws-002.corp.example: not contained"}, 1},
		{"status ws-001", []string{"ws-001.corp.example: not_contained (strong", "defender     not_contained"}, 0},
		{"release ws-001", []string{"ws-001.corp.example: released, nobody held it"}, 0},
		{"ledger", []string{"nothing is held, and nothing is owed"}, 0},
		{"sweep", []string{"SIMULATED"}, 0},
		{"-h", []string{"Usage: contain"}, 0},
	} {
		out, err := program1(t, strings.Fields(tc.args)...)
		if exitCode(err) != tc.code {
			t.Errorf("%s: exit %d: %v\n%s", tc.args, exitCode(err), err, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in\n%s", tc.args, want, out)
			}
		}
	}
}

func TestMisuse(t *testing.T) {
	for args, want := range map[string]string{
		"wipe ws-001":                 "no command",
		"contain":                     "needs the names of hosts",
		"ledger ws-001":               "takes no hosts",
		"-dry-run release ws-001":     "-dry-run",
		"-live demo":                  "simulated",
		"-live contain ws-001":        "-state DIR",
		"-nonsense":                   "-nonsense",
		"-reason= contain ws-001":     "Intent.Reason",
		"-max -1 contain ws-001":      "Guards.MaxHosts",
		"-live -state d -json ledger": "FALCON_CLIENT_ID",
	} {
		for _, name := range []string{"FALCON_CLIENT_ID", "FALCON_CLIENT_SECRET", "AZURE_CLIENT_SECRET"} {
			t.Setenv(name, "")
		}
		_, err := program1(t, strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) == 0 {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// The ledger and the audit outlive the program, and the last line is for machines.
func TestStateAuditAndJSON(t *testing.T) {
	dir := t.TempDir()
	audit := filepath.Join(dir, "audit.jsonl")
	flags := []string{"-state", filepath.Join(dir, "state"), "-audit", audit, "-json", "-id", "case-7"}
	last := func(command ...string) (r report) {
		t.Helper()
		out, err := program1(t, append(flags, command...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if jsonErr := json.Unmarshal([]byte(lines[len(lines)-1]), &r); jsonErr != nil || r.OK != (err == nil) {
			t.Errorf("%v, %v\n%s", err, jsonErr, out)
		}
		return r
	}
	if r := last("contain", "ws-003"); len(r.Hosts) != 1 || r.Hosts[0].Outcome != "accepted" || r.Hosts[0].By != "falcon/us-1" || !r.Simulated {
		t.Errorf("%+v", r)
	}
	if r := last("ledger"); len(r.Ledger) != 1 || r.Ledger[0].Intent.ID != "case-7" {
		t.Errorf("%+v", r)
	}
	if r := last("contain", "nobody"); r.OK || r.Error == "" || r.Hosts[0].Error == "" {
		t.Errorf("%+v", r)
	}
	written, err := os.ReadFile(audit)
	if err != nil || strings.Count(string(written), "\n") != 1 || !strings.Contains(string(written), `"verb":"contain"`) {
		t.Errorf("%s, %v", written, err)
	}
}

func TestExitCodes(t *testing.T) {
	for want, errs := range map[int][]error{
		0: {nil}, 1: {errors.New("x")}, 2: {usagef("x")},
		3: {edr.ErrUnknownOutcome, edr.ErrReleaseDebt, edr.ErrAmbiguousHost, edr.ErrWeakIdentity},
	} {
		for _, err := range errs {
			if got := exitCode(err); got != want {
				t.Errorf("%v: %d", err, got)
			}
		}
	}
}
