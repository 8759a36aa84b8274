package crowdstrike_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience/fault"
)

// letters is a source of these events, in Puts of so many, one a second.
type letters struct {
	events []siem.Event
	puts   int
}

func (letters) Name() string { return "letters" }

func (s letters) Read(ctx context.Context, in *siem.Intake) error {
	done, _ := in.Cursor("0")
	for i := int(done); i < len(s.events); i += s.puts {
		if err := in.Put(ctx, "0", s.events[i:min(i+s.puts, len(s.events))]...); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	<-ctx.Done()
	return ctx.Err()
}

func lettersOf(n, bytes int) letters {
	s := letters{puts: n}
	for i := range n {
		raw := fmt.Sprintf(`{"n":%d,"text":"<%s>"}`, i, strings.Repeat("x", bytes))
		s.events = append(s.events, siem.Event{Offset: uint64(i + 1), Time: time.Now().Add(-time.Hour), Type: "Letter", Raw: json.RawMessage(raw)})
	}
	return s
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// refusing answers as status says, if it says something, to what is in the request's
// body.
func refusing(base http.RoundTripper, status func(body string) int) *http.Client {
	return &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		zip, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(zip)
		if err != nil {
			return nil, err
		}
		if code := status(string(text)); code != 0 {
			return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(`{"text":"Invalid data format","code":6}`)), Request: r}, nil
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return base.RoundTrip(r)
	})}
}

// toSIEM delivers a source's events to a connector for a while, and returns what
// arrived by event, and the dead letters.
func toSIEM(t *testing.T, server falcontest.Config, source siem.Source, during time.Duration, change func(*falcontest.Server, *falcon.HECConfig, *siem.Config)) (arrived map[string]int, events []falcontest.IngestedEvent, dead string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server.InMemory = true
		srv, err := falcontest.NewServer(server)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		url, key := srv.AddConnector()
		hc := falcon.HECConfig{URL: url, Key: falcon.Secret(key), HTTPClient: srv.Client()}
		hc.Policy.Retry.Attempts = 1
		dir := t.TempDir()
		cfg := siem.Config{Dir: dir, Sources: []siem.Source{source}}
		if change != nil {
			change(srv, &hc, &cfg)
		}
		h, err := falcon.NewHEC(hc)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Sinks = append([]failover.Member[siem.Sink]{crowdstrike.HEC(h, crowdstrike.HECConfig{Source: "jurymast"})}, cfg.Sinks...)
		p, err := siem.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		if err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		dead = readAll(t, filepath.Join(dir, "dead"))
		arrived = map[string]int{}
		events = srv.Ingested()
		for _, e := range events {
			var row struct {
				JurymastID    string `json:"JurymastId"`
				TimeGenerated time.Time
				Event         struct{ N *int }
			}
			if err := json.Unmarshal(e.Event, &row); err != nil || row.Event.N == nil {
				t.Fatalf("%s: %v", e.Event, err)
			}
			if e.Fields["jurymast_id"] != row.JurymastID || row.JurymastID == "" || e.Type != siem.EventsTable || e.Source != "jurymast" {
				t.Errorf("%+v", e)
			}
			if at := fmt.Sprintf("%d.%03d", row.TimeGenerated.Unix(), row.TimeGenerated.UnixMilli()%1000); e.Time.String() != at {
				t.Errorf("the time is %s, and not %s", e.Time, at)
			}
			arrived[row.JurymastID]++
		}
	})
	return arrived, events, dead
}

// times wants so many events, each so often.
func times(t *testing.T, arrived map[string]int, n, least, most int) {
	t.Helper()
	if len(arrived) != n {
		t.Errorf("%d events arrived, not %d", len(arrived), n)
	}
	for id, k := range arrived {
		if k < least || k > most {
			t.Errorf("%s arrived %d times", id, k)
		}
	}
}

func TestHECRowsArriveWithTheirTimeAndID(t *testing.T) {
	arrived, events, dead := toSIEM(t, falcontest.Config{}, lettersOf(100, 50), time.Minute, nil)
	times(t, arrived, 100, 1, 1)
	if dead != "" || !strings.Contains(string(events[0].Event), `"Event":{"n":0,"text":"<xxx`) {
		t.Errorf("%s, %s", events[0].Event, dead)
	}
}

// The answer is lost, or half of it: the batch is sent again, and copies have the id.
func TestHECWhatIsInDoubtIsSentAgain(t *testing.T) {
	for _, again := range []bool{false, true} {
		arrived, _, dead := toSIEM(t, falcontest.Config{}, lettersOf(100, 50), time.Minute, func(srv *falcontest.Server, h *falcon.HECConfig, _ *siem.Config) {
			srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Count: 1})
			if h.AtLeastOnce = again; again {
				h.Policy.Retry.Attempts = 2
			}
		})
		times(t, arrived, 100, 2, 2)
		if dead != "" {
			t.Error(dead)
		}
	}
}

// A batch goes out in several requests, of which one fails: those before it are not
// sent again.
func TestHECWhatIsAcceptedIsNotSentAgain(t *testing.T) {
	for _, status := range []int{503, 400, 413, 429, 401} {
		failed := false
		arrived, _, dead := toSIEM(t, falcontest.Config{}, lettersOf(100, 50), time.Hour, func(_ *falcontest.Server, h *falcon.HECConfig, _ *siem.Config) {
			h.MaxBatch = 2000
			h.HTTPClient = refusing(h.HTTPClient.Transport, func(body string) int {
				if !failed && strings.Contains(body, `"n":50,`) {
					failed = true
					return status
				}
				return 0
			})
		})
		times(t, arrived, 100, 1, 1)
		if dead != "" || !failed {
			t.Errorf("%d: %s", status, dead)
		}
	}
}

// One row is what Falcon does not want, for one of three reasons; the others arrive.
func TestHECOnePoisonRowIsBuried(t *testing.T) {
	long := lettersOf(40, 50)
	long.events[7].Raw = json.RawMessage(`{"n":7,"text":"` + strings.Repeat("y", 9000) + `"}`)
	for name, test := range map[string]struct {
		server falcontest.Config
		change func(*falcon.HECConfig)
	}{
		"400": {falcontest.Config{}, func(h *falcon.HECConfig) {
			h.HTTPClient = refusing(h.HTTPClient.Transport, func(body string) int {
				if strings.Contains(body, `"n":7,`) {
					return 400
				}
				return 0
			})
		}},
		"413":            {falcontest.Config{IngestLimit: 8000}, func(*falcon.HECConfig) {}},
		"never is a try": {falcontest.Config{}, func(h *falcon.HECConfig) { h.MaxBatch = 8000 }},
	} {
		t.Run(name, func(t *testing.T) {
			arrived, _, dead := toSIEM(t, test.server, long, time.Hour, func(_ *falcontest.Server, h *falcon.HECConfig, _ *siem.Config) { test.change(h) })
			times(t, arrived, 39, 1, 1)
			if strings.Count(dead, "\n") != 1 || !strings.Contains(dead, "letters:0:8") || !strings.Contains(dead, `"sink":"ngsiem"`) {
				t.Errorf("dead letters: %.300s", dead)
			}
		})
	}
}

// Falcon asks to wait a minute: nobody asks before. The sink is shared by two pumps, as
// by the senders of one.
func TestHECAllSendersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := falcontest.NewServer(falcontest.Config{InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		url, key := srv.AddConnector()
		hc := falcon.HECConfig{URL: url, Key: falcon.Secret(key), HTTPClient: srv.Client()}
		hc.Policy.Retry.Attempts = 1
		h, err := falcon.NewHEC(hc)
		if err != nil {
			t.Fatal(err)
		}
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Status: 429, Header: http.Header{"Retry-After": {"60"}}, Start: 10 * time.Second, Count: 1})
		m := crowdstrike.HEC(h, crowdstrike.HECConfig{})
		for range 2 {
			source := lettersOf(100, 50)
			source.puts = 2
			_, stop := pumping(t, t.TempDir(), m.Value, source)
			defer stop()
		}
		time.Sleep(10 * time.Minute)
		if n := len(srv.Ingested()); n != 200 {
			t.Errorf("%d events arrived", n)
		}
		waited := 0
		for i, r := range srv.Requests()[1:] {
			switch d := r.Time.Sub(srv.Requests()[i].Time); {
			case d >= time.Minute:
				waited++
			case d > 5*time.Second:
				t.Errorf("a request came after %v", d)
			}
		}
		if waited != 1 {
			t.Errorf("waited %d times", waited)
		}
	})
}

func TestHECMember(t *testing.T) {
	if m := crowdstrike.HEC(nil, crowdstrike.HECConfig{}); m.ID != "ngsiem" || m.Plane != "falcon" {
		t.Errorf("%+v", m)
	}
	m := crowdstrike.HEC(nil, crowdstrike.HECConfig{ID: "a", Plane: "b"})
	if m.ID != "a" || m.Plane != "b" {
		t.Errorf("%+v", m)
	}
	if _, err := m.Value.Send(t.Context(), &siem.Batch{}); err == nil || !strings.Contains(err.Error(), "NewHEC") {
		t.Error(err)
	}
}
