package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover/edr"
	"github.com/jurymast/jurymast/failover/twin"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSimulatedKeepsItsPromises(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out, logs bytes.Buffer
	if err := run(t.Context(), []string{"-json"}, &out, &logs); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var r report
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("the last line is no JSON object: %v", err)
	}
	if !r.Held || r.Failovers != 1 || r.Contained[twin.Hostname(second)] != "defender" {
		t.Errorf("got %+v", r)
	}
	for line := range strings.Lines(logs.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a structured log line: %s", line)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A report must be able to say that a promise was broken.
func TestBrokenPromisesAreSaid(t *testing.T) {
	clouds, err := twin.New(twin.Config{Hosts: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer clouds.Close()
	var r report
	r.check(clouds)
	if err := r.broken(); err == nil || !strings.Contains(err.Error(), "0 times falcon contain") || r.Held {
		t.Errorf("got %v", err)
	}
}

// try starts the service over its own clouds and returns a way to ask it.
func try(t *testing.T, change func(*config, *twin.Twin), test func(clouds *twin.Twin, ask func(method, path, body string) (*http.Response, problem))) {
	t.Helper()
	cfg := config{state: t.TempDir(), log: slog.New(slog.DiscardHandler), reconcile: 200 * time.Millisecond}
	clouds, err := cfg.simulated()
	if err != nil {
		t.Fatal(err)
	}
	defer clouds.Close()
	if change != nil {
		change(&cfg, clouds)
	}
	app, err := start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := app.close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	test(clouds, func(method, path, body string) (*http.Response, problem) {
		w := httptest.NewRecorder()
		app.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		var p problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Errorf("%s %s: %v: %s", method, path, err, w.Body)
		}
		return w.Result(), p
	})
}

const intent = `{"id": "1", "actor": "test", "reason": "test"}`

func TestErrorsSayWhatIsKnownOfTheEffect(t *testing.T) {
	dead := fault.Rule{Kind: fault.Refuse}
	for name, tc := range map[string]struct {
		change     func(*config, *twin.Twin)
		path, body string
		code       int
		want       problem
	}{
		"read-only": {
			change: func(c *config, _ *twin.Twin) { c.falcon.ReadOnly, c.azure.ReadOnly = true, true },
			code:   http.StatusForbidden, want: problem{Error: "read_only", Effect: "none", Missing: make([]gap, 1)},
		},
		"guarded": {
			change: func(c *config, _ *twin.Twin) {
				c.guards.Protected = func(edr.Host) string { return "domain controller" }
			},
			code: http.StatusForbidden, want: problem{Error: "guarded", Effect: "none"},
		},
		"surely not one machine": {
			change: func(_ *config, clouds *twin.Twin) {
				m, _ := clouds.Azure.Machine(twin.DefenderID(5))
				m.ComputerDNSName, m.IPAddresses = twin.Hostname(5), nil
				clouds.Azure.AddMachine(m)
			},
			code: http.StatusConflict, want: problem{Error: "weak_identity", Effect: "none"},
		},
		"both down": {
			change: func(_ *config, clouds *twin.Twin) {
				clouds.Falcon.Faults().Add(dead)
				clouds.Azure.Faults().Add(dead)
			},
			code: http.StatusServiceUnavailable, want: problem{Error: "vendors_down", Effect: "none", Missing: make([]gap, 2)},
		},
		"known only to the vendor that is down": {
			change: func(_ *config, clouds *twin.Twin) {
				clouds.Azure.RemoveMachine(twin.DefenderID(5))
				clouds.Falcon.Faults().Add(dead)
			},
			code: http.StatusServiceUnavailable, want: problem{Error: "vendors_down", Effect: "none", Missing: make([]gap, 1)},
		},
		"one dies in the middle, the other is dead": {
			change: func(c *config, clouds *twin.Twin) {
				c.falcon.HTTPClient.Transport = diesAfterPost{c.falcon.HTTPClient.Transport, clouds.Falcon, clouds.Azure}
			},
			code: http.StatusBadGateway,
			want: problem{Error: "unknown_outcome", Effect: "unknown", Holding: []string{"falcon/us-1"}, Missing: make([]gap, 2)},
		},
		"unknown host":    {path: "/hosts/nobody/contain", code: http.StatusNotFound, want: problem{Error: "host_not_found", Effect: "none"}},
		"unknown vendor":  {path: "/hosts/x/contain?provider=acme&id=1", code: http.StatusBadRequest, want: problem{Error: "bad_request", Effect: "none"}},
		"no actor":        {body: `{"id": "1", "reason": "test"}`, code: http.StatusBadRequest, want: problem{Error: "bad_request", Effect: "none"}},
		"no JSON":         {body: `contain it!`, code: http.StatusBadRequest, want: problem{Error: "bad_request", Effect: "none"}},
		"an unknown word": {body: `{"host": "ws-001"}`, code: http.StatusBadRequest, want: problem{Error: "bad_request", Effect: "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.path == "" {
				tc.path = "/hosts/" + twin.Hostname(5) + "/contain"
			}
			if tc.body == "" {
				tc.body = intent
			}
			try(t, tc.change, func(clouds *twin.Twin, ask func(string, string, string) (*http.Response, problem)) {
				resp, p := ask(http.MethodPost, tc.path, tc.body)
				if resp.StatusCode != tc.code || p.Error != tc.want.Error || p.Effect != tc.want.Effect || p.Message == "" ||
					strings.Join(p.Holding, ",") != strings.Join(tc.want.Holding, ",") || len(p.Missing) != len(tc.want.Missing) {
					t.Errorf("%d %+v", resp.StatusCode, p)
				}
				if (resp.Header.Get("Retry-After") != "") != (tc.code == http.StatusServiceUnavailable) {
					t.Errorf("Retry-After: %q", resp.Header.Get("Retry-After"))
				}
				wantEffects := 0
				if tc.want.Effect == "unknown" {
					wantEffects = 1
				}
				if got := len(clouds.Falcon.Effects()) + len(clouds.Azure.Actions()); got != wantEffects {
					t.Errorf("the clouds recorded %d effects", got)
				}
			})
		})
	}
}

// diesAfterPost delivers an effect and takes both clouds down before it is answered.
type diesAfterPost struct {
	http.RoundTripper
	falcon *falcontest.Server
	azure  *azuretest.Server
}

func (d diesAfterPost) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.RoundTripper.RoundTrip(r)
	if err != nil || r.URL.Query().Get("action_name") == "" {
		return resp, err
	}
	_ = resp.Body.Close()
	d.falcon.Faults().Add(fault.Rule{Kind: fault.Refuse})
	d.azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
	return nil, errors.New("the answer is lost")
}

func TestACandidateCanBeNamed(t *testing.T) {
	try(t, nil, func(clouds *twin.Twin, ask func(string, string, string) (*http.Response, problem)) {
		clouds.Falcon.AddHost(falcontest.Host{Hostname: twin.Hostname(5), MACAddress: "02-00-00-00-00-99"})
		path := "/hosts/" + twin.Hostname(5)
		resp, p := ask(http.MethodPost, path+"/contain", intent)
		if resp.StatusCode != http.StatusConflict || len(p.Candidates) != 3 || !strings.Contains(p.Message, "?provider=") {
			t.Fatalf("%d %+v", resp.StatusCode, p)
		}
		which := "?provider=falcon/us-1&id=" + twin.FalconID(5)
		for range 2 { // repeating it changes nothing
			resp, p = ask(http.MethodPost, path+"/contain"+which, intent)
			if resp.StatusCode/100 != 2 {
				t.Errorf("%d %+v", resp.StatusCode, p)
			}
		}
		if resp, p := ask(http.MethodGet, path+which, ""); resp.StatusCode != http.StatusOK {
			t.Errorf("%d %+v", resp.StatusCode, p)
		}
		if e := clouds.Falcon.Effects(); len(e) != 1 || e[0].DeviceID != twin.FalconID(5) || len(clouds.Azure.Actions()) != 0 {
			t.Errorf("got %v, %v", e, clouds.Azure.Actions())
		}
	})
}

// A host that Defender holds is not "not contained" because Falcon, asked first,
// does not hold it; and if Defender cannot be asked, nobody knows.
func TestShowAsksEveryVendorForTheState(t *testing.T) {
	try(t, nil, func(clouds *twin.Twin, ask func(string, string, string) (*http.Response, problem)) {
		clouds.Azure.Isolate(twin.DefenderID(5))
		state := func() string {
			resp, _ := ask(http.MethodGet, "/hosts/"+twin.Hostname(5), "")
			var body struct{ State string }
			if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%d, %v", resp.StatusCode, err)
			}
			return body.State
		}
		if got := state(); got != "contained" {
			t.Errorf("got %s", got)
		}
		clouds.Azure.Faults().Add(fault.Rule{Kind: fault.Refuse})
		if got := state(); got != "unknown" {
			t.Errorf("got %s", got)
		}
	})
}

// The ledger outlives the service, and stopping it is clean.
func TestListenAndStateAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []string{`"held":0`, `"held":1`} {
		ctx, stop := context.WithCancel(t.Context())
		out := &lines{}
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, []string{"-listen", "127.0.0.1:0", "-state", dir, "-json"}, out, io.Discard) }()
		url := out.wait(t, regexp.MustCompile(`http://\S+`))
		if got := get(t, url+"/healthz"); !strings.Contains(got, want) {
			t.Errorf("run %d: %s", i, got)
		}
		if got := get(t, url+"/vendors"); !strings.Contains(got, `"state":"closed"`) && !strings.Contains(got, `"state": "closed"`) {
			t.Errorf("run %d: %s", i, got)
		}
		resp, err := http.Post(url+"/hosts/"+twin.Hostname(5)+"/contain", "application/json", strings.NewReader(intent))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := out.String(); !strings.HasSuffix(strings.TrimSpace(got), "}") {
			t.Errorf("no JSON on the last line: %s", got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "state.db")); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

// lines is a buffer that one goroutine writes and another watches.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) wait(t *testing.T, what *regexp.Regexp) string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if m := what.FindString(l.String()); m != "" {
			return m
		}
	}
	t.Fatalf("no %v in %s", what, l)
	return ""
}

func TestCommandLine(t *testing.T) {
	for _, name := range []string{"FALCON_CLIENT_ID", "FALCON_CLIENT_SECRET", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"} {
		t.Setenv(name, "")
	}
	for args, want := range map[string]string{
		"-live":                     "-listen",
		"-live -listen 127.0.0.1:0": "FALCON_CLIENT_ID",
		"-listen nowhere":           "nowhere",
		"please":                    "please",
	} {
		if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
