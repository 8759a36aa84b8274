package siem

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/jurymast/jurymast/internal/sim"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

// collector keeps the rows that it is sent.
type collector struct {
	*sim.Server
	mu     sync.Mutex
	ids    []string
	answer func(w http.ResponseWriter, r *http.Request, rows []json.RawMessage) bool // true: it has answered
}

const collectorHost = "collector.example"

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		body = zip
	}
	text, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	var rows []json.RawMessage
	if r.Header.Get("Content-Type") == "application/x-ndjson" {
		for line := range bytes.Lines(text) {
			rows = append(rows, bytes.TrimSuffix(line, []byte("\n")))
		}
	} else if err := json.Unmarshal(text, &rows); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answer != nil && c.answer(w, r, rows) {
		return
	}
	for _, row := range rows {
		var v struct{ JurymastID string }
		if err := json.Unmarshal(row, &v); err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		c.ids = append(c.ids, v.JurymastID)
	}
	w.WriteHeader(http.StatusAccepted)
}

func (c *collector) got() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ids)
}

func (c *collector) set(answer func(http.ResponseWriter, *http.Request, []json.RawMessage) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// status answers so.
func status(code int, header ...string) func(http.ResponseWriter, *http.Request, []json.RawMessage) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ []json.RawMessage) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return true
	}
}

// collecting runs a test with a collector, in virtual time.
func collecting(t *testing.T, test func(t *testing.T, c *collector, cfg HTTPConfig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		srv, err := sim.Start(sim.Config{Hosts: []string{collectorHost}, Handler: c, InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		c.Server = srv
		test(t, c, HTTPConfig{URL: srv.URL() + "/v1/rows?source=falcon", HTTPClient: srv.Client()})
	})
}

func newHTTP(t *testing.T, cfg HTTPConfig) memberOf {
	t.Helper()
	m, err := NewHTTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWhatIsOnTheWire(t *testing.T) {
	for name, test := range map[string]struct {
		change      func(*HTTPConfig)
		kind, coded string
	}{
		"array":        {func(*HTTPConfig) {}, "application/json", "gzip"},
		"plain array":  {func(c *HTTPConfig) { c.Plain = true }, "application/json", ""},
		"lines":        {func(c *HTTPConfig) { c.Format = NDJSON }, "application/x-ndjson", "gzip"},
		"plain lines":  {func(c *HTTPConfig) { c.Format, c.Plain = NDJSON, true }, "application/x-ndjson", ""},
		"other header": {func(c *HTTPConfig) { c.Header["content-type"] = "text/json" }, "text/json", "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
				cfg.Header = map[string]Secret{"Authorization": "Bearer hush-hush-hush"}
				test.change(&cfg)
				m := newHTTP(t, cfg)
				b := batchOf("t", `{"JurymastID":"1"}`, `{"JurymastID":"2"}`)
				if _, err := m.Value.Send(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				r := c.Requests()
				if len(r) != 1 || !slices.Equal(c.got(), []string{"1", "2"}) {
					t.Fatalf("%d requests, %q", len(r), c.got())
				}
				h := r[0].Header
				if h.Get("Content-Type") != test.kind || h.Get("Content-Encoding") != test.coded || h.Get("Authorization") != "Bearer hush-hush-hush" ||
					r[0].Method != "POST" || r[0].Path != "/v1/rows" || r[0].Query.Get("source") != "falcon" || h.Get("Content-Length") != fmt.Sprint(len(r[0].Body)) {
					t.Errorf("%+v", r[0])
				}
				gz, err := b.Gzip()
				if err != nil || name == "array" && !bytes.Equal(gz, r[0].Body) {
					t.Errorf("not the bytes as they are stored, %v", err)
				}
				if m.ID != "http/"+collectorHost || m.Plane != collectorHost {
					t.Errorf("%+v", m)
				}
			})
		})
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request, _ []json.RawMessage) bool {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "\n<!DOCTYPE html><html>Sign in</html>")
		return true
	}
	type answer = func(http.ResponseWriter, *http.Request, []json.RawMessage) bool
	for name, test := range map[string]struct {
		answer  answer
		refused bool
		good    bool
		class   resilience.Class
	}{
		"200":                 {answer: status(200), good: true},
		"204":                 {answer: status(204), good: true},
		"200, a web page":     {answer: page, class: resilience.Malformed},
		"302":                 {answer: status(302, "Location", "https://"+collectorHost+"/login"), class: resilience.Rejected},
		"308":                 {answer: status(308, "Location", "https://elsewhere.example/"), class: resilience.Rejected},
		"400":                 {answer: status(400), refused: true, class: resilience.Rejected},
		"401":                 {answer: status(401), class: resilience.Credential},
		"403":                 {answer: status(403), class: resilience.Denied},
		"404":                 {answer: status(404), class: resilience.NotFound},
		"413":                 {answer: status(413), refused: true, class: resilience.Rejected},
		"415":                 {answer: status(415), class: resilience.Rejected},
		"422":                 {answer: status(422), refused: true, class: resilience.Rejected},
		"429 for two minutes": {answer: status(429, "Retry-After", "120"), class: resilience.Throttled},
		"500":                 {answer: status(500), class: resilience.Unavailable},
		"503":                 {answer: status(503), class: resilience.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
				c.set(test.answer)
				_, err := newHTTP(t, cfg).Value.Send(t.Context(), batchOf("t", `{}`))
				if (err == nil) != test.good || errors.Is(err, ErrRefused) != test.refused || resilience.Of(err).Class != test.class {
					t.Errorf("%v: %v", resilience.Of(err).Class, err)
				}
				for _, r := range c.Requests() {
					if r.Path != "/v1/rows" {
						t.Errorf("went to %s", r.Path)
					}
				}
				if strings.HasPrefix(name, "429") && resilience.Of(err).RetryAfter.Round(time.Second) != 2*time.Minute {
					t.Errorf("again in %v", resilience.Of(err).RetryAfter)
				}
			})
		})
	}
	collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
		cfg.Success = []int{200}
		_, err := newHTTP(t, cfg).Value.Send(t.Context(), batchOf("t", `{}`)) // 202
		if err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "HTTPConfig.Success") {
			t.Error(err)
		}
	})
}

func TestALostAnswerIsRepeated(t *testing.T) {
	for _, kind := range []fault.Kind{fault.LoseResponse, fault.Reset} {
		collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
			c.Faults().Add(fault.Rule{Kind: kind, Count: 1})
			if _, err := newHTTP(t, cfg).Value.Send(t.Context(), batchOf("t", `{"JurymastID":"1"}`)); err != nil {
				t.Error(kind, err)
			}
			if got := c.got(); len(c.Requests()) != 2 || slices.Compact(got)[0] != "1" {
				t.Errorf("%v: %d requests, %q", kind, len(c.Requests()), got)
			}
		})
	}
}

// One row that the collector refuses: it alone is a dead letter.
func TestAPoisonRowIsOneDeadLetterAndNoOtherRowIsLost(t *testing.T) {
	collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
		c.set(func(w http.ResponseWriter, _ *http.Request, rows []json.RawMessage) bool {
			for _, r := range rows {
				if bytes.Contains(r, []byte("poison")) {
					http.Error(w, "field kind: unknown value", http.StatusBadRequest)
					return true
				}
			}
			return false
		})
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 3000, batch: 1000, raw: func(_ string, n uint64) string {
			if n == 1234 {
				return `{"kind":"poison"}`
			}
			return `{}`
		}}
		dir := memory(t)
		_, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: member1(newHTTP(t, cfg))})
		defer stop()
		time.Sleep(time.Minute)
		want := slices.Delete(expected(src, "0"), 1233, 1234)
		if got := c.got(); !slices.Equal(got, want) {
			t.Errorf("%d rows arrived, of %d", len(got), len(want))
		}
		l := letters(t, dir)
		if len(l) != 1 || !bytes.Contains(l[0].Row, []byte("toy:0:1234")) || !strings.Contains(l[0].Reason, "HTTP 400: field kind: unknown value") || l[0].Sink != "http/"+collectorHost {
			t.Errorf("%+v", l)
		}
	})
}

func TestATooLargeBatchIsHalved(t *testing.T) {
	collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
		most := 0
		c.set(func(w http.ResponseWriter, _ *http.Request, rows []json.RawMessage) bool {
			if len(rows) > 100 {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return true
			}
			most = max(most, len(rows))
			return false
		})
		src := &toySource{name: "toy", feeds: []string{"0"}, until: 1000, batch: 500}
		dir := memory(t)
		_, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: member1(newHTTP(t, cfg))})
		defer stop()
		time.Sleep(time.Minute)
		if got := c.got(); !slices.Equal(got, expected(src, "0")) || most < 50 || len(letters(t, dir)) != 0 {
			t.Errorf("%d rows arrived, at most %d at once, %d dead letters", len(got), most, len(letters(t, dir)))
		}
	})
}

// The pause is the server's, not that of the worker who was told.
func TestRetryAfterIsObeyedByAllSendersTogether(t *testing.T) {
	for _, code := range []int{429, 503} {
		collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
			const pause = 90 * time.Second
			var told time.Time
			c.set(func(w http.ResponseWriter, r *http.Request, rows []json.RawMessage) bool {
				switch {
				case told.IsZero() && len(c.ids) > 500:
					told = time.Now()
					return status(code, "Retry-After", "90")(w, r, rows)
				case !told.IsZero() && time.Since(told) < pause && !time.Now().Equal(told):
					t.Errorf("%d: a request %v after the answer", code, time.Since(told))
				}
				return false
			})
			src := &toySource{name: "toy", feeds: []string{"0", "1", "2", "3"}, until: 1000, batch: 10, every: 500 * time.Millisecond}
			dir := memory(t)
			_, stop := running(t, Config{Dir: dir, Sources: []Source{src}, Sinks: member1(newHTTP(t, cfg)), Senders: 4})
			defer stop()
			time.Sleep(10 * time.Minute)
			got := c.got()
			slices.Sort(got)
			if got = slices.Compact(got); len(got) != 4000 || told.IsZero() || len(letters(t, dir)) != 0 {
				t.Errorf("%d: %d rows arrived", code, len(got))
			}
		})
	}
}

func TestATokenThatExpiresIsAskedForAgain(t *testing.T) {
	collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
		var asked atomic.Int32
		cfg.Policy.Retry.Base = time.Second
		cfg.Authorize = func(ctx context.Context, req *http.Request) error {
			if asked.Add(1) == 2 {
				return errors.New("no token today")
			}
			b, err := io.ReadAll(req.Body) // to sign it
			if err != nil || len(b) == 0 {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			req.Header.Set("Authorization", fmt.Sprintf("Bearer token-%d", asked.Load()))
			req.URL.Host, req.Method = "elsewhere.example", "GET"
			return nil
		}
		m := newHTTP(t, cfg)
		for i := range 3 {
			_, err := m.Value.Send(t.Context(), batchOf("t", fmt.Sprintf(`{"JurymastID":"%d"}`, i)))
			if (err != nil) != (i == 1) || err != nil && (resilience.Of(err).Class != resilience.Credential || resilience.Of(err).Sent != resilience.NotSent) {
				t.Errorf("%d: %v", i, err)
			}
		}
		r := c.Requests()
		if len(r) != 2 || r[1].Header.Get("Authorization") != "Bearer token-3" || !slices.Equal(c.got(), []string{"0", "2"}) {
			t.Errorf("%+v", r)
		}
		cfg.Authorize = func(context.Context, *http.Request) error { panic("oh") }
		if _, err := newHTTP(t, cfg).Value.Send(t.Context(), batchOf("t", `{}`)); err == nil || !strings.Contains(err.Error(), "HTTPConfig.Authorize panicked") {
			t.Error(err)
		}
	})
}

// A server that repeats the request in its answer, and one who prints everything.
func TestNoSecretIsInAnyError(t *testing.T) {
	collecting(t, func(t *testing.T, c *collector, cfg HTTPConfig) {
		c.set(func(w http.ResponseWriter, r *http.Request, _ []json.RawMessage) bool {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, "bad token %s,\n\x1b[31mof %s in %s?%s", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.Header.Get("X-Key"), r.URL.Path, r.URL.RawQuery)
			return true
		})
		cfg.URL += "&key=query-secret"
		cfg.Header = map[string]Secret{"Authorization": "Bearer header-secret"}
		cfg.Authorize = func(_ context.Context, req *http.Request) error {
			req.Header.Set("X-Key", "callback-secret")
			return nil
		}
		m := newHTTP(t, cfg)
		_, err := m.Value.Send(t.Context(), batchOf("t", `{}`))
		if err == nil || !strings.Contains(err.Error(), "bad token [redacted], [31mof [redacted] in /v1/rows?[redacted]") {
			t.Error(err)
		}
		c.Faults().Add(fault.Rule{Kind: fault.Refuse})
		_, broken := m.Value.Send(t.Context(), batchOf("t", `{}`))
		bad := cfg
		bad.URL = "https://query-secret\x00"
		_, misuse := NewHTTP(bad)
		for _, s := range []string{fmt.Sprintf("%v %+v %#v", err, broken, misuse), fmt.Sprintf("%+v %#v", m, m.Value), fmt.Sprintf("%+v %v %#v", cfg.Header, cfg.Header, cfg.Header)} {
			if strings.Contains(s, "-secret") {
				t.Errorf("it prints %s", s)
			}
		}
	})
}

func TestHTTPConfigSaysWhatIsWrong(t *testing.T) {
	good := HTTPConfig{URL: "https://collector.example/rows"}
	for want, change := range map[string]func(*HTTPConfig){
		"HTTPConfig.URL: want https":            func(c *HTTPConfig) { c.URL = "http://collector.example" },
		"want https://host/path, or http":       func(c *HTTPConfig) { c.URL = "https://user:password@collector.example" },
		"without user and fragment":             func(c *HTTPConfig) { c.URL = "/rows" },
		"HTTPConfig.Format is 2":                func(c *HTTPConfig) { c.Format = 2 },
		"HTTPConfig.Success has 302":            func(c *HTTPConfig) { c.Success = []int{200, 302} },
		"has content-encoding":                  func(c *HTTPConfig) { c.Header = map[string]Secret{"content-encoding": "zstd"} },
		`HTTPConfig.Header: "X-Key"`:            func(c *HTTPConfig) { c.Header = map[string]Secret{"X-Key": "a\nb"} },
		`HTTPConfig.Header: "X Key"`:            func(c *HTTPConfig) { c.Header = map[string]Secret{"X Key": "a"} },
		"HTTPConfig.Policy: resilience: policy": func(c *HTTPConfig) { c.Policy.Retry.Attempts = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewHTTP(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "password") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for _, url := range []string{"http://127.0.0.1:8080/rows", "http://localhost/rows", "http://[::1]/rows"} {
		if _, err := NewHTTP(HTTPConfig{URL: url}); err != nil {
			t.Error(err)
		}
	}
}

// net/http may read a request's body when the request is over, and the batch with it.
func TestABodyIsNotReadAfterItsRequest(t *testing.T) {
	l := &loan{bytes: []byte("hello")}
	r := l.reader()
	b := make([]byte, 2)
	if n, err := r.Read(b); n != 2 || err != nil {
		t.Error(n, err)
	}
	l.end()
	if n, err := r.Read(b); n != 0 || !errors.Is(err, errLoan) || r.Close() != nil {
		t.Error(n, err)
	}
}
