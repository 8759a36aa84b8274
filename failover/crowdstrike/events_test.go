package crowdstrike_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// table keeps the rows that it gets.
type table struct {
	mu   sync.Mutex
	ids  []string
	rows map[string]string // the last one of each id
	down bool
}

func (s *table) Send(_ context.Context, b *siem.Batch) (siem.Receipt, error) {
	rows, err := b.All()
	if err != nil {
		return siem.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return siem.Receipt{}, errors.New("503")
	}
	for _, row := range rows {
		var v struct{ JurymastID string }
		if err := json.Unmarshal(row, &v); err != nil {
			return siem.Receipt{}, err
		}
		s.ids = append(s.ids, v.JurymastID)
		if s.rows == nil {
			s.rows = map[string]string{}
		}
		s.rows[v.JurymastID] = string(row)
	}
	return siem.Receipt{}, nil
}

func (s *table) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// got are the ids that begin so, in the order in which they came.
func (s *table) got(prefix string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.ids {
		if strings.HasPrefix(id, prefix) {
			out = append(out, id)
		}
	}
	return out
}

// falconCloud runs a test beside a simulated Falcon.
func falconCloud(t *testing.T, cfg falcontest.Config, test func(*testing.T, *falcontest.Server, *falcon.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.InMemory = true
		srv, err := falcontest.NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		c, err := falcon.New(falcon.Config{ClientID: falcontest.ClientID, ClientSecret: falcontest.ClientSecret, Cloud: "us-1", HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close(context.Background()) }()
		test(t, srv, c)
	})
}

// pumping runs a pump until stop is called, which closes it too.
func pumping(t *testing.T, dir string, sink siem.Sink, sources ...siem.Source) (p *siem.Pump, stop func()) {
	t.Helper()
	p, err := siem.Open(siem.Config{Dir: dir, Sources: sources, Sinks: []failover.Member[siem.Sink]{{ID: "table", Value: sink, Plane: "table"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return p, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// publish publishes n detections and returns the ids that they must have.
func publish(srv *falcontest.Server, partition, n int) (ids []string) {
	for range n {
		ids = append(ids, eventID(partition, srv.Publish(partition, "EppDetectionSummaryEvent", srv.Detection("0000000000000000000000000000000a", 70))))
	}
	return ids
}

func eventID(partition int, offset int64) string {
	return fmt.Sprintf("%s:%d:%d", falcontest.CID, partition, offset)
}

func partition(n int) string { return fmt.Sprintf("%s:%d:", falcontest.CID, n) }

// Whatever breaks between Falcon and the spool, and however often the process is
// started again: every event of every partition, once, in order.
func TestEventsOfAllPartitionsArriveOnce(t *testing.T) {
	const feeds = "/sensors/entities/datafeed/v1/"
	for name, disturb := range map[string]func(*falcontest.Server){
		"nothing":           func(*falcontest.Server) {},
		"connections break": func(s *falcontest.Server) { s.EndStreams() },
		"sessions end":      func(s *falcontest.Server) { s.ExpireSessions(); s.EndStreams() },
		"feeds refuse": func(s *falcontest.Server) {
			s.Faults().Add(fault.Rule{Kind: fault.Status, Status: 503, Path: feeds, For: 20 * time.Second})
			s.EndStreams()
		},
	} {
		t.Run(name, func(t *testing.T) {
			falconCloud(t, falcontest.Config{Partitions: 3}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				dir, sink := t.TempDir(), &table{}
				var want [3][]string
				add := func(n int) {
					for p := range want {
						want[p] = append(want[p], publish(srv, p, n)...)
					}
				}
				source := crowdstrike.Events(c, crowdstrike.EventsConfig{})
				add(1500)
				_, stop := pumping(t, dir, sink, source)
				time.Sleep(time.Minute)
				add(20)
				time.Sleep(time.Minute)
				disturb(srv)
				add(20)
				time.Sleep(time.Hour)
				stop()
				add(20)
				_, stop = pumping(t, dir, sink, source)
				defer stop()
				time.Sleep(time.Hour) // Falcon keeps the name taken for a while
				add(20)
				time.Sleep(time.Minute)
				for p := range want {
					if got := sink.got(partition(p)); !slices.Equal(got, want[p]) {
						t.Errorf("partition %d: %d rows of %d, or not in order", p, len(got), len(want[p]))
					}
				}
			})
		})
	}
}

// One bad line costs itself, and is in the dead letters; an event without an offset
// has no place in its feed and goes there too.
func TestWhatCannotBeReadGoesToTheDeadLetters(t *testing.T) {
	falconCloud(t, falcontest.Config{}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		dir, sink := t.TempDir(), &table{}
		want := publish(srv, 0, 1)
		srv.PublishRaw(0, []byte(`{"metadata":{"offset":2,"eventType":"X"},"event":{`))
		srv.PublishRaw(0, []byte(`{"metadata":{"eventType":"NoOffset"},"event":{}}`))
		want = append(want, publish(srv, 0, 2)...)
		_, stop := pumping(t, dir, sink, crowdstrike.Events(c, crowdstrike.EventsConfig{}))
		time.Sleep(time.Minute)
		stop()
		if got := sink.got(""); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		letters := readAll(t, filepath.Join(dir, "dead"))
		for _, part := range []string{`"offset":2`, "not valid JSON", "NoOffset", "has no offset"} {
			if !strings.Contains(letters, part) {
				t.Errorf("no %s in the dead letters: %s", part, letters)
			}
		}
	})
}

func readAll(t *testing.T, dir string) string {
	t.Helper()
	var all []byte
	files, err := os.ReadDir(dir)
	for _, f := range files {
		b, readErr := os.ReadFile(filepath.Join(dir, f.Name()))
		all, err = append(all, b...), errors.Join(err, readErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// Newest leaves out what was before, also after a restart without an event, and
// nothing of what follows.
func TestNewestLeavesOutWhatWasBefore(t *testing.T) {
	falconCloud(t, falcontest.Config{}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		dir, sink := t.TempDir(), &table{}
		publish(srv, 0, 5)
		_, stop := pumping(t, dir, sink, crowdstrike.Events(c, crowdstrike.EventsConfig{Name: "new", AppID: "a", Newest: true, EventTypes: []string{"EppDetectionSummaryEvent"}}))
		time.Sleep(time.Minute)
		srv.Publish(0, "Other", map[string]any{})
		want := publish(srv, 0, 5)
		time.Sleep(time.Minute)
		stop()
		want = append(want, publish(srv, 0, 5)...)
		_, stop = pumping(t, dir, sink, crowdstrike.Events(c, crowdstrike.EventsConfig{Name: "new", AppID: "b", Newest: true, EventTypes: []string{"EppDetectionSummaryEvent"}}))
		defer stop()
		time.Sleep(time.Minute)
		if got := sink.got(""); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// The second process waits while the first one reads, and begins where it stopped
// only if it has its spool: with its own it reads what Falcon still has.
func TestASecondReaderWaits(t *testing.T) {
	falconCloud(t, falcontest.Config{}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		first, second := &table{}, &table{}
		_, stop := pumping(t, t.TempDir(), first, crowdstrike.Events(c, crowdstrike.EventsConfig{}))
		time.Sleep(time.Minute)
		_, stopSecond := pumping(t, t.TempDir(), second, crowdstrike.Events(c, crowdstrike.EventsConfig{}))
		defer stopSecond()
		want := publish(srv, 0, 10)
		time.Sleep(time.Hour)
		if !slices.Equal(first.got(""), want) || len(second.got("")) != 0 {
			t.Errorf("the first has %d, the second %d", len(first.got("")), len(second.got("")))
		}
		stop()
		time.Sleep(time.Hour)
		if got := second.got(""); !slices.Equal(got, want) {
			t.Errorf("the second has %v", got)
		}
	})
}
