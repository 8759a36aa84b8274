package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jurymast/jurymast/failover/siem"
)

// meter counts what the sink has acknowledged.
type meter struct {
	siem.Sink
	rows        atomic.Int64
	first, last atomic.Int64 // acknowledgements, nanoseconds since 1970
}

func (m *meter) Send(ctx context.Context, b *siem.Batch) (siem.Receipt, error) {
	r, err := m.Sink.Send(ctx, b)
	if err == nil {
		now := time.Now().UnixNano()
		m.first.CompareAndSwap(0, now)
		m.last.Store(now)
		m.rows.Add(int64(b.Rows - len(r.Rejected) - len(r.Unknown)))
	}
	return r, err
}

// perSecond is the rate between the first acknowledgement and the last.
func (m *meter) perSecond() float64 {
	took := time.Duration(m.last.Load() - m.first.Load()).Seconds()
	if took <= 0 {
		return 0
	}
	return float64(m.rows.Load()) / took
}

// report is the last line with -json.
type report struct {
	Delivered      int64   `json:"delivered"` // rows, copies included
	Distinct       int64   `json:"distinct"`
	Duplicates     int64   `json:"duplicates"`
	Lost           int64   `json:"lost"` // of -events
	EventsPerS     float64 `json:"events_per_s"`
	CPUSPerMillion float64 `json:"cpu_s_per_million"`
	PeakRSSMB      float64 `json:"peak_rss_mb"`
	P99FreshnessMS float64 `json:"p99_freshness_ms"`
	Simulated      bool    `json:"simulated"`
}

// distinct counts the ids in rows.
func distinct(rows []json.RawMessage) (n int64, err error) {
	seen := map[string]bool{}
	for _, raw := range rows {
		var row struct{ JurymastID string }
		if err := json.Unmarshal(raw, &row); err != nil {
			return 0, err
		}
		if seen[row.JurymastID] = true; row.JurymastID == "" {
			return 0, fmt.Errorf("a row without an id: %.200s", raw)
		}
	}
	return int64(len(seen)), nil
}

// peakRSS is the most memory that the process has had, in megabytes; 0 if the system
// does not tell.
func peakRSS() float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			var kb float64
			_, _ = fmt.Sscan(rest, &kb)
			return kb / 1024
		}
	}
	return 0
}

func perMillion(cpu time.Duration, n int64) float64 {
	return cpu.Seconds() * 1e6 / float64(cmp.Or(n, 1))
}
