package azure

import (
	"sync"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// Logs is Azure Monitor's logs, which Microsoft Sentinel is built on: Query reads
// Log Analytics workspaces, an [Ingestor] writes to their tables. To query, the app
// needs Log Analytics Reader on the workspace, to ingest Monitoring Metrics
// Publisher on the data collection rule; a new role takes up to an hour, or half an
// hour, to be known.
type Logs struct {
	*service // of queries

	mu     sync.Mutex
	hosts  map[string]*service // of ingestion
	quotas resilience.QuotaSet // of rules, if Config.Quotas is nil
}

// The operations, as they appear in errors, spans and metrics.
const (
	opLogQuery = "logs.query"
	opIngest   = "logs.upload"
)

// Of queries, for each user or address (facts/microsoft.md 2.6).
var logQueryQuota = resilience.Window{Calls: 200, Per: 30 * time.Second}

// maxLogAnswer is above the 104 MB that a query may return (facts/microsoft.md 2.6).
const maxLogAnswer = 128 << 20

func newLogs(c *Client) (*Logs, error) {
	s, err := c.newService("logquery", c.place.logQuery, logQueryQuota)
	if err != nil {
		return nil, err
	}
	s.wire.MaxBody = maxLogAnswer
	return &Logs{service: s, hosts: map[string]*service{}}, nil
}

// Policy is the policy that guards queries. Each host of ingestion has its own: see
// Ingestor.Policy.
func (l *Logs) Policy() *resilience.Policy { return l.policy }

// services are all failure domains so far.
func (l *Logs) services() []*service {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []*service{l.service}
	for _, s := range l.hosts {
		out = append(out, s)
	}
	return out
}
