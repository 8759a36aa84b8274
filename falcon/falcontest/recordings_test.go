package falcontest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// recordingsEnv names a directory with JupiterOne's HTTP recordings of the real
// API (MPL-2.0, so not part of this repository). What is known from them is also
// in the other tests; this one compares shapes field by field.
const recordingsEnv = "JURYMAST_FALCON_RECORDINGS"

// recorded is one exchange of a HAR file.
type recorded struct {
	Request struct {
		Method, URL string
	}
	Response struct {
		Status  int
		Headers []struct{ Name, Value string }
		Content struct{ Text string }
	}
}

func (r *recorded) header(name string) string {
	for _, h := range r.Response.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func recordings(t *testing.T) []recorded {
	t.Helper()
	dir := os.Getenv(recordingsEnv)
	if dir == "" {
		t.Skip(recordingsEnv + " is not set")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.har"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings in %s: %v", dir, err)
	}
	var all []recorded
	for _, f := range files {
		var har struct {
			Log struct{ Entries []recorded }
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &har); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, har.Log.Entries...)
	}
	return all
}

// shapes lists the paths of a JSON value with the type found at each.
func shapes(prefix string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			shapes(prefix+"."+k, e, into)
		}
	case []any:
		into[prefix] = "list"
		for _, e := range v {
			shapes(prefix+"[]", e, into)
		}
	case nil:
	default:
		into[prefix] = reflect.TypeOf(v).String()
	}
}

func shapesOf(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	if len(raw) == 0 {
		return nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	m := map[string]string{}
	shapes("", v, m)
	return m
}

// Every recorded exchange that the simulator covers is asked of it again. What
// both answers have must be of the same type; what only the simulator's has must
// be known from elsewhere.
func TestAnswersHaveTheRecordedShape(t *testing.T) {
	// Newer than the recordings.
	known := regexp.MustCompile(`content-update|filesystem_containment_status|\.errors\[\]\.id`)
	entries := recordings(t)
	everything := map[string]string{} // one device carries some fields, another others
	for _, e := range entries {
		if strings.Contains(e.Request.URL, "/devices/entities/devices/") {
			for path, kind := range shapesOf(t, []byte(e.Response.Content.Text)) {
				everything[path] = kind
			}
		}
	}
	c := login(t, Config{Cloud: "us-2", Hosts: []Host{{
		DeviceID: "a", Hostname: "h", MachineDomain: "d", MACAddress: "02-c7-8a-10-00-01", LocalIP: "10.0.0.1", ExternalIP: "192.0.2.1",
		SerialNumber: "s", ServiceProvider: "AZURE", ServiceProviderAccountID: "1", InstanceID: "i", Groups: []string{"g"}, Tags: []string{"t"},
	}}})
	bearer, covered := c.auth, 0
	good := url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}}
	for i, e := range entries {
		u, err := url.Parse(e.Request.URL)
		if err != nil {
			t.Fatal(err)
		}
		want := shapesOf(t, []byte(e.Response.Content.Text))
		var r *reply
		c.base, c.auth = "https://api.us-2.crowdstrike.com", bearer
		if e.Response.Status == http.StatusPermanentRedirect {
			c.base = "https://api.crowdstrike.com"
		}
		switch {
		case u.Path == "/oauth2/token" && e.Response.Status == 400:
			r = c.post(u.Path, url.Values{"client_id": {"not-valid"}})
		case u.Path == "/oauth2/token" && e.Response.Status == 403:
			r = c.post(u.Path, url.Values{"client_id": {ClientID}, "client_secret": {"x"}})
		case u.Path == "/oauth2/token":
			r = c.post(u.Path, good)
		case e.Response.Status == http.StatusPermanentRedirect:
			r = c.do(e.Request.Method, u.RequestURI(), nil)
			equal(t, "location", r.header.Get("Location"), e.header("Location"))
		case u.Path == "/devices/queries/devices-scroll/v1" && !strings.Contains(e.Response.Content.Text, `"total": 0`):
			r = c.get(u.Path)
		case u.Path == "/devices/queries/devices-scroll/v1":
			r = c.get(u.Path, "offset", c.get(u.Path).Meta.Pagination.Offset.(string))
		case strings.HasPrefix(u.Path, "/devices/entities/devices/"):
			r, want = c.get("/devices/entities/devices/v2", "ids", "a"), everything
		default:
			continue
		}
		covered++
		name := fmt.Sprintf("exchange %d, %s %s", i, e.Request.Method, u.Path)
		equal(t, name, r.status, e.Response.Status)
		for _, h := range []string{"X-Ratelimit-Limit", "Content-Type"} {
			equal(t, name+" "+h, r.header.Get(h), e.header(h))
		}
		for path, kind := range shapesOf(t, r.raw) {
			if k, ok := want[path]; (!ok || k != kind) && !known.MatchString(path) {
				t.Errorf("%s: %s is %s, recorded %q", name, path, kind, k)
			}
		}
		if want := e.Response.Content.Text; e.Response.Status >= 400 {
			equal(t, name, masked(string(r.raw)), masked(want))
		}
	}
	if covered < 15 {
		t.Errorf("only %d exchanges covered", covered)
	}
}

// masked hides what differs from answer to answer.
func masked(body string) string {
	return regexp.MustCompile(`("query_time": |"trace_id": )[^,\n]+`).ReplaceAllString(body, "$1*")
}

// The members come in the recorded order, which is what people compare by eye.
func TestDeviceMembersAreInRecordedOrder(t *testing.T) {
	var order []string
	for _, e := range recordings(t) {
		text := e.Response.Content.Text
		if strings.Contains(e.Request.URL, "/devices/entities/devices/") && strings.Contains(text, "connection_mac_address") {
			for _, m := range regexp.MustCompile(`(?m)^   "(\w+)":`).FindAllStringSubmatch(text, -1) {
				order = append(order, m[1])
			}
			break
		}
	}
	last := -1
	for _, m := range details(&device{Host: Host{LocalIP: "l", MACAddress: "m", Hostname: "h"}}, time.Unix(0, 0)) {
		if i := slices.Index(order, m.key); i >= 0 {
			if i < last {
				t.Errorf("%s comes too late", m.key)
			}
			last = i
		}
	}
	if last < 0 {
		t.Error("nothing to compare")
	}
}
