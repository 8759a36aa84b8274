package edr_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestTypedErrorsSayWhatToDo(t *testing.T) {
	contain := func(t *testing.T, w *world, q edr.Query) error {
		t.Helper()
		_, err := w.fleet.Contain(t.Context(), q, intent)
		if f, d := w.effects(); f+d > 0 {
			t.Errorf("effects: falcon %d, defender %d", f, d)
		}
		if err == nil {
			t.Fatal("no error")
		}
		return err
	}
	t.Run("wrong credential at the only vendor that has the host", func(t *testing.T) {
		run(t, setup{falcon: func(c *falcon.Config) { c.ClientSecret = "wrong" }}, func(t *testing.T, w *world) {
			w.Azure.RemoveMachine(twin.DefenderID(1))
			err := contain(t, w, host)
			api, ok := errors.AsType[*falcon.APIError](err)
			if !ok || !strings.Contains(api.Hint, "Config.ClientSecret") || !errors.Is(err, edr.ErrHostNotFound) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("wrong credential at the preferred vendor: contained by the next, and said", func(t *testing.T) {
		run(t, setup{falcon: func(c *falcon.Config) { c.ClientSecret = "wrong" }}, func(t *testing.T, w *world) {
			res, err := w.fleet.Contain(t.Context(), host, intent)
			if err != nil || res.By() != "defender" || res.Complete() || resilience.Of(res.Gaps[0].Err).Class.Fault() != resilience.Auth {
				t.Errorf("%v, %v, %v", res.By(), res.Gaps, err)
			}
		})
	})
	t.Run("a refused permission is not gone around", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Status, Status: 403, Path: actionsPath})
			if err := contain(t, w, host); resilience.Of(err).Class != resilience.Denied {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("unknown host", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			if err := contain(t, w, edr.Hostname("nobody")); !errors.Is(err, edr.ErrHostNotFound) || !strings.Contains(err.Error(), "check the name") {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("ambiguous name at one vendor", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.AddHost(falcontest.Host{DeviceID: fmt.Sprintf("%032x", 99), Hostname: "WS-001"})
			err := contain(t, w, host)
			amb, ok := errors.AsType[*edr.AmbiguousHostError](err)
			if !ok || !errors.Is(err, edr.ErrAmbiguousHost) || len(amb.Candidates) != 3 || !strings.Contains(err.Error(), "edr.Native") {
				t.Errorf("got %v", err)
			}
			if _, err := w.fleet.Contain(t.Context(), edr.Native("falcon/us-1", twin.FalconID(1)), intent); err != nil {
				t.Errorf("by its own id: %v", err)
			}
		})
	})
	t.Run("same name, another machine", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			m, _ := w.Azure.Machine(twin.DefenderID(1))
			m.IPAddresses = []azuretest.IPAddress{{MACAddress: "001B21000001"}}
			w.Azure.AddMachine(m)
			if err := contain(t, w, host); !errors.Is(err, edr.ErrAmbiguousHost) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("cancelled context", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			w.Azure.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			begin := time.Now()
			_, err := w.fleet.Contain(ctx, host, intent)
			if !errors.Is(err, context.Canceled) || time.Since(begin) != time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("the caller's deadline", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if res, err := w.fleet.Contain(ctx, host, intent); err != nil || res.By() != "defender" {
				t.Errorf("a blackholed primary ate the backup's time: %v", err)
			}
		})
	})
	t.Run("both down", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			w.Falcon.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			w.Azure.Faults().Add(fault.Rule{Kind: fault.Blackhole})
			begin := time.Now()
			_, err := w.fleet.Contain(t.Context(), host, intent)
			if err == nil || errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 30*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("read-only", func(t *testing.T) {
		run(t, setup{
			falcon: func(c *falcon.Config) { c.ReadOnly = true }, azure: func(c *azure.Config) { c.ReadOnly = true },
		}, func(t *testing.T, w *world) {
			if err := contain(t, w, host); !errors.Is(err, resilience.ErrReadOnly) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("closed", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			_ = w.falcon.Close(t.Context())
			_ = w.azure.Close(t.Context())
			if err := contain(t, w, host); !errors.Is(err, resilience.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("arguments", func(t *testing.T) {
		run(t, setup{}, func(t *testing.T, w *world) {
			for want, call := range map[string]func() error{
				"edr.Hostname":   func() error { return contain(t, w, edr.Query{}) },
				"Query.Provider": func() error { return contain(t, w, edr.Native("nowhere", "x")) },
				"Intent.Reason": func() error {
					_, err := w.fleet.Contain(t.Context(), host, edr.Intent{ID: "x", Actor: "y"})
					return err
				},
			} {
				if err := call(); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v", want, err)
				}
			}
		})
	})
}
