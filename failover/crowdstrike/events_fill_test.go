package crowdstrike_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/failover/crowdstrike"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
)

// rot damages some of the chunks in a spool of one segment, counted from 0.
func rot(t *testing.T, dir string, chunks ...int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "spool", "*.seg"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	table := []byte(siem.EventsTable) // a chunk's body names it
	for at, n := 0, 0; ; n++ {
		i := bytes.Index(b[at:], table)
		if i < 0 {
			break
		}
		at += i + len(table)
		if slices.Contains(chunks, n) {
			b[at+20] ^= 0x40
		}
	}
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// damagedSpool puts 6 chunks of 10 events of partition 0 into a spool, while the sink is
// down, and damages some.
func damagedSpool(t *testing.T, srv *falcontest.Server, c *falcon.Client, sink *table, cfg crowdstrike.EventsConfig, chunks ...int) (dir string, want []string) {
	t.Helper()
	dir = t.TempDir()
	sink.set(true)
	_, stop := pumping(t, dir, sink, crowdstrike.Events(c, cfg))
	time.Sleep(time.Second)
	for range 6 {
		for range 5 {
			want = append(want, publish(srv, 0, 2)...)
			if len(cfg.EventTypes) > 0 {
				srv.Publish(0, "Other", map[string]any{})
			}
		}
		publish(srv, 1, 1)
		time.Sleep(time.Minute)
	}
	stop()
	sink.set(false)
	rot(t, dir, chunks...)
	return dir, want
}

func sorted(ids []string) []string {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return ids
}

func openGaps(p *siem.Pump) (open []siem.Gap) {
	for _, g := range p.Gaps() {
		if g.Closed.IsZero() {
			open = append(open, g)
		}
	}
	return open
}

// A part of the spool is rotten: Falcon is asked for it again, every event arrives
// under its id, once, and the proof says so. Two gaps of a partition share a feed.
func TestADamagedSpoolIsFilledFromTheStream(t *testing.T) {
	for name, cfg := range map[string]crowdstrike.EventsConfig{
		"all events":  {},
		"some events": {EventTypes: []string{"EppDetectionSummaryEvent"}},
	} {
		t.Run(name, func(t *testing.T) {
			falconCloud(t, falcontest.Config{Partitions: 2}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				sink := &table{}
				dir, want := damagedSpool(t, srv, c, sink, cfg, 2, 3, 6, 7)
				p, stop := pumping(t, dir, sink, crowdstrike.Events(c, cfg))
				defer stop()
				time.Sleep(2 * time.Hour) // Falcon keeps the second name taken after the first gap
				if got := sorted(sink.got(partition(0))); !slices.Equal(got, want) {
					t.Errorf("%d rows of %d: %v", len(got), len(want), got)
				}
				if got := sink.got(partition(1)); len(got) != 6 {
					t.Errorf("partition 1: %v", got)
				}
				gaps := p.Gaps()
				if len(gaps) < 3 || len(openGaps(p)) > 0 {
					t.Errorf("%+v", gaps)
				}
				put := map[string]uint64{}
				for _, g := range gaps {
					if pr := g.Proof; g.Source != "falcon" || pr == nil || !pr.Complete || pr.First < g.First || pr.Last != g.Last || pr.Count == 0 {
						t.Errorf("%+v, proof %+v", g, g.Proof)
					} else {
						put[pr.Feed] += pr.PutLast - pr.PutFirst + 1
					}
				}
				if put["0-fill"] != 20 {
					t.Errorf("put %v", put)
				}
				for _, id := range sink.got("") {
					if row := sink.rows[id]; !strings.Contains(row, `"Source":"falcon"`) || !strings.Contains(row, `"EventType":"EppDetectionSummaryEvent"`) {
						t.Errorf("the row is %s", row)
					}
				}
			})
		})
	}
}

// Falcon has forgotten a part of it: what is left of that are the detections, as
// alerts. The gap stays open, and says what is missing.
func TestWhatFalconHasForgottenStaysOpen(t *testing.T) {
	for name, test := range map[string]struct {
		wait  time.Duration // from the last event on; the gap is minutes 1 to 5
		count int           // events and alerts
		by    string
		note  string
	}{
		"the beginning": {wait: time.Hour - 4*time.Minute + 30*time.Second, count: 21, by: "event stream and alerts", note: "the oldest event that Falcon still has is at offset 31; 1 alerts that were raised"},
		"all of it":     {wait: 2 * time.Hour, count: 1, by: "alerts", note: "Falcon has no event of it any more"},
	} {
		t.Run(name, func(t *testing.T) {
			falconCloud(t, falcontest.Config{Partitions: 2, EventRetention: time.Hour}, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
				sink := &table{}
				begun := time.Now()
				dir, _ := damagedSpool(t, srv, c, sink, crowdstrike.EventsConfig{}, 2, 3, 4, 5, 6, 7, 8, 9)
				want := alert(srv, "c:ind:1", begun.Add(90*time.Second))
				alert(srv, "c:ind:2", begun.Add(20*time.Minute)) // not of that time, if the stream has some of it
				alert(srv, "c:ind:3", begun.Add(-20*time.Minute))
				time.Sleep(test.wait)
				p, stop := pumping(t, dir, sink, crowdstrike.Events(c, crowdstrike.EventsConfig{}))
				defer stop()
				time.Sleep(2 * time.Hour)
				var gap siem.Gap
				for _, g := range p.Gaps() {
					if g.Feed == "0" {
						gap = g
					}
				}
				if pr := gap.Proof; !gap.Closed.IsZero() || pr == nil || pr.Complete || !strings.Contains(pr.Note, test.note) || int(pr.Count) != test.count || pr.By != test.by {
					t.Errorf("%+v, proof %+v", gap, gap.Proof)
				}
				// Both partitions have a gap then.
				if got := sink.got("c:"); !slices.Equal(got, []string{want}) {
					t.Errorf("alerts %v", got)
				}
			})
		})
	}
}
