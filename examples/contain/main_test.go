package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/kv"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The story in virtual time.
func TestDemo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &program{out: &out, o: options{
			intent: edr.Intent{ID: "1", Actor: "a", Reason: "r"}, clouds: twin.Config{Hosts: 10, ActionTime: agentTime, InMemory: true},
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
		{"-protect WS-001.corp.example contain ws-001", []string{"ws-001.corp.example: not contained (not_sent)"}, 1},
		{"-dry-run -json contain ws-001", []string{`"would":["falcon/us-1","defender"]`}, 0},
		{"-dry-run contain nobody", []string{"nobody: would not be contained"}, 1},
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
		"-max -1 contain ws-001":      "-max -1",
		"contain ws-001 -dry-run":     "flags go before",
		"-protect ws-[ contain x":     "-protect ws-[",
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

// While the vendor that holds a host is down, nothing may look settled.
func TestNothingIsGreenInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &program{out: &out, o: options{
			intent: edr.Intent{ID: "1", Actor: "a", Reason: "r"}, clouds: twin.Config{Hosts: 10, InMemory: true},
		}}
		held, free := []string{"ws-007"}, []string{"ws-008"}
		step := func(what string, do command, hosts []string, code int, owed int, outcome string) {
			t.Helper()
			p.report = report{}
			err := do(t.Context(), p, hosts)
			debts, debtErr := p.fleet.Debts(t.Context())
			if exitCode(err) != code || len(debts) != owed || debtErr != nil {
				t.Errorf("%s: exit %d, owed %d: %v, %v", what, exitCode(err), len(debts), err, debtErr)
			}
			if len(p.report.Hosts) > 0 && p.report.Hosts[0].Outcome != outcome {
				t.Errorf("%s: %s, want %s", what, p.report.Hosts[0].Outcome, outcome)
			}
		}
		err := p.within(t.Context(), func() error {
			step("contain", contain, held, 0, 0, "accepted")
			time.Sleep(3 * time.Minute)
			step("sweep", sweep, nil, 0, 0, "")
			p.clouds.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
			step("status of the held", status, held, 0, 0, "contained")
			step("status of another", status, free, 3, 0, "unknown")
			step("sweep of the held", sweep, nil, 3, 0, "")
			step("release of another", release, free, 3, 0, "already")
			step("release", release, held, 3, 1, "failed")
			step("status of the owed", status, held, 3, 1, "unknown")
			step("ledger", ledger, nil, 0, 1, "")
			step("sweep of the owed", sweep, nil, 3, 1, "")
			p.clouds.Falcon.Faults().Heal()
			time.Sleep(10 * time.Minute)
			step("contain another", contain, free, 0, 1, "accepted") // not swept yet
			p.clouds.Falcon.SetStatus(twin.FalconID(8), "normal")
			time.Sleep(3 * time.Minute)
			step("sweep of what did not happen", sweep, nil, 1, 0, "")
			return nil
		})
		if err != nil || t.Failed() {
			t.Errorf("%v\n%s", err, &out)
		}
	})
}

// What is owed, or not known, is said in words and in the object of -json.
func TestADebtIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &program{out: &out, o: options{
			intent: edr.Intent{ID: "1", Actor: "a", Reason: "r"}, clouds: twin.Config{Hosts: 10, InMemory: true},
		}}
		host := []string{"falcon/us-1:" + twin.FalconID(1)}
		err := p.within(t.Context(), func() error {
			if err := contain(t.Context(), p, host); err != nil {
				return err
			}
			p.clouds.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
			return errors.Join(release(t.Context(), p, host), ledger(t.Context(), p, nil))
		})
		if exitCode(err) != 3 || p.report.Owed != 1 || p.report.Hosts[0].Host != host[0] {
			t.Errorf("exit %d: %v; %+v", exitCode(err), err, p.report)
		}
		for _, want := range []string{"ws-001.corp.example: NOT KNOWN whether it is released", "OWED: ws-001"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in\n%s", want, &out)
			}
		}
	})
}

// A vendor that cannot be asked may hold hosts that the ledger does not know.
func TestASweepIsNotWholeWithoutAVendor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &program{out: io.Discard, o: options{clouds: twin.Config{Hosts: 10, InMemory: true}}}
		err := p.within(t.Context(), func() error {
			p.clouds.Falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
			return sweep(t.Context(), p, nil)
		})
		if exitCode(err) != 3 {
			t.Errorf("exit %d: %v", exitCode(err), err)
		}
	})
}

// A caller of -json gets its object also if the call was wrong.
func TestMisuseWithJSON(t *testing.T) {
	for _, args := range []string{"-json wipe ws-001", "-json -max x", "-json -reason= contain ws-001", "-json status elsewhere:1"} {
		var r report
		out, err := program1(t, strings.Fields(args)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if jsonErr := json.Unmarshal([]byte(lines[len(lines)-1]), &r); jsonErr != nil || r.OK || r.Error == "" || exitCode(err) != 2 {
			t.Errorf("%s: exit %d, %v\n%s", args, exitCode(err), jsonErr, out)
		}
	}
}

// The names at every vendor count, not only the one that is shown.
func TestProtectKnowsEveryName(t *testing.T) {
	c := guards{protect: "dc-*"}.config()
	for name, protected := range map[string]bool{"DC-1": true, "ws-1": false} {
		h := edr.Host{Name: "main.corp.example", Records: []edr.Record{{Hostname: "main"}, {Hostname: name}}}
		if got := c.Protected(h) != ""; got != protected {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The temporary ledger goes with the program.
func TestNothingIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if _, err := program1(t, "contain", "ws-001"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// Without -live a ledger of real hosts is not compared with simulated vendors.
func TestARealLedgerIsNotSwept(t *testing.T) {
	dir := t.TempDir()
	const key = "edr/ledger/defender/aaaa"
	real, err := kv.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	entry := `{"provider":"defender","host_id":"aaaa","name":"real","verb":"release","outcome":"unknown","at":"2026-01-02T03:04:05Z"}`
	if _, err := real.Put(t.Context(), key, []byte(entry), 0); err != nil {
		t.Fatal(err)
	}
	if err := real.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := program1(t, "-state", dir, "sweep"); err != nil || strings.Contains(out, "real") {
		t.Errorf("%v\n%s", err, out)
	}
	if real, err = kv.Open(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := real.Get(t.Context(), key); err != nil {
		t.Errorf("the debt is forgotten: %v", err)
	}
	if err := real.Close(); err != nil {
		t.Fatal(err)
	}
}
