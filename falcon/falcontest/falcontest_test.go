package falcontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// client is the smallest Falcon client: it keeps a token and decodes envelopes.
type client struct {
	t    *testing.T
	srv  *Server
	http *http.Client
	base string
	auth string
}

func start(t *testing.T, cfg Config) *client {
	t.Helper()
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	hc := srv.Client()
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{t: t, srv: srv, http: hc, base: srv.URL()}
}

// login is start with a token.
func login(t *testing.T, cfg Config) *client {
	t.Helper()
	c := start(t, cfg)
	c.login(url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}})
	return c
}

func (c *client) login(form url.Values) {
	c.t.Helper()
	r := c.post("/oauth2/token", form)
	if r.status != http.StatusCreated {
		c.t.Fatalf("token: %d %s", r.status, r.raw)
	}
	var tok struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(r.raw, &tok); err != nil {
		c.t.Fatal(err)
	}
	c.auth = "Bearer " + tok.AccessToken
}

type reply struct {
	status int
	header http.Header
	raw    []byte

	Meta struct {
		Pagination struct {
			Total   int
			Limit   int
			Offset  any
			Next    string
			Expires int64 `json:"expires_at"`
		}
		PoweredBy string `json:"powered_by"`
		TraceID   string `json:"trace_id"`
		Writes    struct {
			Affected int `json:"resources_affected"`
		}
	}
	Resources []json.RawMessage
	Errors    []apiError
}

// ids are the resources as strings, or their device ids.
func (r *reply) ids() []string {
	ids := []string{}
	for _, raw := range r.Resources {
		var s string
		var d struct {
			DeviceID string `json:"device_id"`
			ID       string `json:"id"`
		}
		if json.Unmarshal(raw, &s) != nil && json.Unmarshal(raw, &d) == nil {
			s = d.DeviceID + d.ID
		}
		ids = append(ids, s)
	}
	return ids
}

func (r *reply) codes() []int {
	codes := []int{}
	for _, e := range r.Errors {
		codes = append(codes, e.Code)
	}
	return codes
}

// try sends a request; body is a form, a value to send as JSON, or nil.
func (c *client) try(ctx context.Context, method, path string, body any) (*reply, error) {
	var rd io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case url.Values:
		rd, contentType = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	case string:
		rd = strings.NewReader(b)
	default:
		j, _ := json.Marshal(b)
		rd = strings.NewReader(string(j))
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, rd)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	r := &reply{status: resp.StatusCode, header: resp.Header}
	if r.raw, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if len(r.raw) > 0 && json.Unmarshal(r.raw, r) != nil {
		return r, errors.New("not an envelope: " + string(r.raw))
	}
	return r, nil
}

func (c *client) do(method, path string, body any) *reply {
	c.t.Helper()
	r, err := c.try(c.t.Context(), method, path, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (c *client) get(path string, params ...string) *reply {
	c.t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		v.Add(params[i], params[i+1])
	}
	return c.do(http.MethodGet, path+"?"+v.Encode(), nil)
}

func (c *client) post(path string, body any) *reply {
	c.t.Helper()
	return c.do(http.MethodPost, path, body)
}

func (c *client) act(name string, ids ...string) *reply {
	c.t.Helper()
	return c.post("/devices/entities/devices-actions/v2?action_name="+name, map[string]any{"ids": ids})
}

// numbered makes hosts 0001, 0002, ...
func numbered(n int) []Host {
	hosts := make([]Host, n)
	for i := range hosts {
		id := fmt.Sprintf("%04d", i+1)
		hosts[i] = Host{DeviceID: id, Hostname: "host-" + id}
	}
	return hosts
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"unknown region":  {Cloud: "eu-2"},
		"misspelt scope":  {Scopes: []string{"Hosts"}},
		"wrong right":     {Scopes: []string{"devices:reed"}},
		"negative quota":  {Quota: -1},
		"negative life":   {TokenLife: -time.Second},
		"same host twice": {Hosts: []Host{{DeviceID: "a"}, {DeviceID: "a"}}},
		"same name twice": {Hosts: []Host{{Hostname: "a"}, {Hostname: "a"}}},
	} {
		if s, err := NewServer(cfg); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// Two servers with the same configuration and clock give the same answers.
func TestDeterministic(t *testing.T) {
	at := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	run := func() (out []string) {
		c := start(t, Config{Hosts: []Host{{Hostname: "a"}, {}, {Hostname: "b"}}, Now: func() time.Time { return at }})
		r := c.post("/oauth2/token", url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}})
		out = append(out, string(r.raw), r.header.Get("X-Cs-Traceid"), r.header.Get("Date"))
		c.login(url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}})
		out = append(out, string(c.get("/devices/queries/devices-scroll/v1").raw), string(c.get("/devices/combined/devices/v1").raw))
		return out
	}
	equal(t, "second run", run(), run())
}

func TestManageHosts(t *testing.T) {
	c := login(t, Config{Hosts: []Host{{DeviceID: "a", Groups: []string{"g"}}}})
	h, ok := c.srv.Host("a")
	if !ok || h.Status != "normal" || h.Platform != "Windows" || h.CID != CID || h.FirstSeen.IsZero() || !h.LastSeen.IsZero() {
		t.Errorf("defaults: %+v, %v", h, ok)
	}
	h.Groups[0] = "changed"
	if h, _ = c.srv.Host("a"); h.Groups[0] != "g" {
		t.Error("a returned host shares memory with the server")
	}
	c.srv.AddHost(Host{Hostname: "derived id"})
	c.srv.AddHost(Host{DeviceID: "a", Hostname: "replaced"})
	if hosts := c.srv.Hosts(); len(hosts) != 2 || hosts[1].Hostname != "replaced" || len(hosts[0].DeviceID) != 32 {
		t.Errorf("hosts: %+v", hosts)
	}
	c.srv.RemoveHost("a")
	if _, ok := c.srv.Host("a"); ok {
		t.Error("removed host is still there")
	}
	equal(t, "left", c.get("/devices/queries/devices/v1").Meta.Pagination.Total, 1)
}

func Example() {
	srv, err := NewServer(Config{Hosts: []Host{{DeviceID: "a1", Hostname: "ws-042"}}})
	if err != nil {
		panic(err)
	}
	defer srv.Close()

	client := srv.Client() // reaches the real names, here inside the process
	resp, err := client.PostForm("https://api.crowdstrike.com/oauth2/token", url.Values{
		"client_id": {ClientID}, "client_secret": {ClientSecret},
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Println(resp.StatusCode, resp.Header.Get("X-Cs-Region"), srv.Tokens())
	// Output: 201 us-1 1
}
