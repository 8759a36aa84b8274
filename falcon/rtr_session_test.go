package falcon_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestRTRSessionIsClosedWhenTheCallerLeaves(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Takes: time.Hour})
		for _, leave := range []func(context.Context) (context.Context, context.CancelFunc){
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Second)
			},
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(time.Second, cancel)
				return ctx, cancel
			},
		} {
			ctx, cancel := leave(t.Context())
			begin := time.Now()
			_, err := c.RTR.Run(ctx, first, "ps")
			if !errors.Is(err, ctx.Err()) || time.Since(begin) != time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			cancel()
		}
		// Even then it does not wait for ever.
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Method: http.MethodDelete, Path: rtrSessions})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := c.RTR.Run(ctx, first, "ps"); err == nil || !strings.Contains(err.Error(), "not closed") || time.Since(begin) != 11*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		all := srv.RTRSessions()
		if len(all) != 3 || all[0].Open || all[1].Open || !all[2].Open {
			t.Errorf("%+v", all)
		}
	})
}

// The output is there, though the session could not be closed.
func TestRTRCloseThatFailsIsTold(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Stdout: "done"})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 500, Method: http.MethodDelete, Path: rtrSessions, Count: 3})
		if out, err := c.RTR.Run(t.Context(), first, "ps"); err == nil || !out.Complete || out.Stdout != "done" {
			t.Errorf("%+v, %v", out, err)
		}
		s := open(t, c, falcon.RTROptions{})
		remove := srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 403, Method: http.MethodDelete, Path: rtrSessions})
		if err := s.Close(t.Context()); err == nil || !srv.RTRSessions()[0].Open {
			t.Errorf("%v, %+v", err, srv.RTRSessions())
		}
		remove()
		before := requests(srv, http.MethodDelete, rtrSessions)
		for range 2 { // the second has nothing to do
			err := s.Close(t.Context())
			if n := requests(srv, http.MethodDelete, rtrSessions); err != nil || srv.RTRSessions()[0].Open || n != before+1 {
				t.Errorf("%v, %+v, %d times", err, srv.RTRSessions(), n-before)
			}
		}
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Method: http.MethodDelete, Path: rtrSessions, Count: 1})
		if err := open(t, c, falcon.RTROptions{}).Close(t.Context()); err != nil { // gone the second time
			t.Error(err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 404, Method: http.MethodDelete, Path: rtrSessions, Count: 1})
		if err := open(t, c, falcon.RTROptions{}).Close(t.Context()); err != nil {
			t.Error(err)
		}
		// The time for closing is ours, not the caller's.
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Method: http.MethodDelete, Path: rtrSessions})
		if out, err := c.RTR.Run(t.Context(), first, "ps"); err == nil || errors.Is(err, context.DeadlineExceeded) || !out.Complete {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

// Falcon gives one API client one session a host: who closes first must not end the
// commands of the others.
func TestRTRSharedSessionIsClosedByTheLast(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.RTRCommand(func(_, command string) falcontest.RTRResult {
			if command == "ps" {
				return falcontest.RTRResult{Stdout: "short"}
			}
			return falcontest.RTRResult{Stdout: "long", Takes: time.Minute}
		})
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				command, want := "ps", "short"
				if i == 7 {
					command, want = "ls", "long"
				}
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				if out, err := c.RTR.Run(t.Context(), first, command); err != nil || out.Stdout != want {
					t.Errorf("%+v, %v", out, err)
				}
			})
		}
		all.Wait()
		if s := srv.RTRSessions(); s[len(s)-1].Open || requests(srv, http.MethodDelete, rtrSessions) != len(s) {
			t.Errorf("%+v", s)
		}
		one, two := open(t, c, falcon.RTROptions{}), open(t, c, falcon.RTROptions{})
		n := len(srv.RTRSessions())
		for range 2 { // twice by one of them is once
			if err := one.Close(t.Context()); err != nil || one.ID != two.ID || !srv.RTRSessions()[n-1].Open {
				t.Errorf("%v, %+v", err, srv.RTRSessions()[n-1])
			}
		}
		if err := two.Close(t.Context()); err != nil || srv.RTRSessions()[n-1].Open {
			t.Errorf("%v, %+v", err, srv.RTRSessions()[n-1])
		}
	})
}

// Falcon may take the thirty seconds that it is given, an attempt of the policy ends
// after ten.
func TestRTROpenWaitsForTheHost(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		for connect, slow := range map[time.Duration]time.Duration{0: 29 * time.Second, 89500 * time.Millisecond: 89 * time.Second} {
			remove := srv.Faults().Add(fault.Rule{Kind: fault.Latency, Delay: slow, Path: rtrSessions, Method: http.MethodPost})
			before := requests(srv, http.MethodPost, rtrSessions)
			s, err := c.RTR.Open(t.Context(), first, falcon.RTROptions{Connect: connect})
			if err != nil || requests(srv, http.MethodPost, rtrSessions) != before+1 {
				t.Fatalf("%v: %v", connect, err)
			}
			remove()
			all := srv.Requests()
			want := map[time.Duration]string{0: "30"}[connect]
			if want == "" {
				want = "90"
			}
			if got := all[len(all)-1].Query.Get("timeout"); got != want {
				t.Errorf("timeout=%s", got)
			}
			_ = s.Close(t.Context())
		}
		// Another caller for the host waits for its turn, and no longer than it wants.
		srv.Faults().Add(fault.Rule{Kind: fault.Latency, Delay: 20 * time.Second, Path: rtrSessions, Method: http.MethodPost})
		done := make(chan error)
		go func() { _, err := c.RTR.Open(t.Context(), first, falcon.RTROptions{}); done <- err }()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := c.RTR.Open(ctx, first, falcon.RTROptions{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// An answer that was lost is asked for again: it is the same session.
func TestRTROpenIsIdempotent(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: rtrSessions, Count: 1})
		s := open(t, c, falcon.RTROptions{})
		if all := srv.RTRSessions(); len(all) != 1 || all[0].ID != s.ID || s.HostID != first || s.WorkingDir != `C:\` || s.Created.IsZero() || len(s.Raw) == 0 {
			t.Errorf("%+v, %+v", s, all)
		}
		// A session beside an error, that nobody would close.
		_ = s.Close(t.Context())
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: 201, Method: http.MethodPost, Path: rtrSessions,
			Body: `{"meta":{},"resources":[{"session_id":"half"}],"errors":[{"code":500,"message":"half a session"}]}`,
		})
		deleted := requests(srv, http.MethodDelete, rtrSessions)
		if _, err := c.RTR.Open(t.Context(), first, falcon.RTROptions{}); err == nil || requests(srv, http.MethodDelete, rtrSessions) != deleted+1 {
			t.Errorf("%v", err)
		}
	})
}

func TestRTROfAHostThatIsOffline(t *testing.T) {
	hosts := fleet(2)
	hosts[0].OnlineState = "offline"
	cloud(t, falcontest.Config{Hosts: hosts}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		writes(srv, falcontest.RTRResult{Stdout: "back", Takes: time.Minute})
		if _, err := c.RTR.Run(t.Context(), first, "ps"); !errors.Is(err, falcon.ErrHostOffline) || len(srv.RTRSessions()) != 0 {
			t.Errorf("%v, %+v", err, srv.RTRSessions())
		}
		s := open(t, c, falcon.RTROptions{QueueOffline: true})
		begin := time.Now()
		out, err := s.Run(t.Context(), "ps")
		if err != nil || !s.OfflineQueued || !out.QueuedOffline || out.Complete || out.RequestID == "" || time.Since(begin) != 0 {
			t.Fatalf("%+v, %+v, %v after %v", s, out, err, time.Since(begin))
		}
		time.Sleep(time.Hour)
		srv.AddHost(falcontest.Host{DeviceID: first})
		if out, err = s.Wait(t.Context(), out.RequestID); err != nil || out.Stdout != "back" || out.QueuedOffline {
			t.Errorf("%+v, %v", out, err)
		}
		// It goes offline after the session was opened: closing would take the command back.
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Status: 201, Method: http.MethodPost, Path: rtrCommand,
			Body: `{"meta":{},"resources":[{"cloud_request_id":"r","queued_command_offline":true}]}`,
		})
		if out, err := c.RTR.Run(t.Context(), first, "ps"); !errors.Is(err, falcon.ErrHostOffline) {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func TestRTRRefusals(t *testing.T) {
	cloud(t, falcontest.Config{Scopes: []string{"devices:read"}}, nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
		if _, err := c.RTR.Run(t.Context(), first, "ps"); resilience.Of(err).Class != resilience.Denied {
			t.Error(err)
		}
	})
	cloud(t, falcontest.Config{}, func(cfg *falcon.Config) { cfg.ReadOnly = true }, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		if _, err := c.RTR.Run(t.Context(), first, "ps"); !errors.Is(err, falcon.ErrReadOnly) || len(srv.Requests()) > 0 {
			t.Error(err)
		}
	})
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
		if _, err := c.RTR.Run(t.Context(), "unknown", "ps"); !errors.Is(err, falcon.ErrNotFound) || errors.Is(err, falcon.ErrHostOffline) {
			t.Error(err)
		}
	})
}
