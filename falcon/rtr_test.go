package falcon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const (
	rtrSessions = "/real-time-response/entities/sessions/v1"
	rtrRefresh  = "/real-time-response/entities/refresh-session/v1"
	rtrCommand  = "/real-time-response/entities/command/v1"
)

// requests counts those of a method and a path.
func requests(s *falcontest.Server, method, path string) (n int) {
	for _, r := range s.Requests() {
		if r.Method == method && r.Path == path {
			n++
		}
	}
	return n
}

// writes makes every command write this.
func writes(s *falcontest.Server, r falcontest.RTRResult) {
	s.RTRCommand(func(string, string) falcontest.RTRResult { return r })
}

func open(t *testing.T, c *falcon.Client, o falcon.RTROptions) *falcon.RTRSession {
	t.Helper()
	s, err := c.RTR.Open(t.Context(), first, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRTRRunsACommand(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.RTRCommand(func(host, command string) falcontest.RTRResult {
			return falcontest.RTRResult{Stdout: host + ": " + command, Stderr: "some say so", Takes: 3 * time.Second}
		})
		out, err := c.RTR.Run(t.Context(), first, ` ls C:\Windows `)
		want := falcon.RTROutput{RequestID: out.RequestID, Stdout: first + `: ls C:\Windows`, Stderr: "some say so", Complete: true}
		if err != nil || out != want || out.RequestID == "" {
			t.Errorf("%+v, %v", out, err)
		}
		all := srv.RTRSessions()
		if len(all) != 1 || all[0].Open || fmt.Sprint(all[0].Commands) != `[ls C:\Windows]` {
			t.Errorf("%+v", all)
		}
		// What is not set is not null, which may mean another thing.
		bodies := map[string]string{}
		for _, r := range srv.Requests() {
			if r.Method == http.MethodPost {
				bodies[r.Path] = strings.TrimSpace(string(r.Body))
			}
		}
		id, _ := json.Marshal(all[0].ID)
		if got := bodies[rtrSessions]; got != `{"device_id":"`+first+`","origin":"jurymast","queue_offline":false}` {
			t.Error(got)
		}
		if got := bodies[rtrCommand]; got != `{"base_command":"ls","command_string":"ls C:\\Windows","device_id":"`+first+`","id":0,"persist":false,"session_id":`+string(id)+`}` {
			t.Error(got)
		}
	})
}

// The wait for a command goes on without the caller in gofalcon (hazard RTR).
func TestRTRWaitHonoursItsContext(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Stdout: "late", Takes: time.Hour})
		s := open(t, c, falcon.RTROptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		begin := time.Now()
		out, err := s.Run(ctx, "ps")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 7*time.Second || out.Complete || out.RequestID == "" {
			t.Errorf("%+v, %v after %v", out, err, time.Since(begin))
		}
		// The command goes on, and its output is there for who asks again.
		writes(srv, falcontest.RTRResult{Stdout: "other"})
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		s = open(t, c, falcon.RTROptions{Patience: 2 * time.Hour})
		if got, err := s.Wait(ctx, out.RequestID); err != nil || got.Stdout != "late" || len(srv.RTRSessions()[0].Commands) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// gofalcon asks every 120 ms, 5,000 times in ten minutes, of 6,000 a minute for all.
func TestRTRPollingSparesTheQuota(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Stdout: "done", Takes: 10 * time.Minute})
		begin := time.Now()
		out, err := c.RTR.Run(t.Context(), first, "filehash big.iso")
		if err != nil || out.Stdout != "done" || time.Since(begin) > 10*time.Minute+20*time.Second {
			t.Errorf("%+v, %v after %v", out, err, time.Since(begin))
		}
		if n := len(srv.Requests()); n > 120 {
			t.Errorf("%d requests", n)
		}
		begin = time.Now()
		writes(srv, falcontest.RTRResult{Stdout: "done", Takes: time.Second})
		if _, err := c.RTR.Run(t.Context(), first, "ps"); err != nil || time.Since(begin) > 3*time.Second {
			t.Errorf("a short one: %v after %v", err, time.Since(begin))
		}
	})
}

// Ten idle minutes end a session, and what runs in it.
func TestRTRSessionIsKeptAliveByRun(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Stdout: "done", Takes: time.Hour})
		s := open(t, c, falcon.RTROptions{Patience: 2 * time.Hour})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: rtrRefresh, Count: 5}) // it may fail for a while
		if out, err := s.Run(t.Context(), "filehash big.iso"); err != nil || out.Stdout != "done" {
			t.Errorf("%+v, %v", out, err)
		}
		if n := requests(srv, http.MethodPost, rtrRefresh); n < 14 || n > 25 {
			t.Errorf("refreshed %d times", n)
		}
		time.Sleep(5 * time.Minute)
		if err := s.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(9 * time.Minute)
		writes(srv, falcontest.RTRResult{})
		if _, err := s.Run(t.Context(), "ps"); err != nil {
			t.Error(err)
		}
		time.Sleep(11 * time.Minute)
		if _, err := s.Run(t.Context(), "ps"); !errors.Is(err, falcon.ErrRTRSession) {
			t.Errorf("after eleven idle minutes: %v", err)
		}
		if err := s.Refresh(t.Context()); !errors.Is(err, falcon.ErrRTRSession) {
			t.Errorf("refreshed then: %v", err)
		}
		if err := s.Close(t.Context()); err != nil { // it is gone, as it should be
			t.Error(err)
		}
	})
}

// The session of the host is another one, and the command ended with the first.
func TestRTRRefreshOfAnotherSessionIsAnError(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Takes: time.Hour})
		s := open(t, c, falcon.RTROptions{})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: rtrRefresh, Status: 201, Body: `{"meta":{},"resources":[{"session_id":"another"}]}`})
		out, err := s.Run(t.Context(), "ps")
		if !errors.Is(err, falcon.ErrRTRSession) || !strings.Contains(err.Error(), "another") || out.Complete {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

// gofalcon panics on resources[0] of an answer without resources.
func TestRTREmptyResourcesDoNotPanic(t *testing.T) {
	const empty = `{"meta":{"query_time":0.1},"resources":[],"errors":null}`
	for _, tc := range []struct{ method, path string }{
		{http.MethodPost, rtrSessions}, {http.MethodPost, rtrCommand}, {http.MethodGet, rtrCommand},
	} {
		for _, body := range []string{empty, `{"meta":{},"resources":null}`, ``, `{"meta":{},"resources":[null]}`, `{"meta":{},"resources":[{}]}`} {
			cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: tc.method, Path: tc.path, Status: 201, Body: body})
				out, err := c.RTR.Run(t.Context(), first, "ps")
				if resilience.Of(err).Class != resilience.Malformed || out.Complete {
					t.Errorf("%s %s %s: %+v, %v", tc.method, tc.path, body, out, err)
				}
				if tc.method == http.MethodGet && out.RequestID == "" {
					t.Error("the request id is lost")
				}
			})
		}
	}
}

// A command is an effect: what became of one whose answer is lost is not known, and
// it is not given twice.
func TestRTRCommandIsNeverSentTwice(t *testing.T) {
	for _, rule := range []fault.Rule{
		{Kind: fault.LoseResponse}, {Kind: fault.Status, Status: 503}, {Kind: fault.Truncate}, {Kind: fault.Reset},
	} {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			rule.Method, rule.Path = http.MethodPost, rtrCommand
			srv.Faults().Add(rule)
			out, err := c.RTR.Run(t.Context(), first, "cd ..")
			if n := requests(srv, http.MethodPost, rtrCommand); n != 1 {
				t.Errorf("%v: sent %d times", rule.Kind, n)
			}
			if resilience.Of(err).Sent != resilience.MaybeSent || !strings.Contains(err.Error(), "whether it runs is not known") || out.RequestID != "" {
				t.Errorf("%v: %+v, %v", rule.Kind, out, err)
			}
			if srv.RTRSessions()[0].Open {
				t.Errorf("%v: the session is left", rule.Kind)
			}
		})
	}
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) { // proven not done
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: http.MethodPost, Path: rtrCommand, Status: 429, Count: 1})
		if out, err := c.RTR.Run(t.Context(), first, "cd .."); err != nil || len(srv.RTRSessions()[0].Commands) != 1 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

// Falcon's refusals, with its codes of five digits, also inside a good status.
func TestRTRRefusalsAreNotMaybes(t *testing.T) {
	for _, status := range []int{400, 201} {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			srv.Faults().Add(fault.Rule{
				Kind: fault.Status, Method: http.MethodPost, Path: rtrCommand, Status: status,
				Body: `{"meta":{},"resources":[],"errors":[{"code":40007,"message":"Command not found"}]}`,
			})
			_, err := c.RTR.Run(t.Context(), first, "users")
			if f := resilience.Of(err); f.Sent != resilience.Answered || f.Class != resilience.Rejected || !strings.Contains(err.Error(), "Command not found") {
				t.Errorf("%d: %v", status, err)
			}
		})
	}
}

// An outage of the questions costs time, not the output.
func TestRTROutageWhileWaiting(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Stdout: "done", Takes: 20 * time.Minute})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: http.MethodGet, Path: rtrCommand, Start: 15 * time.Minute, For: 7 * time.Minute})
		s := open(t, c, falcon.RTROptions{Patience: time.Hour})
		if out, err := s.Run(t.Context(), "ps"); err != nil || out.Stdout != "done" {
			t.Errorf("%+v, %v", out, err)
		}
		writes(srv, falcontest.RTRResult{Takes: time.Hour})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Method: http.MethodGet, Path: rtrCommand})
		begin := time.Now()
		if _, err := s.Run(t.Context(), "ps"); resilience.Of(err).Class != resilience.Unavailable && resilience.Of(err).Class != resilience.Open || time.Since(begin) > 12*time.Minute {
			t.Errorf("without end: %v after %v", err, time.Since(begin))
		}
	})
}

func TestRTRPatienceEnds(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Takes: 24 * time.Hour})
		begin := time.Now()
		out, err := c.RTR.Run(t.Context(), first, "ps")
		if !errors.Is(err, falcon.ErrRTRUnfinished) || time.Since(begin) != 15*time.Minute || out.RequestID == "" {
			t.Errorf("%+v, %v after %v", out, err, time.Since(begin))
		}
	})
}

func TestRTROnlyReadsAndSaysWhy(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		s := open(t, c, falcon.RTROptions{})
		srv.ResetRequests()
		for _, command := range []string{
			"", "  ", "rm C:\\x", "kill 4", "get x", "put x", "runscript -Raw=```whoami```", "reg", "reg delete HKLM\\x", "reg set x", "run x",
			"eventlog backup Security x", "eventlog export Security x", "eventlog", "mount -t=nfs a b", "LS", "ls\nrm x", "ps\rkill 4", "ps\x00", "lsx", "cat\u2028x",
		} {
			for _, run := range []func() error{
				func() error { _, err := s.Run(t.Context(), command); return err },
				func() error { _, err := c.RTR.Run(t.Context(), first, command); return err },
			} {
				if err := run(); resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), "only commands that read") {
					t.Errorf("%q: %v", command, err)
				}
			}
		}
		if n := len(srv.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
		for _, command := range []string{
			`cat C:\a b.txt`, "cd ..", "clear", "csrutil", "env", "eventlog list", "eventlog view Security 5", "filehash x", "getsid", "help ls", "history", "ifconfig",
			"ipconfig", "ls", "mount", "netstat -nr", "ps", "pwd", `reg query HKLM\Software`, "users root",
		} {
			if _, err := s.Run(t.Context(), command); err != nil {
				t.Errorf("%q: %v", command, err)
			}
		}
	})
}

func TestRTRMisuseNamesTheField(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		for want, o := range map[string]falcon.RTROptions{
			"RTROptions.Connect": {Connect: 6 * time.Minute}, "Connect -1": {Connect: -1}, "RTROptions.MaxOutput": {MaxOutput: -1}, "RTROptions.Patience": {Patience: -1},
		} {
			if _, err := c.RTR.Open(t.Context(), first, o); resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		if _, err := c.RTR.Open(t.Context(), "", falcon.RTROptions{}); resilience.Of(err).Class != resilience.Misuse {
			t.Error(err)
		}
		if len(srv.Requests()) > 0 {
			t.Error("something was sent")
		}
		s := open(t, c, falcon.RTROptions{})
		if _, err := s.Wait(t.Context(), ""); resilience.Of(err).Class != resilience.Misuse {
			t.Error(err)
		}
	})
}
