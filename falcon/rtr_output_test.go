package falcon_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// long is text of n characters that shows every loss and every repetition.
func long(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < 2*n; i++ {
		fmt.Fprintf(&b, "é%d\n", i)
	}
	return string([]rune(b.String())[:n])
}

func TestRTROutputIsStitchedInOrder(t *testing.T) {
	for _, own := range []bool{false, true} {
		for _, n := range []int{0, 1, 9, 10, 11, 20, 999} {
			cloud(t, falcontest.Config{RTRPart: 10, RTROwnOrder: own}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				want := falcontest.RTRResult{Stdout: long(n), Stderr: long(n / 2), Takes: time.Minute}
				writes(srv, want)
				begin := time.Now()
				out, err := c.RTR.Run(t.Context(), first, "ls")
				if err != nil || out.Stdout != want.Stdout || out.Stderr != want.Stderr || !out.Complete {
					t.Errorf("%d, own order %v: %d and %d, %v", n, own, len(out.Stdout), len(out.Stderr), err)
				}
				if took := time.Since(begin); took > 80*time.Second { // parts that are there are not waited for
					t.Errorf("%d, own order %v: after %v", n, own, took)
				}
			})
		}
	}
}

// scripted answers the questions for a command's output one after the other: the
// part that must be asked for, and what is said of it.
type scripted struct {
	asked int
	said  string
}

func says(stdout, number string, complete bool) string {
	if number != "" {
		number = `,"sequence_id":` + number
	}
	return fmt.Sprintf(`{"stdout":%q,"stderr":"","complete":%v%s}`, stdout, complete, number)
}

func TestRTRPartsThatAreNotAsTheyShould(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script []scripted
		want   string
		err    error
	}{
		{"numbers with gaps are followed", []scripted{{0, says("a", "4", false)}, {4, says("b", "9", false)}, {9, says("c", "", true)}}, "abc", nil},
		{"late", []scripted{{0, says("", "", false)}, {0, says("", "0", false)}, {0, says("a", "1", false)}, {1, says("", "", false)}, {1, says("", "1", false)}, {1, says("b", "", true)}}, "ab", nil},
		{"repeated", []scripted{{0, says("a", "1", false)}, {1, says("a", "1", false)}, {1, says("b", "2", false)}, {2, says("a", "1", false)}, {2, says("c", "", true)}}, "abc", nil},
		{"empty in the middle", []scripted{{0, says("a", "1", false)}, {1, says("", "2", false)}, {2, says("c", "", true)}}, "ac", nil},
		{"empty at the end", []scripted{{0, says("a", "1", false)}, {1, says("", "", true)}}, "a", nil},
		{"empty at the beginning", []scripted{{0, says("", "1", false)}, {1, says("b", "2", true)}}, "b", nil},
		{"the last one has a number", []scripted{{0, says("a", "1", true)}}, "a", nil},
		{"by their own numbers", []scripted{{0, says("a", "0", false)}, {1, says("b", "1", false)}, {2, says("c", "2", true)}}, "abc", nil},
		{"own, the last one without", []scripted{{0, says("a", "", false)}, {1, says("b", "1", false)}, {2, says("c", "", true)}}, "abc", nil},
		{"own, repeated", []scripted{{0, says("a", "0", false)}, {1, says("b", "1", false)}, {2, says("b", "1", false)}, {2, says("a", "0", false)}, {2, says("c", "2", true)}}, "abc", nil},
		{"own, known later to be the last", []scripted{{0, says("a", "0", false)}, {1, says("b", "1", false)}, {2, says("b", "1", true)}}, "ab", nil},
		{"own, a hole", []scripted{{0, says("a", "0", false)}, {1, says("c", "2", false)}}, "a", falcon.ErrRTRGap},
		{"own, a hole before the last", []scripted{{0, says("a", "0", false)}, {1, says("c", "2", true)}}, "a", falcon.ErrRTRGap},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				for _, a := range tc.script {
					srv.Faults().Add(fault.Rule{
						Kind: fault.Status, Status: 200, Count: 1, Method: http.MethodGet, Path: rtrCommand, Body: `{"meta":{},"resources":[` + a.said + `]}`,
					})
				}
				out, err := c.RTR.Run(t.Context(), first, "ls")
				if out.Stdout != tc.want || !errors.Is(err, tc.err) || out.Complete != (tc.err == nil) {
					t.Errorf("%+v, %v", out, err)
				}
				i := 0
				for _, r := range srv.Requests() {
					if r.Method != http.MethodGet || r.Path != rtrCommand {
						continue
					}
					if i >= len(tc.script) || r.Query.Get("sequence_id") != fmt.Sprint(tc.script[i].asked) {
						t.Fatalf("question %d was for part %s", i, r.Query.Get("sequence_id"))
					}
					i++
				}
			})
		})
	}
}

// The limit is an error, not a shorter output.
func TestRTROutputIsBounded(t *testing.T) {
	for _, limit := range []int{999, 1000} {
		cloud(t, falcontest.Config{RTRPart: 100}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			writes(srv, falcontest.RTRResult{Stdout: strings.Repeat("x", 600), Stderr: strings.Repeat("y", 400)})
			s := open(t, c, falcon.RTROptions{MaxOutput: limit})
			out, err := s.Run(t.Context(), "ls")
			if limit == 1000 {
				if err != nil || !out.Complete {
					t.Errorf("at the limit: %v", err)
				}
				return
			}
			if !errors.Is(err, falcon.ErrRTROutput) || out.Complete || len(out.Stdout) != 500 || len(out.Stderr) != 400 || !strings.Contains(err.Error(), "999 bytes") {
				t.Errorf("%d and %d, %v", len(out.Stdout), len(out.Stderr), err)
			}
		})
	}
}

func TestRTRAnswersForAnotherSession(t *testing.T) {
	for _, tc := range []struct{ method, path, body string }{
		{http.MethodPost, rtrSessions, `{"session_id":"s","device_id":"another"}`},
		{http.MethodPost, rtrCommand, `{"session_id":"another","cloud_request_id":"r"}`},
		{http.MethodGet, rtrCommand, `{"session_id":"another","complete":true,"stdout":"not yours","stderr":""}`},
	} {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 201, Method: tc.method, Path: tc.path, Body: `{"meta":{},"resources":[` + tc.body + `]}`})
			out, err := c.RTR.Run(t.Context(), first, "ls")
			if err == nil || !strings.Contains(err.Error(), "another") || out.Stdout != "" || out.Complete {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}

// An answer that does not say whether there is more is not the end.
func TestRTRCompleteMustBeSaid(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Method: http.MethodGet, Path: rtrCommand, Body: `{"meta":{},"resources":[{"stdout":"a"}]}`})
		if out, err := c.RTR.Run(t.Context(), first, "ls"); err == nil || out.Complete {
			t.Errorf("%+v, %v", out, err)
		}
	})
}
