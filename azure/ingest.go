package azure

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// IngestTarget is a stream of a data collection rule, and how to write to it.
// Endpoint, RuleID and Stream are required, the rest has defaults.
type IngestTarget struct {
	// Endpoint of the data collection endpoint, or the rule's own (logsIngestion):
	// "https://name-xxxx.westeurope-1.ingest.monitor.azure.com". The token goes to
	// its host alone.
	Endpoint string
	// RuleID is the rule's immutable id, "dcr-" and 32 digits, not its resource id.
	RuleID string
	// Stream as the rule declares it: "Custom-Events_CL" or "Microsoft-CommonSecurityLog".
	Stream string

	// AtLeastOnce sends rows again when it is not known whether they arrived: none is
	// lost to a broken connection, and some may come twice. Azure Monitor removes no
	// duplicates, so set it if the rows carry an id by which the queries do. Default:
	// such rows are not sent again and count as RowUnknown.
	AtLeastOnce bool
	// OriginalTime names a datetime column. A row whose TimeGenerated Azure Monitor
	// would replace by the time of its arrival, because it is two days old or a day
	// ahead, keeps it there (an hour of margin is for clocks that differ). Default:
	// the original time is lost.
	OriginalTime string
	// MaxBytes is how many bytes of rows, before compression, one request carries.
	// The limit is documented for both the compressed and the uncompressed size.
	// Default 1,000,000, at most 1,048,576. No single row may have more.
	MaxBytes int
	// MaxField is how many bytes of UTF-8 a string of a row may have. Azure Monitor
	// cuts longer ones and does not say so; here they end in "[truncated]", between
	// two characters, and the row is listed in IngestResult.Truncated. Objects and
	// arrays are left alone. Default 65,536; negative leaves all to Azure Monitor.
	MaxField int
	// MaxRefused is how many rows of one Upload Azure Monitor may refuse, one by one,
	// before the rest is not sent: it is then more likely the rule that is wrong than
	// the rows. Default 20.
	MaxRefused int
	// RequestsPerMinute that the rule accepts from all its clients; requests are
	// spread to stay below. Default 12,000, the documented limit, which Microsoft may
	// have raised.
	RequestsPerMinute int
}

const (
	maxIngest        = 1_048_576 // of a request
	defaultMaxIngest = 1_000_000
	maxField         = 64 << 10
	ingestVersion    = "2023-01-01"
)

// Ingestor writes rows to one stream. It is safe for concurrent use, holds nothing
// between calls and needs no closing. All Ingestors of a host share a policy, so that
// two regions are two failure domains; all of a rule share its quota, and wait
// together when Azure Monitor throttles one of them.
type Ingestor struct {
	service *service
	target  IngestTarget
	url     string
	call    resilience.Call
}

// Ingestor returns a writer to a stream. It does no network I/O; a wrong target gives
// an error that names the field.
func (l *Logs) Ingestor(t IngestTarget) (*Ingestor, error) {
	endpoint, err := t.resolve()
	if err != nil {
		return nil, err
	}
	s, err := l.ingestion(endpoint)
	if err != nil {
		return nil, err
	}
	quotas := l.c.cfg.Quotas
	if quotas == nil {
		quotas = &l.quotas
	}
	quota, err := quotas.Get("azure.ingest."+t.RuleID, resilience.Window{Calls: t.RequestsPerMinute, Per: time.Minute})
	if err != nil {
		return nil, fmt.Errorf("azure: IngestTarget.RequestsPerMinute: %w", err)
	}
	g := &Ingestor{service: s, target: t}
	g.url = s.url("/dataCollectionRules/"+url.PathEscape(t.RuleID)+"/streams/"+url.PathEscape(t.Stream),
		url.Values{"api-version": {ingestVersion}})
	// An upload is repeatable only for who can tell two copies of a row apart.
	g.call = s.call(opIngest, resilience.Effect)
	if t.AtLeastOnce {
		g.call.Kind = resilience.Idempotent
	}
	g.call.Quota = quota
	return g, nil
}

// Policy is the policy of the endpoint's host.
func (g *Ingestor) Policy() *resilience.Policy { return g.service.policy }

// ingestion returns the service of a host.
func (l *Logs) ingestion(endpoint *url.URL) (*service, error) {
	host := strings.ToLower(endpoint.Host)
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.hosts[host]; s != nil {
		return s, nil
	}
	e := l.c.place.ingestion
	e.url, e.hosts = endpoint.String(), []string{strings.ToLower(endpoint.Hostname())}
	s, err := l.c.newService("ingest."+host, e)
	if err == nil {
		l.hosts[host] = s
	}
	return s, err
}

// resolve checks the target and fills in what it leaves open.
func (t *IngestTarget) resolve() (*url.URL, error) {
	endpoint, err := checkURL("IngestTarget.Endpoint", t.Endpoint)
	if err != nil {
		return nil, err
	}
	for _, field := range []struct {
		name  string
		value *int
		usual int
	}{
		{"MaxBytes", &t.MaxBytes, defaultMaxIngest},
		{"MaxRefused", &t.MaxRefused, 20},
		{"RequestsPerMinute", &t.RequestsPerMinute, 12_000},
	} {
		if *field.value = cmp.Or(*field.value, field.usual); *field.value < 0 {
			return nil, fmt.Errorf("azure: IngestTarget.%s must not be negative", field.name)
		}
	}
	t.MaxField = cmp.Or(t.MaxField, maxField)
	switch {
	case !strings.HasPrefix(t.RuleID, "dcr-"):
		return nil, fmt.Errorf("azure: IngestTarget.RuleID %q: want the rule's immutable id, which begins with dcr-", t.RuleID)
	case t.Stream == "":
		return nil, fmt.Errorf("azure: IngestTarget.Stream is empty: want a stream that the rule declares, such as Custom-Events_CL")
	case t.MaxBytes > maxIngest:
		return nil, fmt.Errorf("azure: IngestTarget.MaxBytes is %d: Azure Monitor accepts %d", t.MaxBytes, maxIngest)
	case t.MaxField > 0 && t.MaxField < len(truncated):
		return nil, fmt.Errorf("azure: IngestTarget.MaxField is %d: the mark of a truncated field alone has %d", t.MaxField, len(truncated))
	case t.OriginalTime != "" && !isColumn(t.OriginalTime):
		return nil, fmt.Errorf("azure: IngestTarget.OriginalTime %q: a column's name is a letter and up to 44 letters, digits and _", t.OriginalTime)
	}
	return endpoint, nil
}

func isColumn(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return len(name) <= 45
}
