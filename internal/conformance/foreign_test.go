package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

// programs are those that know nothing of a simulated cloud: they find it by a proxy
// and a certificate authority, as they would a company's.
type programs struct {
	*testing.T
	env []string
}

// foreigner is a simulated cloud of us-2 for them.
type foreigner struct {
	*programs
	srv *falcontest.Server
}

const (
	workstation = "00000000000000000000000000000001"
	server      = "00000000000000000000000000000002"

	foreignAlert = falcontest.CID + ":ind:" + workstation + ":1"
)

func onlyForeign(t *testing.T) {
	if os.Getenv("JURYMAST_FOREIGN") == "" {
		t.Skip("JURYMAST_FOREIGN is not set: building or fetching foreign clients takes long")
	}
}

func openForeign(t *testing.T) *foreigner {
	srv, err := falcontest.NewServer(falcontest.Config{Cloud: "us-2", Hosts: []falcontest.Host{
		{DeviceID: workstation, Hostname: "ws-001", Platform: "Windows", ProductType: "Workstation"},
		{DeviceID: server, Hostname: "db-002", Platform: "Linux", ProductType: "Server"},
	}, Alerts: []falcontest.Alert{{ID: foreignAlert, Severity: 70}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return &foreigner{openPrograms(t, srv, "FALCON_CLIENT_ID="+falcontest.ClientID, "FALCON_CLIENT_SECRET="+falcontest.ClientSecret), srv}
}

func openPrograms(t *testing.T, srv interface {
	Proxy() (*url.URL, error)
	CAPEM() []byte
}, env ...string,
) *programs {
	proxy, err := srv.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, srv.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return &programs{t, append(
		env, "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir(),
		"HTTPS_PROXY="+proxy.String(), "SSL_CERT_FILE="+ca, "NODE_EXTRA_CA_CERTS="+ca,
	)}
}

func (f *programs) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(f.Context(), program, args...)
	cmd.Env, cmd.WaitDelay = f.env, 10*time.Second
	cmd.Stderr = f.Output()
	return cmd
}

// run runs a program to its end and returns what it printed.
func (f *programs) run(cmd *exec.Cmd) string {
	f.Helper()
	out, err := cmd.Output()
	if err != nil {
		f.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// calls are the requests so far, as "GET /path status".
func (f *foreigner) calls() (out []string) {
	for _, r := range f.srv.Requests() {
		out = append(out, fmt.Sprintf("%s %s %d", r.Method, r.Path, r.Status))
	}
	return out
}

// gofalcon's own example programs, unmodified. Without FALCON_CLOUD they look for
// their region first.
func TestGofalconsExamples(t *testing.T) {
	onlyForeign(t)
	const examples = "github.com/crowdstrike/gofalcon/examples/"
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, examples+"simple", examples+"oauth_token", examples+"simple_access_token",
		examples+"falcon_host_details", examples+"customize_transport", examples+"falcon_cleanup_hosts", examples+"falcon_event_stream")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	in := func(name string) string { return filepath.Join(bin, name) }

	t.Run("simple", func(t *testing.T) {
		f := openForeign(t)
		if out := f.run(f.command(in("simple"))); out != "Found 2 host(s):\n - "+workstation+"\n - "+server+"\n" {
			t.Errorf("printed %q", out)
		}
		want := []string{
			"POST /oauth2/token 308", "POST /oauth2/token 201", "POST /oauth2/revoke 200", // finds its region
			"POST /oauth2/token 201", "GET /devices/queries/devices/v1 200",
		}
		if got := f.calls(); !slices.Equal(got, want) {
			t.Errorf("asked %q", got)
		}
	})
	t.Run("oauth_token and simple_access_token", func(t *testing.T) {
		f := openForeign(t)
		f.env = append(f.env, "FALCON_CLOUD=us-2")
		token := strings.TrimSpace(f.run(f.command(in("oauth_token"))))
		f.env = append(f.env, "FALCON_ACCESS_TOKEN="+token)
		if out := f.run(f.command(in("simple_access_token"))); !strings.HasPrefix(out, "Found 2 host(s):") {
			t.Errorf("printed %q", out)
		}
		if f.srv.Tokens() != 1 {
			t.Errorf("%d tokens", f.srv.Tokens())
		}
		f.srv.RevokeTokens()
		if err := f.command(in("simple_access_token")).Run(); err == nil {
			t.Error("a revoked token was good")
		}
	})
	t.Run("falcon_host_details", func(t *testing.T) {
		f := openForeign(t)
		var hosts []struct {
			DeviceID string `json:"device_id"`
			Hostname string `json:"hostname"`
		}
		out := f.run(f.command(in("falcon_host_details"), "-filter", "platform_name:'Linux'"))
		if err := json.Unmarshal([]byte(out), &hosts); err != nil || len(hosts) != 1 || hosts[0].DeviceID != server || hosts[0].Hostname != "db-002" {
			t.Errorf("printed %s (%v)", out, err)
		}
	})
	t.Run("customize_transport", func(t *testing.T) {
		f := openForeign(t)
		if out := f.run(f.command(in("customize_transport"))); !strings.Contains(out, "Remaining calls: 5999.") || !strings.Contains(out, "ws-001") {
			t.Errorf("printed %s", out)
		}
	})
	t.Run("falcon_cleanup_hosts", func(t *testing.T) { // sends no action_parameters
		f := openForeign(t)
		cmd := f.command(in("falcon_cleanup_hosts"), "-dry-run=false", "-filter", "hostname:'ws-*'")
		cmd.Stdin = strings.NewReader("HIDE HOSTS\n")
		f.run(cmd)
		if done := f.srv.Effects(); len(done) != 1 || done[0].Action != "hide_host" || done[0].DeviceID != workstation {
			t.Errorf("effects: %+v", done)
		}
	})
	t.Run("falcon_event_stream", func(t *testing.T) {
		f := openForeign(t)
		f.srv.Publish(0, "EppDetectionSummaryEvent", f.srv.Detection(workstation, 70))
		cmd := f.command(in("falcon_event_stream"))
		lines := f.start(cmd)
		waitFor(t, lines, "EppDetectionSummaryEvent")
		f.srv.Publish(0, "AuthActivityAuditEvent", map[string]any{"OperationName": "userAuthenticate", "UTCTimestamp": time.Now().Unix()})
		waitFor(t, lines, "AuthActivityAuditEvent")
		if out := f.run(f.command(in("falcon_event_stream"))); !strings.HasPrefix(out, "No available stream was found") {
			t.Errorf("a second one under the same name printed %s", out)
		}
		i := slices.IndexFunc(f.srv.Requests(), func(r falcontest.Request) bool { return strings.HasPrefix(r.Path, feedPath) })
		if i < 0 || f.srv.Requests()[i].Host != "firehose.us-2.crowdstrike.com" {
			t.Errorf("asked %q", f.calls())
		}
	})
}

// start runs a program until the test ends and returns what it prints, by lines.
func (f *programs) start(cmd *exec.Cmd) <-chan string {
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	f.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range lines {
		}
		_ = cmd.Wait()
	})
	return lines
}

func waitFor(t *testing.T, lines <-chan string, line string) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatalf("ended without the line %q", line)
			}
			if l == line {
				return
			}
		case <-late:
			t.Fatalf("a minute without the line %q", line)
		}
	}
}

// javascript puts a program of testdata beside packages of the npm registry.
func javascript(t *testing.T, name string, packages ...string) (program string) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("there is no npm")
	}
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, name)
	if err := os.WriteFile(program, text, 0o600); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), npm, append([]string{
		"install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund",
	}, packages...)...)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// The community's client for JavaScript, from the npm registry.
func TestFalconJS(t *testing.T) {
	onlyForeign(t)
	f := openForeign(t)
	program := javascript(t, "falconjs.mjs", "crowdstrike-falcon@0.7.0", "node-fetch@2.7.0", "https-proxy-agent@7.0.6")
	want := f.srv.Publish(0, "EppDetectionSummaryEvent", f.srv.Detection(workstation, 70))
	out := f.run(f.command("node", program))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var got struct {
		Hosts, Alerts []string
		Hostname      string
		Contained     string
		Severity      int
		Refused       int
		Event         struct {
			EventType string
			Offset    int64
		}
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	switch {
	case !slices.Equal(got.Hosts, []string{workstation, server}) || got.Hostname != "db-002":
		t.Errorf("hosts: %s", out)
	case !slices.Equal(got.Alerts, []string{foreignAlert}) || got.Severity != 70:
		t.Errorf("alerts: %s", out)
	case got.Contained != server || got.Refused != http.StatusConflict:
		t.Errorf("containment: %s", out)
	case got.Event.Offset != want || got.Event.EventType != "EppDetectionSummaryEvent":
		t.Errorf("event: %s", out)
	}
	if h, _ := f.srv.Host(server); !strings.HasPrefix(h.Status, "contain") {
		t.Errorf("the host is %s", h.Status)
	}
	if agent := f.srv.Requests()[0].Header.Get("User-Agent"); agent != "falconjs/0.7.0" {
		t.Errorf("User-Agent %q", agent)
	}
}
