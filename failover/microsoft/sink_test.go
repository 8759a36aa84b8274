package microsoft_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/azure/azuretest"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/microsoft"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const (
	eventsStream = "Custom-Events_CL"
	lateStream   = "Custom-Late_CL"
)

// sentinel runs a test with a workspace whose rule declares two streams, in a bubble.
func sentinel(t *testing.T, change func(*azuretest.Collection), test func(*testing.T, *azuretest.Server, *azure.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		columns := []azuretest.Column{
			{Name: "TimeGenerated", Type: "datetime"},
			{Name: "OriginalTime", Type: "datetime"},
			{Name: "JurymastId", Type: "string"},
			{Name: "Text", Type: "string"},
		}
		rule := azuretest.Collection{Streams: map[string][]azuretest.Column{eventsStream: columns, lateStream: columns}}
		if change != nil {
			change(&rule)
		}
		srv, err := azuretest.NewServer(azuretest.Config{InMemory: true, Collections: []azuretest.Collection{rule}})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		c, err := azure.New(azure.Config{TenantID: azuretest.TenantID, ClientID: azuretest.ClientID, ClientSecret: azuretest.ClientSecret, HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close(context.Background()) }()
		test(t, srv, c)
	})
}

func sinkConfig() microsoft.SinkConfig {
	return microsoft.SinkConfig{
		Endpoint: "https://" + azuretest.IngestHost, RuleID: azuretest.RuleID,
		Streams: map[string]string{siem.EventsTable: eventsStream},
	}
}

// textual makes one row of an event: its Raw is the Text column.
func textual(e *siem.Event, rows *siem.Rows) error {
	rows.Append(siem.EventsTable, func(b []byte) []byte {
		b = siem.AppendTime(append(b, `{"TimeGenerated":"`...), e.Time)
		b = siem.AppendString(append(b, `","JurymastId":`...), e.ID)
		return append(append(append(b, `,"Text":`...), e.Raw...), '}')
	})
	return nil
}

// given is a source of these events.
type given []siem.Event

func (given) Name() string { return "given" }

func (g given) Read(ctx context.Context, in *siem.Intake) error {
	if err := in.Put(ctx, "0", g...); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// trickle puts them in tens, five seconds apart.
type trickle struct{ given }

func (s trickle) Read(ctx context.Context, in *siem.Intake) error {
	for ten := range slices.Chunk(s.given, 10) {
		if err := in.Put(ctx, "0", ten...); err != nil {
			return err
		}
		time.Sleep(5 * time.Second)
	}
	<-ctx.Done()
	return ctx.Err()
}

// numbered are events with a Text, at so many hours from now.
func numbered(n int, hours float64, text string) (out given) {
	for i := range n {
		at := time.Now().Add(time.Duration(hours * float64(time.Hour)))
		out = append(out, siem.Event{ID: fmt.Sprintf("%gh-%d", hours, i), Time: at, Raw: []byte(text)})
	}
	return out
}

func together(parts ...given) (out given) {
	for _, p := range parts {
		out = append(out, p...)
	}
	for i := range out {
		out[i].Offset = uint64(i + 1)
	}
	return out
}

// pump delivers events for a while, and returns the dead letters.
func pump(t *testing.T, c *azure.Client, cfg microsoft.SinkConfig, events given, during time.Duration) (dead string) {
	t.Helper()
	m, err := microsoft.Sink(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return pumpTo(t, m, events, during)
}

func pumpTo(t *testing.T, m failover.Member[siem.Sink], events siem.Source, during time.Duration) (dead string) {
	t.Helper()
	return pumpMapped(t, m, events, textual, during)
}

func pumpMapped(t *testing.T, m failover.Member[siem.Sink], events siem.Source, mapping siem.Mapping, during time.Duration) (dead string) {
	t.Helper()
	dir := t.TempDir()
	p, err := siem.Open(siem.Config{Dir: dir, Sources: []siem.Source{events}, Sinks: []failover.Member[siem.Sink]{m}, Mapping: mapping})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	time.Sleep(during)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "dead", "*"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dead += string(text)
	}
	return dead
}

type storedRow struct {
	TimeGenerated time.Time
	OriginalTime  *time.Time
	JurymastID    string `json:"JurymastId"`
	Text          string
}

func storedRows(t *testing.T, srv *azuretest.Server, stream string) (rows []storedRow, ids []string) {
	t.Helper()
	for _, raw := range srv.Rows(azuretest.RuleID, stream) {
		var row storedRow
		if err := json.Unmarshal(raw, &row); err != nil {
			t.Fatal(err)
		}
		rows, ids = append(rows, row), append(ids, row.JurymastID)
	}
	return rows, ids
}

// sentBodies are what was posted, not compressed any more.
func sentBodies(t *testing.T, srv *azuretest.Server) (out []string) {
	t.Helper()
	for _, r := range srv.Requests() {
		if !strings.HasPrefix(r.Path, "/dataCollectionRules/") {
			continue
		}
		zip, err := gzip.NewReader(bytes.NewReader(r.Body))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(zip)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(body))
	}
	return out
}

func ids(events given) (out []string) {
	for _, e := range events {
		out = append(out, e.ID)
	}
	return out
}

func TestBatchesGoOutAsTheyAreInTheSpool(t *testing.T) {
	sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		events := together(numbered(500, 0, `"x"`), numbered(500, -46.5, `"x"`))
		pump(t, c, sinkConfig(), events, time.Minute)
		rows, got := storedRows(t, srv, eventsStream)
		if !slices.Equal(got, ids(events)) {
			t.Errorf("%d rows, not the %d in order", len(got), len(events))
		}
		for i, r := range rows {
			if r.OriginalTime != nil || r.TimeGenerated.Sub(events[i].Time).Abs() > time.Millisecond {
				t.Fatalf("%+v, of %v", r, events[i].Time)
			}
		}
		// The client puts no line break between rows, the spool does.
		if b := sentBodies(t, srv); len(b) != 1 || strings.Count(b[0], ",\n") != len(events)-1 {
			t.Errorf("%d requests, compressed again", len(b))
		}
	})
}

// The rows of a long outage come when Azure Monitor does not take their time any more.
func TestALateRowKeepsItsTimeAndIsMarked(t *testing.T) {
	for _, hours := range []float64{-72, -47.5, 30} {
		sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			events := together(numbered(3, 0, `"x"`), numbered(3, hours, `"x"`))
			pump(t, c, sinkConfig(), events, time.Minute)
			rows, got := storedRows(t, srv, eventsStream)
			if !slices.Equal(got, ids(events)) {
				t.Fatalf("%g h: %v", hours, got)
			}
			for i, r := range rows {
				switch late := i >= 3; {
				case late != (r.OriginalTime != nil):
					t.Errorf("%g h: row %d: late %v, original time %v", hours, i, late, r.OriginalTime)
				case late && r.OriginalTime.Sub(events[i].Time).Abs() > time.Millisecond:
					t.Errorf("%g h: row %d: original time %v, of %v", hours, i, r.OriginalTime, events[i].Time)
				}
			}
		})
	}
}

func TestLateRowsAreDiverted(t *testing.T) {
	sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		cfg := sinkConfig()
		cfg.Late = map[string]string{siem.EventsTable: lateStream}
		timely, late := numbered(3, 0, `"x"`), numbered(3, -72, `"x"`)
		pump(t, c, cfg, together(late, timely), time.Minute)
		_, own := storedRows(t, srv, eventsStream)
		rows, other := storedRows(t, srv, lateStream)
		if !slices.Equal(own, ids(timely)) || !slices.Equal(other, ids(late)) || rows[0].OriginalTime == nil {
			t.Errorf("%v, and late %v", own, other)
		}
	})
}

// What is accepted is not sent again because of what is not.
func TestHalfOfABatchFails(t *testing.T) {
	for _, down := range []string{eventsStream, lateStream} {
		sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: "/dataCollectionRules/" + azuretest.RuleID + "/streams/" + down, For: 10 * time.Minute})
			cfg := sinkConfig()
			cfg.Late = map[string]string{siem.EventsTable: lateStream}
			timely, late := numbered(3, 0, `"x"`), numbered(3, -72, `"x"`)
			dead := pump(t, c, cfg, together(late, timely), time.Hour)
			_, own := storedRows(t, srv, eventsStream)
			_, other := storedRows(t, srv, lateStream)
			if !slices.Equal(own, ids(timely)) || !slices.Equal(other, ids(late)) || dead != "" {
				t.Errorf("%s down: %v, and late %v, dead %s", down, own, other, dead)
			}
		})
	}
}

func TestALongFieldIsCutAndTheOthersAreNot(t *testing.T) {
	sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		long := strings.Repeat("ö", 40_000) // 80,000 bytes
		pump(t, c, sinkConfig(), together(numbered(1, 0, `"short"`), numbered(1, -1, `"`+long+`"`)), time.Minute)
		rows, _ := storedRows(t, srv, eventsStream)
		if len(rows) != 2 || rows[0].Text != "short" || !strings.HasSuffix(rows[1].Text, "ö...[truncated]") || len(rows[1].Text) > 64<<10 {
			t.Errorf("%d rows", len(rows))
		}
	})
}

// Both ways, a row that Azure Monitor does not take costs nobody else.
func TestARefusedRowIsBuriedAlone(t *testing.T) {
	auxiliary := func(r *azuretest.Collection) { r.Auxiliary = true } // refuses nested JSON
	for name, others := range map[string]func() given{
		"compressed once": func() given { return numbered(100, 0, `"x"`) },
		"looked into":     func() given { return numbered(100, -72, `"x"`) },
	} {
		sentinel(t, auxiliary, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			bad := numbered(1, -1, `{"nested":1}`)
			good := others()
			dead := pump(t, c, sinkConfig(), together(good[:60], bad, good[60:]), time.Hour)
			if _, got := storedRows(t, srv, eventsStream); !slices.Equal(got, ids(good)) {
				t.Errorf("%s: %d of %d rows", name, len(got), len(good))
			}
			if strings.Count(dead, "\n") != 1 || !strings.Contains(dead, `{\"nested\":1}`) && !strings.Contains(dead, `{"nested":1}`) || !strings.Contains(dead, "nested JSON") {
				t.Errorf("%s: dead letters: %s", name, dead)
			}
		})
	}
}

// If no late row is taken it is the rule, and not the rows: they wait.
func TestAWrongRuleBuriesFewLateRows(t *testing.T) {
	sentinel(t, func(r *azuretest.Collection) { r.Auxiliary = true }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		m, err := microsoft.Sink(c, sinkConfig())
		if err != nil {
			t.Fatal(err)
		}
		dead := pumpTo(t, m, trickle{together(numbered(300, -72, `{"nested":1}`))}, 5*time.Minute)
		if n := strings.Count(dead, "\n"); n == 0 || n > 20 {
			t.Errorf("%d rows are buried", n)
		}
	})
}

// spy keeps the errors of a sink.
type spy struct {
	siem.Sink
	errs []error
}

func (s *spy) Send(ctx context.Context, b *siem.Batch) (siem.Receipt, error) {
	r, err := s.Sink.Send(ctx, b)
	if err != nil {
		s.errs = append(s.errs, err)
	}
	return r, err
}

// Rows have an id, so that the client may repeat itself before a pump has to.
func TestALostAnswerIsNoFailure(t *testing.T) {
	for _, hours := range []float64{0, -72} {
		sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			srv.Faults().Add(fault.Rule{Kind: fault.LoseResponse, Host: azuretest.IngestHost, Count: 1})
			m, err := microsoft.Sink(c, sinkConfig())
			if err != nil {
				t.Fatal(err)
			}
			watched := &spy{Sink: m.Value}
			m.Value = watched
			pumpTo(t, m, together(numbered(3, hours, `"x"`)), time.Minute)
			if _, got := storedRows(t, srv, eventsStream); len(got) != 6 || watched.errs != nil {
				t.Errorf("%g h: %v, %v", hours, got, watched.errs)
			}
		})
	}
}

func TestAnOutageOfTheRuleLosesNothing(t *testing.T) {
	for name, rule := range map[string]fault.Rule{
		"503":          {Kind: fault.Status, For: 3 * time.Hour},
		"404":          {Kind: fault.Status, Status: 404, For: 3 * time.Hour},
		"lost answers": {Kind: fault.LoseResponse, For: 10 * time.Minute},
	} {
		sentinel(t, func(r *azuretest.Collection) { r.RoleAfter = 20 * time.Minute }, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
			rule.Host = azuretest.IngestHost
			srv.Faults().Add(rule)
			events := together(numbered(300, 0, `"x"`))
			dead := pump(t, c, sinkConfig(), events, 4*time.Hour)
			_, got := storedRows(t, srv, eventsStream)
			if slices.Sort(got); len(slices.Compact(got)) != len(events) || dead != "" {
				t.Errorf("%s: %d of %d rows, dead %s", name, len(got), len(events), dead)
			}
		})
	}
}

func TestATableWithoutAStreamIsNamed(t *testing.T) {
	sentinel(t, nil, func(t *testing.T, srv *azuretest.Server, c *azure.Client) {
		m, err := microsoft.Sink(c, sinkConfig())
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Value.Send(t.Context(), &siem.Batch{Table: "Other", Rows: 1})
		if err == nil || !strings.Contains(err.Error(), `"Other"`) || !strings.Contains(err.Error(), "SinkConfig.Streams") || errors.Is(err, siem.ErrRefused) {
			t.Errorf("%v", err)
		}
		cfg := sinkConfig()
		cfg.Streams, cfg.Stream = map[string]string{"Other": lateStream}, eventsStream
		events := together(numbered(3, 0, `"x"`))
		pump(t, c, cfg, events, time.Minute)
		if _, got := storedRows(t, srv, eventsStream); len(got) != len(events) {
			t.Errorf("%v", got)
		}
	})
}

func TestASinkIsOfItsRegion(t *testing.T) {
	sentinel(t, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		for _, test := range []struct{ endpoint, given, id, plane string }{
			{"https://" + azuretest.IngestHost, "", "sentinel/westeurope", "azure/westeurope"},
			{"https://dce-1ab2.EastUS2-1.ingest.monitor.azure.us/", "", "sentinel/eastus2", "azure/eastus2"},
			{"https://" + azuretest.IngestHost, "mine", "mine", "azure/westeurope"},
			{"https://127.0.0.1:8443", "", "sentinel/127.0.0.1:8443", ""},
			{"https://collector.corp.example", "", "sentinel/collector.corp.example", ""},
		} {
			cfg := sinkConfig()
			cfg.Endpoint, cfg.ID = test.endpoint, test.given
			if m, err := microsoft.Sink(c, cfg); err != nil || m.ID != test.id || m.Plane != test.plane {
				t.Errorf("%s: %q on %q, %v", test.endpoint, m.ID, m.Plane, err)
			}
		}
	})
}

func TestAWrongSinkConfigIsNamed(t *testing.T) {
	sentinel(t, nil, func(t *testing.T, _ *azuretest.Server, c *azure.Client) {
		for want, change := range map[string]func(*microsoft.SinkConfig){
			"SinkConfig.Streams is empty": func(s *microsoft.SinkConfig) { s.Streams = nil },
			`Streams["events"]`:           func(s *microsoft.SinkConfig) { s.Streams[siem.EventsTable] = "" },
			"Endpoint":                    func(s *microsoft.SinkConfig) { s.Endpoint = "" },
			"RuleID":                      func(s *microsoft.SinkConfig) { s.RuleID = "/subscriptions/1" },
			"OriginalTime":                func(s *microsoft.SinkConfig) { s.OriginalTime = "a b" },
			"RequestsPerMinute":           func(s *microsoft.SinkConfig) { s.RequestsPerMinute = -1 },
			`SinkConfig.Late names the table "other"`: func(s *microsoft.SinkConfig) { s.Late = map[string]string{"other": lateStream} },
			`Late["events"]`: func(s *microsoft.SinkConfig) { s.Late = map[string]string{siem.EventsTable: ""} },
		} {
			cfg := sinkConfig()
			change(&cfg)
			if m, err := microsoft.Sink(c, cfg); resilience.Of(err).Class != resilience.Misuse || !strings.Contains(err.Error(), want) || m.Value != nil {
				t.Errorf("%s: %v", want, err)
			}
		}
		if _, err := microsoft.Sink(nil, sinkConfig()); resilience.Of(err).Class != resilience.Misuse {
			t.Errorf("no client: %v", err)
		}
	})
}
