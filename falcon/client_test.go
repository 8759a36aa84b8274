package falcon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud runs a test against a simulated Falcon with hosts ws-000 .. ws-<n-1>, in
// a bubble where time is virtual.
func cloud(t *testing.T, server falcontest.Config, change func(*falcon.Config), test func(*testing.T, *falcontest.Server, *falcon.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server.InMemory = true
		if server.Hosts == nil {
			server.Hosts = fleet(3)
		}
		srv, err := falcontest.NewServer(server)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		cfg := falcon.Config{
			ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret,
			Cloud: "us-1", HTTPClient: srv.Client(),
		}
		if change != nil {
			change(&cfg)
		}
		c, err := falcon.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		test(t, srv, c)
	})
}

func fleet(n int) []falcontest.Host {
	out := make([]falcontest.Host, n)
	for i := range out {
		out[i] = falcontest.Host{DeviceID: fmt.Sprintf("%032x", i+1), Hostname: fmt.Sprintf("ws-%03d", i)}
	}
	return out
}

const first = "00000000000000000000000000000001"

// count is how many requests reached a path.
func count(s *falcontest.Server, path string) (n int) {
	for _, r := range s.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

const tokenPath = "/oauth2/token"

func TestFindGetContainLift(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx := t.Context()
		var found []falcon.Host
		for h, err := range c.Hosts.Query(falcon.HostQuery{Filter: falcon.Equals("hostname", "ws-000")}).All(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, h)
		}
		if len(found) != 1 || found[0].ID != first || found[0].Status != falcon.Normal || found[0].LastSeen.IsZero() {
			t.Fatalf("found %+v", found)
		}
		if got, err := c.Hosts.Contain(ctx, first); err != nil || got.Already {
			t.Fatalf("%+v, %v", got, err)
		}
		h, err := c.Hosts.Get(ctx, first)
		if err != nil || h.Status != falcon.ContainPending {
			t.Errorf("%v, %v", h.Status, err)
		}
		// 409 is read back.
		if got, err := c.Hosts.Contain(ctx, first); err != nil || !got.Already || got.Status != falcon.ContainPending {
			t.Errorf("%+v, %v", got, err)
		}
		time.Sleep(2 * time.Second)
		if _, err := c.Hosts.LiftContainment(ctx, first); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if h, _ := srv.Host(first); h.Status != "normal" {
			t.Errorf("left %s", h.Status)
		}
		if n := len(srv.Effects()); n != 2 {
			t.Errorf("%d effects, want 2", n)
		}
	})
}

func TestQueryPagesAndResumes(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(25)}, nil, func(t *testing.T, _ *falcontest.Server, c *falcon.Client) {
		seen := map[string]bool{}
		cursor := ""
		for range 30 { // a new list each time, stopped after one row
			l := c.Hosts.Query(falcon.HostQuery{Limit: 10, Sort: "hostname.asc", Cursor: cursor})
			for h, err := range l.All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if seen[h.ID] {
					t.Errorf("%s came twice", h.ID)
				}
				seen[h.ID] = true
				break
			}
			cursor = l.Cursor()
		}
		if len(seen) != 25 {
			t.Errorf("saw %d of 25", len(seen))
		}
		for _, err := range c.Hosts.Query(falcon.HostQuery{Cursor: "not a cursor"}).All(t.Context()) {
			if !errors.Is(err, falcon.ErrCursor) {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestNewDoesNoIO(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, _ *falcon.Client) {
		if n := len(srv.Requests()); n != 0 {
			t.Errorf("New made %d requests", n)
		}
	})
}

func TestConfigErrorsNameTheField(t *testing.T) {
	ok := falcon.Config{ClientID: "id", ClientSecret: "secret"}
	for field, change := range map[string]func(*falcon.Config){
		"Config.ClientID":    func(c *falcon.Config) { c.ClientID = "" },
		"Config.Cloud":       func(c *falcon.Config) { c.Cloud = "eu1x" }, // A8: silently us-1 in gofalcon
		"Config.BaseURL":     func(c *falcon.Config) { c.BaseURL = "http://x" },
		"Config.Policy":      func(c *falcon.Config) { c.Policy.Attempt, c.Policy.Total = 9, 8 },
		"not both":           func(c *falcon.Config) { c.BaseURL, c.Cloud = "https://x", "us-1" },
		"Config.AuthPolicy:": func(c *falcon.Config) { c.AuthPolicy.Attempt, c.AuthPolicy.Total = 9, 8 },
	} {
		cfg := ok
		change(&cfg)
		if _, err := falcon.New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestConfigFromEnv(t *testing.T) {
	for _, name := range []string{"FALCON_CLIENT_ID", "FALCON_CLIENT_SECRET", "FALCON_CLOUD", "FALCON_MEMBER_CID"} {
		t.Setenv(name, "")
	}
	if _, err := falcon.ConfigFromEnv(); err == nil || !strings.Contains(err.Error(), "FALCON_CLIENT_SECRET") {
		t.Errorf("got %v", err)
	}
	t.Setenv("FALCON_CLIENT_ID", "id")
	t.Setenv("FALCON_CLIENT_SECRET", "hush-hush")
	t.Setenv("FALCON_CLOUD", "eu-1")
	cfg, err := falcon.ConfigFromEnv()
	if err != nil || cfg.Cloud != "eu-1" {
		t.Errorf("%+v, %v", cfg, err)
	}
	if s := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(s, "hush") {
		t.Errorf("the secret prints: %s", s)
	}
}

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// B1: effects are retried blindly. Contain is idempotent, and 503 does nothing.
func TestB1LostResponseContainsOnce(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: "/devices/entities/devices-actions", Count: 1})
		got, err := c.Hosts.Contain(t.Context(), first)
		if err != nil || !got.Already {
			t.Errorf("%+v, %v", got, err)
		}
		if n := len(srv.Effects()); n != 1 {
			t.Errorf("%d effects", n)
		}
	})
}

// B2: after the last retry the status, the messages and the trace id are gone.
func TestB2TheLastAnswerIsInTheError(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Path: "/devices", Status: 503, Header: http.Header{"X-Cs-Traceid": {"trace-9"}},
			Body: `{"meta":{},"errors":[{"code":503,"message":"upstream sad"}]}`,
		})
		_, err := c.Hosts.Get(t.Context(), first)
		api, ok := errors.AsType[*falcon.APIError](err)
		if !ok || api.Status != 503 || api.TraceID != "trace-9" || len(api.Messages) != 1 || api.Messages[0].Message != "upstream sad" {
			t.Errorf("got %v", err)
		}
		if e, ok := errors.AsType[*resilience.Error](err); !ok || len(e.Attempts) != 3 {
			t.Errorf("got %v", err)
		}
	})
}

// B3, B4: one header with a far epoch, or in milliseconds, takes the client out.
func TestB3B4RetryAfterIsCapped(t *testing.T) {
	for unit, scale := range map[string]int64{"seconds": 1, "milliseconds": 1000} {
		t.Run(unit, func(t *testing.T) {
			cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				for _, ahead := range []time.Duration{2 * time.Second, 24 * time.Hour} {
					at := fmt.Sprint(time.Now().Add(ahead).Unix() * scale)
					srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/devices", Status: 429, Count: 1, Header: http.Header{"X-Ratelimit-Retryafter": {at}}})
					begin := time.Now()
					_, err := c.Hosts.Get(t.Context(), first)
					took := time.Since(begin)
					if ahead < time.Minute && (err != nil || took < time.Second || took > 3*time.Second) {
						t.Errorf("a wait of 2 s: %v after %v", err, took)
					}
					if ahead > time.Minute && (err == nil || took != 0 || resilience.Of(err).Class != resilience.Throttled) {
						t.Errorf("a wait of a day: %v after %v", err, took)
					}
					if _, err := c.Hosts.Get(t.Context(), first); err != nil {
						t.Errorf("the next call: %v", err)
					}
				}
			})
		})
	}
}

func TestAnswersThatAreNotWhatTheSpecSays(t *testing.T) {
	const host = `{"device_id":"` + first + `","hostname":"ws-000"}`
	for _, tc := range []struct {
		name, kind, body string
		status           int
		class            resilience.Class
		ok               bool
	}{
		{"C1 errors inside a 200", "application/json", `{"resources":null,"errors":[{"code":500,"message":null}]}`, 200, resilience.Unavailable, false},
		{"C1 404 inside a 200", "application/json", `{"resources":[],"errors":[{"code":404,"message":"gone","id":"x"}]}`, 200, resilience.NotFound, false},
		{"C2 undeclared success status", "application/json", `{"resources":[` + host + `],"errors":[]}`, 207, 0, true},
		{"C3 html on 403", "text/html", `<html>denied</html>`, 403, resilience.Denied, false},
		{"C3 problem+json on 503", "application/problem+json", `{"title":"x"}`, 503, resilience.Unavailable, false},
		{"C4 401 without a body", "", ``, 401, resilience.Credential, false},
		{"C5 one field of another type", "application/json", `{"resources":[{"device_id":"` + first + `","hostname":"ws-000","groups":"none","last_seen":7}]}`, 200, 0, true},
		{"C6 empty body", "application/json", ``, 200, resilience.Malformed, false},
		{"C6 empty object", "application/json", `{}`, 200, resilience.Malformed, false},
		{"no resources", "application/json", `{"meta":{},"resources":null,"errors":null}`, 200, resilience.NotFound, false},
		{"not JSON", "text/html", `<html>maintenance</html>`, 200, resilience.Malformed, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/devices", Status: tc.status, Body: tc.body, Header: http.Header{"Content-Type": {tc.kind}}})
				h, err := c.Hosts.Get(t.Context(), first)
				if tc.ok {
					if err != nil || h.Hostname != "ws-000" {
						t.Errorf("%+v, %v", h, err)
					}
					return
				}
				if got := resilience.Of(err); err == nil || got.Class != tc.class {
					t.Errorf("got %v (%v), want %v", err, got.Class, tc.class)
				}
			})
		})
	}
}

// C5: one unreadable row loses the page.
func TestC5OneBadRowDoesNotLoseThePage(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		srv.Faults().Add(fault.Rule{
			Kind: fault.Status, Path: "/devices", Status: 200, Header: http.Header{"Content-Type": {"application/json"}},
			Body: `{"meta":{"pagination":{"total":3}},"resources":[{"device_id":"a"},"nonsense",{"device_id":"c"}]}`,
		})
		var ids []string
		var bad int
		for h, err := range c.Hosts.Query(falcon.HostQuery{}).All(t.Context()) {
			if _, ok := errors.AsType[*falcon.RowError](err); ok {
				bad++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, h.ID)
		}
		if fmt.Sprint(ids) != "[a c]" || bad != 1 {
			t.Errorf("rows %v, %d bad", ids, bad)
		}
	})
}

// A list that lost rows must say so.
func TestAListThatIsShortSaysSo(t *testing.T) {
	for name, body := range map[string]string{
		"an error beside the rows":   `{"meta":{},"resources":[{"device_id":"a"}],"errors":[{"code":500,"message":"shard 2 of 3 failed"}]}`,
		"a total and no rows":        `{"meta":{"pagination":{"total":3}},"resources":null}`,
		"neither meta nor resources": `{}`,
	} {
		cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/devices", Status: 200, Body: body})
			var errs []error
			for _, err := range c.Hosts.Query(falcon.HostQuery{}).All(t.Context()) {
				if err != nil {
					errs = append(errs, err)
				}
			}
			if len(errs) != 1 {
				t.Errorf("%s: %v", name, errs)
			}
		})
	}
}

// C7: gofalcon's parameters carry a hidden timeout of 30 s.
func TestC7NoHiddenTimeout(t *testing.T) {
	cloud(t, falcontest.Config{}, func(cfg *falcon.Config) { cfg.Policy.Attempt, cfg.Policy.Total = time.Minute, 2*time.Minute },
		func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Latency, Delay: 45 * time.Second, Path: "/devices"})
			if _, err := c.Hosts.Get(t.Context(), first); err != nil {
				t.Error(err)
			}
		})
}

// Any gofalcon service works under the client's policy, with gofalcon's own types.
func TestTransportCarriesGofalcon(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		svc := hosts.New(c.Transport(), nil)
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/devices", Count: 1})
		ok, err := svc.QueryDevicesByFilter(hosts.NewQueryDevicesByFilterParamsWithContext(t.Context()))
		if err != nil || len(ok.Payload.Resources) != 3 {
			t.Fatalf("%v, %v", ok, err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/devices", Status: 403, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"errors":[{"code":403,"message":"no"}]}`})
		_, err = svc.QueryDevicesByFilter(hosts.NewQueryDevicesByFilterParamsWithContext(t.Context()))
		if _, ok := errors.AsType[*hosts.QueryDevicesByFilterForbidden](err); !ok {
			t.Errorf("gofalcon's typed error is lost: %v", err)
		}
		if api, ok := errors.AsType[*falcon.APIError](err); !ok || api.Status != 403 {
			t.Errorf("got %v", err)
		}
	})
}
