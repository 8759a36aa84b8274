package falcon_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const ingest = "/api/ingest/hec/"

// connector runs a test with a sender to a simulated connector, in virtual time.
func connector(t *testing.T, server falcontest.Config, change func(*falcon.HECConfig), test func(*testing.T, *falcontest.Server, *falcon.HEC)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server.InMemory = true
		srv, err := falcontest.NewServer(server)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		url, key := srv.AddConnector()
		cfg := falcon.HECConfig{URL: url, Key: falcon.Secret(key), HTTPClient: srv.Client()}
		if change != nil {
			change(&cfg)
		}
		h, err := falcon.NewHEC(cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(t, srv, h)
	})
}

func numbered(n int) (out []falcon.HECEvent) {
	for i := range n {
		out = append(out, falcon.HECEvent{Event: map[string]int{"n": i}})
	}
	return out
}

// smallBatches have room for four of numbered's events.
func smallBatches(cfg *falcon.HECConfig) { cfg.MaxBatch = 80 }

func TestHECEventsOnTheWire(t *testing.T) {
	connector(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
		full := falcon.HECEvent{
			Event: json.RawMessage("{\n \"cmd\": \"<a> & b\"\n}"), Time: time.Date(2026, 11, 1, 12, 0, 0, 70e6+999, time.UTC),
			Host: "ws-1", Source: "app", SourceType: "json", Index: "main", Fields: map[string]string{"#team": "blue"},
		}
		if err := h.Send(t.Context(), full, falcon.HECEvent{Event: "a line"}); err != nil {
			t.Fatal(err)
		}
		if err := h.SendRaw(t.Context(), "one", "  two"); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(h.Send(t.Context()), h.SendRaw(t.Context())); err != nil {
			t.Error(err)
		}
		want := []string{
			`{"time":1793534400.070,"host":"ws-1","source":"app","sourcetype":"json","index":"main","event":{"cmd":"<a> & b"},"fields":{"#team":"blue"}}` +
				"\n" + `{"event":"a line"}` + "\n",
			"one\n  two\n",
		}
		requests := srv.Requests()
		if len(requests) != len(want) {
			t.Fatalf("%d requests", len(requests))
		}
		for i, r := range requests {
			zip, err := gzip.NewReader(bytes.NewReader(r.Body))
			if err != nil || r.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
				t.Fatalf("%v, %v", err, r.Header)
			}
			if sent, err := io.ReadAll(zip); err != nil || string(sent) != want[i] {
				t.Errorf("sent %s, want %s; %v", sent, want[i], err)
			}
		}
		if !strings.HasSuffix(requests[0].Path, "/services/collector") || !strings.HasSuffix(requests[1].Path, "/services/collector/raw") {
			t.Errorf("to %s and %s", requests[0].Path, requests[1].Path)
		}
		got := srv.Ingested()
		if len(got) != 4 || got[0].Fields["#team"] != "blue" || got[0].Time != "1793534400.070" || string(got[1].Event) != `"a line"` || got[3].Line != "  two" {
			t.Errorf("arrived %+v", got)
		}
	})
}

func TestHECBatches(t *testing.T) {
	connector(t, falcontest.Config{}, smallBatches, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
		if err := h.Send(t.Context(), numbered(10)...); err != nil {
			t.Fatal(err)
		}
		if n := len(srv.Requests()); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		for i, e := range srv.Ingested() {
			if want := fmt.Sprintf(`{"n":%d}`, i); string(e.Event) != want {
				t.Errorf("event %d is %s", i, e.Event)
			}
		}
		exact := falcon.HECEvent{Event: strings.Repeat("x", 80-len(`{"event":""}`+"\n"))}
		if err := h.Send(t.Context(), exact); err != nil {
			t.Errorf("an event as large as a batch: %v", err)
		}
	})
}

// What stops a Send half way says how far it came, and which events are in doubt.
func TestHECErrorSaysHowFarItCame(t *testing.T) {
	for name, tc := range map[string]struct {
		rule    fault.Rule
		doubt   int
		class   resilience.Class
		sent    resilience.Sent // of the batch
		arrived int
	}{
		"the answer is lost": {fault.Rule{Kind: fault.LoseResponse}, 4, resilience.Broken, resilience.MaybeSent, 8},
		"503":                {fault.Rule{Kind: fault.Status, Status: 503, Body: `{"text":"Server is busy","code":9}`}, 4, resilience.Unavailable, resilience.MaybeSent, 4},
		"refused":            {fault.Rule{Kind: fault.Status, Status: 413}, 0, resilience.Rejected, resilience.Answered, 4},
		"400":                {fault.Rule{Kind: fault.Status, Status: 400, Body: `{"text":"Invalid data format","code":6,"invalid-event-number":2}`}, 4, resilience.Rejected, resilience.MaybeSent, 4},
		"200 with a code":    {fault.Rule{Kind: fault.Status, Status: 200, Body: `{"text":"Server is busy","code":9}`}, 4, resilience.Malformed, resilience.MaybeSent, 4},
		"200 without a code": {fault.Rule{Kind: fault.Status, Status: 200, Body: `{"text":"Success"}`}, 4, resilience.Malformed, resilience.MaybeSent, 4},
		"200 of a proxy":     {fault.Rule{Kind: fault.Status, Status: 200, Body: `<html>welcome</html>`}, 4, resilience.Malformed, resilience.MaybeSent, 4},
		"204":                {fault.Rule{Kind: fault.Status, Status: 204}, 4, resilience.Malformed, resilience.MaybeSent, 4},
		"elsewhere":          {fault.Rule{Kind: fault.Status, Status: 308, Header: http.Header{"Location": {"https://evil.test/"}}}, 0, resilience.Rejected, resilience.Answered, 4},
	} {
		t.Run(name, func(t *testing.T) {
			connector(t, falcontest.Config{}, smallBatches, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
				events := numbered(10)
				if err := h.Send(t.Context(), events[:4]...); err != nil {
					t.Fatal(err)
				}
				tc.rule.Path = ingest
				srv.Faults().Add(tc.rule)
				before := len(srv.Requests())
				err := h.Send(t.Context(), events[4:]...)
				e, ok := errors.AsType[*falcon.HECError](err)
				if !ok || e.Accepted != 0 || e.InDoubt != tc.doubt || e.Of != 6 {
					t.Fatalf("got %+v", err)
				}
				if name == "200 with a code" && !strings.Contains(err.Error(), "Server is busy; its code is 9") {
					t.Errorf("got %v", err)
				}
				if f := resilience.Of(err); f.Class != tc.class || f.Sent != tc.sent {
					t.Errorf("got %v (%v, %v)", err, f.Class, f.Sent)
				}
				if n := len(srv.Requests()) - before; n != 1 || len(srv.Ingested()) != tc.arrived {
					t.Errorf("%d requests, %d events", n, len(srv.Ingested()))
				}
			})
		})
	}
	// The first two batches arrive, the third finds a full house.
	connector(t, falcontest.Config{}, func(cfg *falcon.HECConfig) {
		smallBatches(cfg)
		cfg.Policy.Retry.Attempts = 1
		base, n := cfg.HTTPClient.Transport, 0
		cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if n++; n == 3 {
				r.Header.Set("Authorization", "Bearer wrong")
			}
			return base.RoundTrip(r)
		})}
	}, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
		err := h.Send(t.Context(), numbered(10)...)
		e, ok := errors.AsType[*falcon.HECError](err)
		if !ok || e.Accepted != 8 || e.InDoubt != 0 || !strings.Contains(err.Error(), "8 of 10 events accepted") {
			t.Fatalf("got %v", err)
		}
		// That the third was refused does not mean that nothing of the whole was sent.
		if resilience.Of(e.Err).Sent != resilience.Answered || resilience.Of(err).Sent != resilience.MaybeSent {
			t.Errorf("sent: %v, of the batch %v", resilience.Of(err).Sent, resilience.Of(e.Err).Sent)
		}
		if got := srv.Ingested(); len(got) != e.Accepted {
			t.Errorf("%d arrived", len(got))
		}
	})
}

// A batch whose answer was lost is sent again only if its sender wants that.
func TestHECDuplicatesAreTheSendersChoice(t *testing.T) {
	for _, again := range []bool{false, true} {
		connector(t, falcontest.Config{}, func(cfg *falcon.HECConfig) { cfg.AtLeastOnce = again }, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
			srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Path: ingest, Count: 1})
			err := h.Send(t.Context(), numbered(3)...)
			e, failed := errors.AsType[*falcon.HECError](err)
			switch n := len(srv.Ingested()); {
			case again && (err != nil || n != 6):
				t.Errorf("at least once: %d events, %v", n, err)
			case !again && (!failed || e.InDoubt != 3 || n != 3):
				t.Errorf("%d events, %v", n, err)
			}
		})
	}
	// What was proven not to have been taken is sent again in any case.
	connector(t, falcontest.Config{}, func(cfg *falcon.HECConfig) { cfg.Policy.Retry.Attempts, cfg.Policy.Total = 20, time.Hour }, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
		srv.Faults().Add(fault.Rule{Kind: fault.Refuse, For: 100 * time.Millisecond})
		if err := h.Send(t.Context(), numbered(3)...); err != nil || len(srv.Ingested()) != 3 {
			t.Errorf("%v, %d events", err, len(srv.Ingested()))
		}
	})
	connector(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 429, Count: 2, Path: ingest})
		if err := h.Send(t.Context(), numbered(3)...); err != nil || len(srv.Ingested()) != 3 || len(srv.Requests()) != 3 {
			t.Errorf("%v, %d events", err, len(srv.Ingested()))
		}
	})
}

func TestHECBadEventsAreNamedAndNothingIsSent(t *testing.T) {
	good := falcon.HECEvent{Event: "x"}
	for name, tc := range map[string]struct {
		bad  falcon.HECEvent
		says string
	}{
		"too large": {falcon.HECEvent{Event: strings.Repeat("x", 80)}, "HECConfig.MaxBatch"},
		"no JSON":   {falcon.HECEvent{Event: json.RawMessage(`{`)}, "JSON"},
		"a channel": {falcon.HECEvent{Event: make(chan int)}, "chan"},
		"none":      {falcon.HECEvent{Host: "h"}, "HECEvent.Event"},
		"blank":     {falcon.HECEvent{Event: ""}, "HECEvent.Event"},
	} {
		connector(t, falcontest.Config{}, smallBatches, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
			err := h.Send(t.Context(), append(numbered(20), tc.bad, good)...)
			if resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), "event 20 of 22") || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %v", name, err)
			}
			if len(srv.Requests()) != 0 {
				t.Errorf("%s: something was sent", name)
			}
		})
	}
	connector(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
		for _, line := range []string{"", " ", "two\nlines", "two\rlines"} {
			if err := h.SendRaw(t.Context(), "good", line); resilience.Of(err).Class != resilience.Misuse || len(srv.Requests()) != 0 {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
}

// The key is in no error, no log and no printed value, and goes to its host alone.
func TestHECKeyStaysWithItsHost(t *testing.T) {
	var log bytes.Buffer
	var asked []string
	connector(t, falcontest.Config{}, func(cfg *falcon.HECConfig) {
		base := cfg.HTTPClient.Transport
		cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.Hostname())
			return base.RoundTrip(r)
		})}
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Key = "hush-hush"
		if s := fmt.Sprintf("%v %+v %#v", *cfg, *cfg, *cfg); strings.Contains(s, "hush") {
			t.Errorf("printed: %s", s)
		}
	}, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
		if s := fmt.Sprintf("%v %+v %#v", h, h, *h); strings.Contains(s, "hush") {
			t.Errorf("printed: %s", s)
		}
		err := h.Send(t.Context(), numbered(1)...)
		api, ok := errors.AsType[*falcon.APIError](err)
		if !ok || api.Status != 401 || !strings.Contains(err.Error(), "HECConfig.Key") || !strings.Contains(err.Error(), "Invalid token") || resilience.Of(err).Class != resilience.Credential {
			t.Errorf("got %v", err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 403, Path: ingest, Count: 1, Body: `{"text":"unknown key hush-hush","code":4}`})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 500, Path: ingest, Count: 1, Body: `{"errors":[{"message":"Bearer hush-hush"}]}`})
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 302, Path: ingest, Header: http.Header{"Location": {"https://api.crowdstrike.com/"}}})
		for _, says := range []string{"unknown key", "Bearer", "302"} {
			err := h.Send(t.Context(), numbered(1)...)
			var e *resilience.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), says) {
				t.Fatalf("got %v", err)
			}
			if s := err.Error() + e.Explain() + fmt.Sprintf("%+v", err) + h.Policy().Explain().String(); strings.Contains(s, "hush") {
				t.Errorf("the key is in %s", s)
			}
		}
		for _, host := range asked {
			if host != "ingest.us-1.crowdstrike.com" {
				t.Errorf("went to %s", host)
			}
		}
	})
	if strings.Contains(log.String(), "hush") {
		t.Errorf("logged: %s", log.String())
	}
}

func TestHECConfigErrorsNameTheField(t *testing.T) {
	ok := falcon.HECConfig{URL: "https://ingest.us-1.crowdstrike.com/api/ingest/hec/x/v1", Key: "hush"}
	for field, change := range map[string]func(*falcon.HECConfig){
		"HECConfig.URL":      func(c *falcon.HECConfig) { c.URL = "http://ingest.us-1.crowdstrike.com/" },
		"HECConfig.URL:":     func(c *falcon.HECConfig) { c.URL = "https://hush@x/" },
		"URL: want":          func(c *falcon.HECConfig) { c.URL = "hush" },
		"without":            func(c *falcon.HECConfig) { c.URL = "https://x/?token=hush" },
		"HECConfig.Key":      func(c *falcon.HECConfig) { c.Key = "" },
		"white space":        func(c *falcon.HECConfig) { c.Key = "hush\n" },
		"HECConfig.MaxBatch": func(c *falcon.HECConfig) { c.MaxBatch = -1 },
		"HECConfig.Policy":   func(c *falcon.HECConfig) { c.Policy.Attempt, c.Policy.Total = 9, 8 },
	} {
		cfg := ok
		change(&cfg)
		if _, err := falcon.NewHEC(cfg); err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, end := range []string{"", "/", "/services/collector", "/services/collector/", "/services/collector/raw"} {
		connector(t, falcontest.Config{}, func(cfg *falcon.HECConfig) { cfg.URL += end }, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
			if err := h.Send(t.Context(), numbered(1)...); err != nil {
				t.Errorf("%q: %v", end, err)
			}
		})
	}
}

func TestHECHonoursTheContext(t *testing.T) {
	connector(t, falcontest.Config{}, smallBatches, func(t *testing.T, srv *falcontest.Server, h *falcon.HEC) {
		srv.Faults().Add(fault.Rule{Kind: fault.Blackhole, Path: ingest})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := h.Send(ctx, numbered(10)...)
		if e, ok := errors.AsType[*falcon.HECError](err); !ok || e.InDoubt != 4 || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if e, ok := errors.AsType[*falcon.HECError](h.Send(ctx, numbered(10)...)); !ok || e.InDoubt != 0 {
			t.Errorf("nothing was sent, and %+v", e)
		}
	})
}
