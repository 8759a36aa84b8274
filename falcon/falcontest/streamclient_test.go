package falcontest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stream is one resource of the discovery.
type stream struct {
	Feed  string `json:"dataFeedURL"`
	Token struct {
		Token      string
		Expiration time.Time
	} `json:"sessionToken"`
	Refresh  string `json:"refreshActiveSessionURL"`
	Interval int    `json:"refreshActiveSessionInterval"`
}

// discover expects 200.
func (c *client) discover(appID string) []stream {
	c.t.Helper()
	r := c.get(discoverPath, "appId", appID)
	if r.status != http.StatusOK {
		c.t.Fatalf("discover: %d %s", r.status, r.raw)
	}
	out := make([]stream, len(r.Resources))
	for i, raw := range r.Resources {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			c.t.Fatal(err)
		}
	}
	return out
}

// stream discovers and returns partition 0.
func (c *client) stream(appID string) stream {
	c.t.Helper()
	all := c.discover(appID)
	if len(all) == 0 {
		c.t.Fatalf("no stream for %s", appID)
	}
	return all[0]
}

// send sends a request to any of the hosts and returns the whole answer, which a
// feed that should have been refused never ends.
func (c *client) send(method, url, auth, contentType string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Hour)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// refused is a feed that must not open.
func (c *client) refused(s stream, params, auth string) (int, string) {
	c.t.Helper()
	return c.send(http.MethodGet, s.Feed+params, auth, "")
}

func (c *client) refresh(s stream) int {
	c.t.Helper()
	status, _ := c.send(http.MethodPost, s.Refresh, c.auth, "application/json")
	return status
}

// tail is an open feed.
type tail struct {
	leave context.CancelFunc
	done  chan struct{}
	begun time.Time
	proto string

	mu    sync.Mutex
	lines []string
	at    []time.Duration // since begun
	err   error           // how it ended; io.EOF in good order
}

// open opens a feed, which must answer 200.
func (c *client) open(s stream, params string) *tail {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Feed+params, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Token "+s.Token.Token)
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("feed: %d %s", resp.StatusCode, body)
	}
	f := &tail{leave: cancel, done: make(chan struct{}), begun: time.Now(), proto: resp.Proto}
	go f.read(resp.Body)
	c.t.Cleanup(f.close)
	return f
}

func (f *tail) read(body io.ReadCloser) {
	defer close(f.done)
	defer func() { _ = body.Close() }()
	r := bufio.NewReader(body)
	for {
		line, err := r.ReadString('\n')
		f.mu.Lock()
		if err != nil {
			f.err = err
			f.mu.Unlock()
			return
		}
		f.lines = append(f.lines, strings.TrimSuffix(line, "\n"))
		f.at = append(f.at, time.Since(f.begun))
		f.mu.Unlock()
	}
}

func (f *tail) close() {
	f.leave()
	<-f.done
}

// soFar returns what arrived, once nothing moves any more.
func (f *tail) soFar() ([]string, []time.Duration) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.lines...), append([]time.Duration{}, f.at...)
}

// offsets are those of the events so far; heartbeats are left out.
func (f *tail) offsets() []int64 {
	lines, _ := f.soFar()
	out := []int64{}
	for _, l := range lines {
		var e struct{ Metadata eventMetadata }
		if l != "" && json.Unmarshal([]byte(l), &e) == nil {
			out = append(out, e.Metadata.Offset)
		}
	}
	return out
}

// ended returns how the feed ended, nil if it did not.
func (f *tail) ended() error {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// bubble runs a test over the in-memory server, without a wait.
func bubble(t *testing.T, cfg Config, test func(c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.InMemory = true
		test(login(t, cfg))
	})
}
