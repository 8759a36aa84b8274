package falcontest

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
)

func zipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func TestCollector(t *testing.T) {
	c := start(t, Config{IngestLimit: 64})
	url, key := c.srv.AddConnector()
	other, otherKey := c.srv.AddConnector()
	if url == other || key == otherKey {
		t.Fatal("two connectors are one")
	}
	const success = `{"text":"Success","code":0}`
	for name, tc := range map[string]struct {
		method, to, auth, encoding, body string
		status                           int
		says                             string
		events                           int
	}{
		"one":                 {body: `{"event":1}`, status: 200, says: success, events: 1},
		"three":               {body: `{"event":1}{"event":2} {"event":"x","time":1.5}`, status: 200, says: success, events: 3},
		"compressed":          {encoding: "gzip", body: zipped(`{"event":1}`), status: 200, says: success, events: 1},
		"raw":                 {to: "/raw", body: "a\r\n\nb", status: 200, says: success, events: 2},
		"not compressed":      {encoding: "gzip", body: `{"event":1}`, status: 400, says: `"code":6`},
		"another compression": {encoding: "br", body: `{"event":1}`, status: 400, says: `"code":6`},
		"cut off":             {encoding: "gzip", body: zipped(`{"event":1}`)[:15], status: 400, says: `"code":6`},
		"nothing":             {status: 400, says: `"code":5`},
		"nothing, raw":        {to: "/raw", body: "\n", status: 400, says: `"code":5`},
		"no JSON":             {body: `{"event":1}{`, status: 400, says: `"code":6`},
		"no event":            {body: `{"event":1}{"time":1}`, status: 400, says: `"code":12`},
		"a blank event":       {body: `{"event":""}`, status: 400, says: `"code":13`},
		"too much":            {encoding: "gzip", body: zipped(`{"event":"` + strings.Repeat("x", 64) + `"}`), status: 413, says: `"code":27`},
		"another's key":       {auth: "Bearer " + otherKey, body: `{"event":1}`, status: 401, says: `"code":4`},
		"no key":              {auth: "-", body: `{"event":1}`, status: 401, says: `"code":2`},
		"Splunk's scheme":     {auth: "Splunk " + key, body: `{"event":1}`, status: 401, says: `"code":3`},
		"a GET":               {method: "GET", status: 405},
		"another path":        {to: "/event", status: 404},
	} {
		before := len(c.srv.Ingested())
		orDefault(&tc.method, http.MethodPost)
		orDefault(&tc.auth, "Bearer "+key)
		req, err := http.NewRequestWithContext(t.Context(), tc.method, url+"/services/collector"+tc.to, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		if tc.auth != "-" {
			req.Header.Set("Authorization", tc.auth)
		}
		if tc.encoding != "" {
			req.Header.Set("Content-Encoding", tc.encoding)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != tc.status || !strings.Contains(string(body), tc.says) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		if n := len(c.srv.Ingested()) - before; n != tc.events {
			t.Errorf("%s: %d events", name, n)
		}
	}
	for _, e := range c.srv.Ingested() {
		if e.Connector != url || e.Received.IsZero() {
			t.Errorf("got %+v", e)
		}
	}
}

// A region's connectors are at a host of its own.
func TestCollectorsOfEveryRegion(t *testing.T) {
	for region := range apiHosts {
		c := start(t, Config{Cloud: region})
		url, key := c.srv.AddConnector()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/services/collector", strings.NewReader(`{"event":1}`))
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := c.http.Do(req)
		if err != nil {
			t.Errorf("%s: %v", region, err)
			continue
		}
		_ = resp.Body.Close()
		equal(t, url, resp.StatusCode, http.StatusOK)
	}
}
