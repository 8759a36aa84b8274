package azuretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const defenderScope = "https://api.securitycenter.microsoft.com/.default"

// tester is one client of one server.
type tester struct {
	*Server
	t      *testing.T
	client *http.Client
	base   string
	bearer string
}

func start(t *testing.T, cfg Config) *tester {
	t.Helper()
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &tester{Server: s, t: t, client: s.Client(), base: s.URL()}
}

// reply is an answer with its body decoded.
type reply struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

// code is the code of a Defender error envelope.
func (r reply) code() string { return r.errorField("code") }

func (r reply) errorField(name string) string {
	e, _ := r.body["error"].(map[string]any)
	s, _ := e[name].(string)
	return s
}

// ids lists the ids of a page.
func (r reply) ids() []string {
	out := []string{}
	rows, _ := r.body["value"].([]any)
	for _, row := range rows {
		out = append(out, row.(map[string]any)["id"].(string))
	}
	return out
}

// send may be called by any goroutine.
func (c *tester) send(req *http.Request) (reply, error) {
	if c.bearer != "" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	out := reply{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	if bytes.HasPrefix(raw, []byte("{")) {
		if err := json.Unmarshal(raw, &out.body); err != nil {
			return out, fmt.Errorf("%s is not JSON: %w", raw, err)
		}
	}
	return out, nil
}

// request builds a request to an address or, on the server itself, a path.
func (c *tester) request(method, address, body string) *http.Request {
	c.t.Helper()
	if !strings.HasPrefix(address, "https://") {
		address = c.base + address
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	return req
}

func (c *tester) do(method, address, body string) reply {
	c.t.Helper()
	out, err := c.send(c.request(method, address, body))
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *tester) get(path string) reply { c.t.Helper(); return c.do(http.MethodGet, path, "") }

func (c *tester) post(path, body string) reply {
	c.t.Helper()
	return c.do(http.MethodPost, path, body)
}

func (c *tester) list(path, filter string) reply {
	c.t.Helper()
	return c.get(path + "?" + url.Values{"$filter": {filter}}.Encode())
}

func (c *tester) tokenRequest(form url.Values) reply {
	c.t.Helper()
	req := c.request(http.MethodPost, "/"+TenantID+"/oauth2/v2.0/token", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	out, err := c.send(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func tokenForm() url.Values {
	return url.Values{
		"client_id": {ClientID}, "client_secret": {ClientSecret}, "grant_type": {"client_credentials"},
		"scope": {defenderScope + " openid offline_access profile"},
	}
}

// signIn takes a new token and uses it from now on.
func (c *tester) signIn() *tester {
	c.t.Helper()
	r := c.tokenRequest(tokenForm())
	if r.status != http.StatusOK {
		c.t.Fatalf("token: %d %s", r.status, r.raw)
	}
	c.bearer = r.body["access_token"].(string)
	return c
}

const isolateBody = `{"Comment":"alert 1234","IsolationType":"Full"}`

func (c *tester) isolate(id string) reply {
	c.t.Helper()
	return c.post("/api/machines/"+id+"/isolate", isolateBody)
}

func (c *tester) unisolate(id string) reply {
	c.t.Helper()
	return c.post("/api/machines/"+id+"/unisolate", `{"Comment":"clean"}`)
}

// status is the state of an action over the wire.
func (c *tester) status(actionID any) string {
	c.t.Helper()
	s, _ := c.get("/api/machineactions/" + actionID.(string)).body["status"].(string)
	return s
}

// A laptop and two servers. The laptop has every field, the second server the
// least there can be.
func fleet() []Machine {
	seen := time.Date(2026, 11, 20, 9, 30, 0, 123456700, time.UTC)
	return []Machine{
		{
			ID: "0e23b8b23abcdefabcdef6f877b45d19c04a522d", ComputerDNSName: "ws-042.contoso.com",
			OSPlatform: "Windows11", Version: "23H2", OSProcessor: "x64", OSArchitecture: "64-bit", OSBuild: 22631,
			AgentVersion: "10.8760.22631.4317", LastIPAddress: "10.1.2.3", LastExternalIPAddress: "81.2.69.144",
			AADDeviceID: "d78dc223-8dc8-4234-9678-abcdef03505b", RiskScore: "High", ExposureLevel: "Low",
			RBACGroupID: 7, RBACGroupName: "Laptops", Tags: []string{"finance", "vip"},
			FirstSeen: seen.Add(-72 * time.Hour), LastSeen: seen,
			IPAddresses: []IPAddress{
				{IPAddress: "10.1.2.3", MACAddress: "00005E0053FF", Type: "Ethernet", OperationalStatus: "Up"},
				{IPAddress: "::1", Type: "SoftwareLoopback", OperationalStatus: "Up"},
			},
			VM: &VMMetadata{VMID: "ca1b0d41-5a3b-4d95-b48b-f220aed11d78", CloudProvider: "Azure"},
		},
		{
			ID: "1d29e91fabcdefabcdef5a03284c189cf20aa4c2", ComputerDNSName: "srv-db-1", OSPlatform: "Ubuntu", Version: "20.4",
			HealthStatus: "Inactive", LastIPAddress: "10.1.2.9", LastSeen: seen.Add(-24 * time.Hour), MergedIntoMachineID: "0e23b8b23abcdefabcdef6f877b45d19c04a522d",
		},
		{ComputerDNSName: "srv-db-2", LastSeen: seen.Add(-48 * time.Hour)},
	}
}

const laptop = "0e23b8b23abcdefabcdef6f877b45d19c04a522d"
