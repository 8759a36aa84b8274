package azure_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// requestsOf counts the requests of a method whose path ends so.
func requestsOf(srv *azuretest.Server, method, suffix string) (n int) {
	for _, r := range srv.Requests() {
		if r.Method == method && strings.HasSuffix(r.Path, suffix) {
			n++
		}
	}
	return n
}

// looks are the actions that only look, by the end of their paths.
func looks(c *azure.Client) map[string]func(context.Context) (azure.ActionResult, error) {
	return map[string]func(context.Context) (azure.ActionResult, error){
		"/runAntiVirusScan": func(ctx context.Context) (azure.ActionResult, error) {
			return c.Defender.Scan(ctx, first, azure.Scan{Comment: "x"})
		},
		"/collectInvestigationPackage": func(ctx context.Context) (azure.ActionResult, error) {
			return c.Defender.CollectPackage(ctx, first, "x")
		},
	}
}

func TestScanAndCollectAreNeverSentTwice(t *testing.T) {
	for _, rule := range []fault.Rule{
		{Kind: fault.LoseResponse}, {Kind: fault.Status, Status: 503}, {Kind: fault.Blackhole}, {Kind: fault.Reset},
	} {
		for _, path := range []string{"/runAntiVirusScan", "/collectInvestigationPackage"} {
			t.Run(rule.Kind.String()+path, func(t *testing.T) {
				cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
					rule.Method, rule.Path = http.MethodPost, "/api/machines"
					srv.Faults().Add(rule)
					_, err := looks(c)[path](t.Context())
					if f := resilience.Of(err); err == nil || f.Sent != resilience.MaybeSent {
						t.Errorf("got %v (%v)", err, f.Sent)
					}
					if n := requestsOf(srv, http.MethodPost, path); n != 1 {
						t.Errorf("%d POSTs", n)
					}
				})
			})
		}
	}
}

// The lost answer is the common case: asking again finds what it did.
func TestAScanUnderWayIsTheResult(t *testing.T) {
	for _, path := range []string{"/runAntiVirusScan", "/collectInvestigationPackage"} {
		cloud(t, azuretest.Config{ActionTime: time.Minute}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			ask := looks(c)[path]
			a, err := ask(t.Context())
			if err != nil || a.Already || !a.Action.Status.Open() {
				t.Fatalf("%+v, %v", a, err)
			}
			again, err := ask(t.Context())
			if err != nil || !again.Already || again.Action.ID != a.Action.ID || requestsOf(srv, http.MethodPost, path) != 1 {
				t.Errorf("%+v, %v, %d POSTs", again, err, requestsOf(srv, http.MethodPost, path))
			}
			time.Sleep(2 * time.Minute) // one that has ended is no reason not to look again
			if a, err := ask(t.Context()); err != nil || a.Already || len(srv.Actions()) != 2 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

// Between the read and the POST somebody else may ask for the same.
func TestActiveRequestAlreadyExistsIsSuccessInProgress(t *testing.T) {
	for _, path := range []string{"/runAntiVirusScan", "/collectInvestigationPackage"} {
		cloud(t, azuretest.Config{ActionTime: time.Minute}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			ask := looks(c)[path]
			if _, err := ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machineactions", Body: `{"value":[]}`, Count: 1})
			a, err := ask(t.Context())
			if err != nil || !a.Already || a.Action.ID != srv.Actions()[0].ID || len(srv.Actions()) != 1 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

func TestAnotherActionInProgressIsBusy(t *testing.T) {
	cloud(t, azuretest.Config{ActionTime: time.Minute}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		quick, err := c.Defender.Scan(t.Context(), first, azure.Scan{Comment: "x"})
		if err != nil || quick.Action.Scope != "Quick" {
			t.Fatalf("%+v, %v", quick, err)
		}
		busy := func(_ azure.ActionResult, err error) {
			t.Helper()
			if b, ok := errors.AsType[*azure.BusyError](err); !ok || b.Action.ID != quick.Action.ID || resilience.Of(err).Sent != resilience.Answered {
				t.Errorf("got %v", err)
			}
		}
		busy(c.Defender.Scan(t.Context(), first, azure.Scan{Comment: "x", Type: azure.FullScan})) // a quick one is not what is wanted
		busy(c.Defender.CollectPackage(t.Context(), first, "x"))
		busy(c.Defender.Isolate(t.Context(), first, azure.Isolate{Comment: "x"}))
		second := srv.Machines()[1].ID
		full, err := c.Defender.Scan(t.Context(), second, azure.Scan{Comment: "x", Type: azure.FullScan})
		if err != nil {
			t.Fatal(err)
		}
		if a, err := c.Defender.Scan(t.Context(), second, azure.Scan{Comment: "x"}); err != nil || !a.Already || a.Action.ID != full.Action.ID {
			t.Errorf("a full scan is more than a quick one: %+v, %v", a, err)
		}
	})
}

// The refusal proves that nothing was done, also when what follows fails.
func TestWhatIsInProgressCannotBeRead(t *testing.T) {
	cloud(t, azuretest.Config{ActionTime: time.Minute}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		for name, ask := range looks(c) {
			active := `{"error":{"code":"ActiveRequestAlreadyExists","message":"Action is already in progress","target":"x"}}`
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machineactions", Body: `{"value":[]}`, Count: 1})
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 400, Method: http.MethodPost, Path: "/api/machines", Body: active, Count: 1})
			lost := srv.Faults().Add(fault.Rule{Kind: fault.Reset, Path: "/api/machineactions"})
			_, err := ask(t.Context())
			if f := resilience.Of(err); f.Sent != resilience.Answered || f.Class != resilience.Rejected {
				t.Errorf("%s: %v (%+v)", name, err, f)
			}
			lost()
			// With nothing in progress any more, Defender's own word stands.
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 400, Method: http.MethodPost, Path: "/api/machines", Body: active, Count: 1})
			_, err = ask(t.Context())
			if api, ok := errors.AsType[*azure.APIError](err); !ok || api.Code != "ActiveRequestAlreadyExists" {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A row that cannot be read may be the scan that is under way.
func TestAnUnreadableActionStopsTheScan(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machineactions", Body: `{"value":[{"type":"RunAntiVirusScan"}]}`})
		_, err := c.Defender.Scan(t.Context(), first, azure.Scan{Comment: "x"})
		if _, ok := errors.AsType[*azure.RowError](err); !ok || resilience.Of(err).Sent != resilience.NotSent || len(srv.Actions()) != 0 {
			t.Errorf("got %v, %d actions", err, len(srv.Actions()))
		}
	})
}

func TestScanMisuse(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		d, ctx := c.Defender, t.Context()
		scan := func(id string, s azure.Scan) error { _, err := d.Scan(ctx, id, s); return err }
		collect := func(id, comment string) error { _, err := d.CollectPackage(ctx, id, comment); return err }
		find := func(ip netip.Addr, at time.Time) error { _, err := d.FindByIP(ctx, ip, at); return err }
		_, noAction := d.PackageURI(ctx, " ")
		_, noWait := d.Wait(ctx, "")
		for want, err := range map[string]error{
			"Scan.Comment":           scan(first, azure.Scan{}),
			`Scan.Type "quick"`:      scan(first, azure.Scan{Comment: "x", Type: "quick"}),
			"scan: the id":           scan("", azure.Scan{Comment: "x"}),
			"the comment is empty":   collect(first, ""),
			"collectpackage: the id": collect("", "x"),
			"packageuri: the id":     noAction,
			"get: the id":            noWait,
			"ip invalid IP":          find(netip.Addr{}, time.Time{}),
			"without a zone":         find(netip.MustParseAddr("fe80::1%eth0"), time.Time{}),
			"the last 30 days":       find(netip.MustParseAddr("10.0.0.1"), time.Now().AddDate(0, 0, -31)),
		} {
			if err == nil || resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Errorf("sent %v", srv.Requests())
		}
	})
}

// The value is a JSON string within the JSON string, and a 404 as long as there is
// none: of an action that goes on, one that failed, and one that never was.
func TestPackageURI(t *testing.T) {
	cloud(t, azuretest.Config{ActionTime: time.Minute}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		uri := func(id string) (string, error) {
			time.Sleep(time.Hour / 100) // 120 an hour
			return c.Defender.PackageURI(ctx, id)
		}
		a, err := c.Defender.CollectPackage(ctx, first, "x")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Defender.PackageURI(ctx, a.Action.ID)
		if open, ok := errors.AsType[*azure.ActionError](err); !ok || !open.Action.Status.Open() || resilience.Of(err).Class != resilience.Conflict {
			t.Errorf("got %v", err)
		}
		if got, err := uri(a.Action.ID); err != nil || !strings.HasPrefix(got, "https://") || strings.ContainsAny(got, `"\`) {
			t.Errorf("got %q, %v", got, err)
		}
		srv.FailNextAction("Failed")
		b, err := c.Defender.CollectPackage(ctx, first, "x")
		if err != nil {
			t.Fatal(err)
		}
		_, err = uri(b.Action.ID)
		if failed, ok := errors.AsType[*azure.ActionError](err); !ok || failed.Action.Status != azure.ActionFailed {
			t.Errorf("got %v", err)
		}
		if _, err = uri("4711"); !errors.Is(err, azure.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		for body, want := range map[string]string{
			`{"value":"https://plain.example/x"}`: "",
			`{"value":"\"not closed"}`:            "not a JSON string",
			`{"value":"\"ftp://h/secret\""}`:      "no https address",
			`{}`:                                  "no https address",
		} {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machineactions", Body: body, Count: 1})
			_, err := uri(a.Action.ID)
			if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
}

// Two a minute: more are refused here before Defender has to.
func TestPackageURIKeepsItsOwnQuota(t *testing.T) {
	cloud(t, azuretest.Config{}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		var refused int
		for range 4 {
			if _, err := c.Defender.PackageURI(t.Context(), "4711"); errors.Is(err, resilience.ErrQuota) {
				refused++
			}
		}
		if n := requestsOf(srv, http.MethodGet, "/GetPackageUri"); n > 2 || refused == 0 {
			t.Errorf("%d calls, %d refused", n, refused)
		}
	})
}

func TestFindByIP(t *testing.T) {
	machines := fleet(3)
	machines[1].LastIPAddress = "10.0.0.7"
	machines[2].IPAddresses = []azuretest.IPAddress{{IPAddress: "2001:db8::7"}}
	cloud(t, azuretest.Config{Machines: machines}, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		ctx := t.Context()
		for _, row := range []struct {
			ip   string
			at   time.Time
			want string
		}{
			{"10.0.0.7", time.Time{}, machines[1].ID},
			{"::ffff:10.0.0.7", time.Now(), machines[1].ID},
			{"2001:db8::7", time.Now(), machines[2].ID},
			{"10.0.0.8", time.Now(), ""},
			{"10.0.0.7", time.Now().AddDate(0, 0, -3), ""},
		} {
			got, err := c.Defender.FindByIP(ctx, netip.MustParseAddr(row.ip), row.at)
			id := ""
			if len(got) > 0 {
				id = got[0].ID
			}
			if err != nil || id != row.want || len(got) > 1 {
				t.Errorf("%s: %+v, %v", row.ip, got, err)
			}
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 200, Path: "/api/machines", Body: `{"value":[{"id":7},{"osPlatform":"x"},{"id":"b"}]}`, Count: 1})
		got, err := c.Defender.FindByIP(ctx, netip.MustParseAddr("10.0.0.7"), time.Time{})
		if _, ok := errors.AsType[*azure.RowError](err); !ok || len(got) != 2 {
			t.Errorf("one bad row took the others along: %+v, %v", got, err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 404, Path: "/api/machines", Count: 1})
		if got, err := c.Defender.FindByIP(ctx, netip.MustParseAddr("10.0.0.7"), time.Time{}); len(got) != 0 || err != nil {
			t.Errorf("none is no error: %+v, %v", got, err)
		}
	})
}
