package azuretest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestReachedByEveryName(t *testing.T) {
	c := start(t, Config{Machines: fleet()}).signIn()
	bases := []string{c.URL()}
	for _, host := range defenderHosts {
		bases = append(bases, "https://"+host)
	}
	for _, base := range bases {
		for _, root := range []string{"/api", "/api/v1.0"} {
			r := c.get(base + root + "/machines/" + laptop)
			if want := base + root + "/$metadata#Machines/$entity"; r.status != http.StatusOK || r.body["@odata.context"] != want {
				t.Errorf("%s%s: %d %s", base, root, r.status, r.raw)
			}
		}
	}
	for _, address := range []string{"https://" + loginHost + "/api/machines", "https://" + defenderHosts[0] + "/" + TenantID + "/v2.0/.well-known/openid-configuration"} {
		if r := c.get(address); r.status != http.StatusNotFound {
			t.Errorf("%s is at the wrong product, yet answers %d", address, r.status)
		}
	}
	if n := len(c.Requests()); n != 23 {
		t.Errorf("recorded %d requests", n)
	}
}

func TestDefenderErrors(t *testing.T) {
	c := start(t, Config{Machines: fleet()}).signIn()
	good := c.bearer
	form := tokenForm()
	form.Set("scope", "https://graph.microsoft.com/.default")
	graph := c.tokenRequest(form).body["access_token"].(string)
	isolate := "/api/machines/" + laptop + "/isolate"
	for _, tc := range []struct {
		name, bearer, method, path, body string
		status                           int
		code                             string
	}{
		{"no token", "", "GET", "/api/machines", "", 401, "Unauthorized"},
		{"forged token", "ey.ey.x", "GET", "/api/machines", "", 401, "Unauthorized"},
		{"token for another API", graph, "GET", "/api/machines", "", 403, "Forbidden"},
		{"unknown path", good, "GET", "/api/nothing", "", 404, "NotFound"},
		{"unknown method", good, "DELETE", "/api/machines", "", 404, "NotFound"},
		{"unknown machine", good, "GET", "/api/machines/123123123", "", 404, "ResourceNotFound"},
		{"unknown action", good, "GET", "/api/machineactions/123", "", 404, "ResourceNotFound"},
		{"bad filter", good, "GET", "/api/machines?$filter=nope+eq+1", "", 400, "ODataError"},
		{"empty filter", good, "GET", "/api/machines?$filter=", "", 400, "ODataError"},
		{"top too large", good, "GET", "/api/machines?$top=10001", "", 400, "ODataError"},
		{"negative skip", good, "GET", "/api/machines?$skip=-1", "", 400, "ODataError"},
		{"option twice", good, "GET", "/api/machines?$top=1&$top=2", "", 400, "ODataError"},
		{"unsupported option", good, "GET", "/api/machines?$orderby=id", "", 400, "ODataError"},
		{"bad filter of actions", good, "GET", "/api/machineactions?$filter=computerDnsName+eq+'x'", "", 400, "ODataError"},
		{"malformed body", good, "POST", isolate, `{`, 400, "InvalidRequestBody"},
		{"not an object", good, "POST", isolate, `null`, 400, "MissingRequiredParameter"},
		{"wrong type", good, "POST", isolate, `{"Comment":1,"IsolationType":"Full"}`, 400, "InvalidRequestBody"},
		{"wrong case", good, "POST", isolate, `{"comment":"x","IsolationType":"Full"}`, 400, "InvalidRequestBody"},
		{"no comment", good, "POST", isolate, `{"IsolationType":"Full"}`, 400, "MissingRequiredParameter"},
		{"no type", good, "POST", isolate, `{"Comment":"x"}`, 400, "MissingRequiredParameter"},
		{"wrong isolation", good, "POST", isolate, `{"Comment":"x","IsolationType":"full"}`, 400, "InvalidInput"},
		{"type in a release", good, "POST", "/api/machines/" + laptop + "/unisolate", `{"Comment":"x","IsolationType":"Full"}`, 400, "InvalidRequestBody"},
		{"huge body", good, "POST", isolate, `{"Comment":"` + strings.Repeat("x", maxActionBody) + `"}`, 413, "RequestEntityTooLarge"},
		{"isolate the unknown", good, "POST", "/api/machines/none/isolate", `{"Comment":"x","IsolationType":"Full"}`, 404, "ResourceNotFound"},
		{"release the unknown", good, "POST", "/api/machines/none/unisolate", `{"Comment":"x"}`, 404, "ResourceNotFound"},
	} {
		c.bearer = tc.bearer
		r := c.do(tc.method, tc.path, tc.body)
		if r.status != tc.status || r.code() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", tc.name, r.status, r.raw, tc.status, tc.code)
		}
		if r.errorField("message") == "" || len(r.errorField("target")) != 36 {
			t.Errorf("%s: the envelope is not complete: %s", tc.name, r.raw)
		}
	}
	if n := len(c.Actions()); n != 0 {
		t.Errorf("%d actions from refused calls", n)
	}
}

func TestRoles(t *testing.T) {
	for _, tc := range []struct {
		roles         []string
		read, isolate int
	}{
		{nil, 200, 201},
		{[]string{}, 403, 403},
		{[]string{"Machine.Read.All"}, 200, 403},
		{[]string{"Machine.ReadWrite.All"}, 200, 403},
		{[]string{"Machine.Isolate"}, 403, 201},
	} {
		c := start(t, Config{Machines: fleet(), Roles: tc.roles}).signIn()
		read, isolate := c.get("/api/machineactions"), c.isolate(laptop)
		if read.status != tc.read || isolate.status != tc.isolate {
			t.Errorf("%q: read %d, isolate %d", tc.roles, read.status, isolate.status)
		}
		if read.status == 403 && read.code() != "Forbidden" {
			t.Errorf("%q: %s", tc.roles, read.raw)
		}
	}
}

func TestQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{InMemory: true, Machines: fleet(), MinuteQuota: 2, HourQuota: 5, TokenLife: 3 * time.Hour}).signIn()
		expect := func(when string, status int, window string, after time.Duration) {
			t.Helper()
			r := c.get("/api/machines")
			if r.status != status {
				t.Fatalf("%s: %d %s", when, r.status, r.raw)
			}
			if status == http.StatusTooManyRequests && (r.code() != "TooManyRequests" || !strings.Contains(r.errorField("message"), "per "+window) ||
				r.header.Get("Retry-After") != strconv.Itoa(int(after/time.Second))) {
				t.Errorf("%s: Retry-After %s, %s", when, r.header.Get("Retry-After"), r.raw)
			}
		}
		expect("1st", 200, "", 0)
		time.Sleep(20 * time.Second)
		expect("2nd", 200, "", 0)
		time.Sleep(500 * time.Millisecond)
		expect("3rd", 429, "minute", 40*time.Second) // 39.5 s, and never too early
		if r := c.get("/api/machineactions"); r.status != 200 {
			t.Errorf("another operation pays for it: %d", r.status)
		}
		time.Sleep(40 * time.Second)
		expect("when the first is a minute old", 200, "", 0)
		time.Sleep(time.Minute)
		expect("4th", 200, "", 0)
		expect("5th", 200, "", 0)
		time.Sleep(time.Minute)
		passed := 20*time.Second + 500*time.Millisecond + 40*time.Second + 2*time.Minute
		expect("6th in an hour", 429, "hour", (time.Hour-passed).Truncate(time.Second)+time.Second)
		time.Sleep(time.Hour)
		expect("an hour later", 200, "", 0)
		c.Close()
	})
}

// The documented quotas are what a tenant has unless told otherwise.
func TestDefaultAndNoQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct{ minute, allowed int }{{0, 100}, {-1, 150}} {
			c := start(t, Config{InMemory: true, MinuteQuota: tc.minute}).signIn()
			n := 0
			for range 150 {
				if c.get("/api/machineactions").status == http.StatusOK {
					n++
				}
			}
			if n != tc.allowed {
				t.Errorf("MinuteQuota %d: %d calls passed", tc.minute, n)
			}
			c.Close()
		}
	})
}

func TestConfigErrors(t *testing.T) {
	for _, cfg := range []Config{
		{ActionTime: -1}, {TokenLife: -1}, {Machines: []Machine{{}}}, {Machines: []Machine{{ID: "a"}, {ID: "a"}}},
	} {
		if s, err := NewServer(cfg); err == nil {
			s.Close()
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// Two servers that see the same calls hand out the same ids.
func TestDeterministic(t *testing.T) {
	run := func() string {
		out := ""
		synctest.Test(t, func(t *testing.T) {
			c := start(t, Config{InMemory: true, Machines: fleet()}).signIn()
			out = fmt.Sprint(c.bearer, c.isolate(laptop).raw, c.isolate(laptop).raw, c.get("/api/machines").raw)
			c.Close()
		})
		return out
	}
	if a, b := run(), run(); a != b {
		t.Errorf("the same calls answered\n%s\nand\n%s", a, b)
	}
}
