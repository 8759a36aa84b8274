package microsoft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jurymast/jurymast/azure"
	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/internal/jsonscan"
	"github.com/jurymast/jurymast/resilience"
)

// SinkConfig is a data collection rule of Azure Monitor, and which of its streams
// take which rows. Endpoint, RuleID and Streams or Stream are required, the rest has
// defaults.
type SinkConfig struct {
	// ID tells the sink from the others of a pump, for good. Default "sentinel/" and the
	// region in Endpoint's name, or Endpoint's host if it has none.
	ID string
	// Endpoint and RuleID are as in [azure.IngestTarget].
	Endpoint, RuleID string
	// Streams names the rule's stream for each table of the pump's Mapping, such as
	// "Custom-FalconEvents_CL" for siem.EventsTable.
	Streams map[string]string
	// Stream is for the tables that Streams does not name. Default: none, and a batch
	// of such a table waits, with an error that names it.
	Stream string
	// OriginalTime names the datetime column that keeps the time of a late row, which
	// every stream must declare: Azure Monitor replaces a TimeGenerated that is two days
	// old or a day ahead by the time of arrival (facts/microsoft.md 3), and says nothing.
	// A row that has this column is late, others are not. Default "OriginalTime".
	OriginalTime string
	// Late names another stream for the late rows of a table. Default: the table's own.
	Late map[string]string
	// RequestsPerMinute that the rule accepts from all its clients. Default 12,000, as
	// azure.IngestTarget.
	RequestsPerMinute int
}

// Sink makes a data collection rule a sink of siem.Config, on the plane of its region:
// rows go to Microsoft Sentinel, or to any table of a Log Analytics workspace. Role:
// Monitoring Metrics Publisher on the rule, which takes up to 30 minutes to be known;
// until then the rows wait.
//
// A batch goes out as it was compressed for the spool. Only one with a row of more than
// 64 KB, whose long strings are cut and end in "[truncated]", or with a late row is
// looked into; for that a row's TimeGenerated should be its event's time. Azure Monitor
// removes no duplicates: see package siem for the query that does. It accepts, without
// a word, rows that the stream does not fit: columns that it does not declare are
// dropped, values of another type become null.
//
// It does no network I/O; a wrong SinkConfig gives an error that names the field.
func Sink(c *azure.Client, cfg SinkConfig) (failover.Member[siem.Sink], error) {
	none := failover.Member[siem.Sink]{}
	if c == nil {
		return none, resilience.Misusef("microsoft: Sink needs a client")
	}
	if len(cfg.Streams) == 0 && cfg.Stream == "" {
		return none, resilience.Misusef("microsoft: SinkConfig.Streams is empty: name the rule's stream for each table of the Mapping, or one for all in Stream")
	}
	if cfg.OriginalTime == "" {
		cfg.OriginalTime = "OriginalTime"
	}
	s := &sentinel{tables: map[string]streams{}}
	made := map[string]*azure.Ingestor{}
	ingestor := func(stream, field string) (*azure.Ingestor, error) {
		if made[stream] != nil {
			return made[stream], nil
		}
		g, err := c.Logs.Ingestor(azure.IngestTarget{
			Endpoint: cfg.Endpoint, RuleID: cfg.RuleID, Stream: stream, AtLeastOnce: true,
			OriginalTime: cfg.OriginalTime, RequestsPerMinute: cfg.RequestsPerMinute,
		})
		if err != nil {
			return nil, resilience.Misusef("microsoft: SinkConfig, %s: %w", field, err)
		}
		made[stream] = g
		return g, nil
	}
	var err error
	if cfg.Stream != "" {
		if s.others.own, err = ingestor(cfg.Stream, "Stream"); err != nil {
			return none, err
		}
		s.others.late = s.others.own
	}
	for table, stream := range cfg.Streams {
		own, err := ingestor(stream, fmt.Sprintf("Streams[%q]", table))
		if err != nil {
			return none, err
		}
		s.tables[table] = streams{own, own}
	}
	for table, stream := range cfg.Late {
		of := s.of(table)
		if of.own == nil {
			return none, resilience.Misusef("microsoft: SinkConfig.Late names the table %q, for which Streams has no stream", table)
		}
		if of.late, err = ingestor(stream, fmt.Sprintf("Late[%q]", table)); err != nil {
			return none, err
		}
		s.tables[table] = of
	}
	m := failover.Member[siem.Sink]{ID: cfg.ID, Value: s}
	place, region := placeOf(cfg.Endpoint)
	if m.ID == "" {
		m.ID = "sentinel/" + place
	}
	if region {
		m.Plane = "azure/" + place
	}
	return m, nil
}

// placeOf is the region in an endpoint's name, name-xxxx.region-1.ingest.monitor..., or
// else its host.
func placeOf(endpoint string) (place string, region bool) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint, false
	}
	labels := strings.Split(strings.ToLower(u.Hostname()), ".")
	if len(labels) > 3 && labels[2] == "ingest" {
		if name, _, ok := strings.Cut(labels[1], "-"); ok && name != "" {
			return name, true
		}
	}
	return strings.ToLower(u.Host), false
}

// sentinel implements siem.Sink.
type sentinel struct {
	tables map[string]streams
	others streams
}

// streams are where the rows of a table go; own is nil if there is none.
type streams struct{ own, late *azure.Ingestor }

func (s *sentinel) of(table string) streams {
	if to, ok := s.tables[table]; ok {
		return to
	}
	return s.others
}

// Azure Monitor keeps a TimeGenerated within these, cuts longer strings and takes no
// larger request (facts/microsoft.md 2.5 and 3). The times have the margin for clocks
// that differ that azure.IngestTarget has.
const (
	maxAge   = 47 * time.Hour
	maxAhead = 23 * time.Hour
	maxField = 64 << 10
	maxBatch = 1_000_000
)

// Send implements siem.Sink.
func (s *sentinel) Send(ctx context.Context, b *siem.Batch) (siem.Receipt, error) {
	to := s.of(b.Table)
	if to.own == nil {
		return siem.Receipt{}, resilience.Misusef("microsoft: SinkConfig.Streams has no stream for the table %q, which the Mapping writes: add it, or set SinkConfig.Stream", b.Table)
	}
	now := time.Now()
	late := b.Oldest.Before(now.Add(-maxAge)) || b.Newest.After(now.Add(maxAhead))
	if !late && b.Longest <= maxField && b.Bytes <= maxBatch {
		gz, err := b.Gzip()
		if err != nil {
			return siem.Receipt{}, err
		}
		return siem.Receipt{}, refusal(to.own.UploadCompressed(ctx, gz))
	}
	rows, err := b.All()
	if err != nil {
		return siem.Receipt{}, err
	}
	u := upload{rows: rows, states: make([]azure.RowState, len(rows))}
	if to.late == to.own {
		u.send(ctx, to.own, func(json.RawMessage) bool { return true })
	} else {
		u.send(ctx, to.own, func(row json.RawMessage) bool { return !isLate(row, now) })
		u.send(ctx, to.late, func(row json.RawMessage) bool { return isLate(row, now) })
	}
	return u.receipt()
}

// upload is a batch that is sent row by row, as far as Azure Monitor's client divides it.
type upload struct {
	rows     []json.RawMessage
	states   []azure.RowState
	rejected []azure.RejectedRow
	err      error // the first that ended a part
}

// send sends some of the rows. Those of a second part are tried after the first has
// failed too: it may be one stream that is wrong.
func (u *upload) send(ctx context.Context, g *azure.Ingestor, which func(json.RawMessage) bool) {
	var indexes []int
	var rows []json.RawMessage
	for i, row := range u.rows {
		if which(row) {
			indexes, rows = append(indexes, i), append(rows, row)
		}
	}
	res, err := g.Upload(ctx, rows)
	for i, state := range res.Rows {
		u.states[indexes[i]] = state
	}
	for _, r := range res.Rejected {
		u.rejected = append(u.rejected, azure.RejectedRow{Index: indexes[r.Index], Err: r.Err})
	}
	if u.err == nil && res.Count(azure.RowUnsent)+res.Count(azure.RowUnknown) > 0 {
		u.err = err
	}
}

// receipt answers for the batch. What is not sent although other rows are accepted
// counts as unknown: it is sent again, and the others are not.
func (u *upload) receipt() (r siem.Receipt, err error) {
	accepted := false
	for i, state := range u.states {
		switch state {
		case azure.RowAccepted:
			accepted = true
		case azure.RowUnsent, azure.RowUnknown:
			r.Unknown = append(r.Unknown, i)
		case azure.RowRejected:
		}
	}
	for _, x := range u.rejected {
		if !accepted && errors.Is(x.Err, azure.ErrRefused) {
			// The pump finds the rows at fault, and sees if all are: then it is the rule.
			return siem.Receipt{}, refusal(x.Err)
		}
	}
	if !accepted && len(r.Unknown) > 0 {
		return siem.Receipt{}, u.err
	}
	for _, x := range u.rejected {
		r.Rejected = append(r.Rejected, siem.Rejection{Index: x.Index, Reason: x.Err.Error()})
	}
	return r, nil
}

// refusal says in the pump's words that rows are at fault.
func refusal(err error) error {
	if errors.Is(err, azure.ErrRefused) {
		return fmt.Errorf("%w: %w", siem.ErrRefused, err)
	}
	return err
}

// isLate reports that Azure Monitor would replace a row's time.
func isLate(row json.RawMessage, now time.Time) bool {
	text := jsonscan.Text(row)
	i, more := text.Open(text.Space(0), '}')
	for more {
		name, at := text.Key(i)
		end := text.Value(at, 1)
		if end < 0 {
			return false
		}
		if string(name) == `"TimeGenerated"` {
			t, err := time.Parse(time.RFC3339, string(jsonscan.Content(text[at:end])))
			return err == nil && (t.Before(now.Add(-maxAge)) || t.After(now.Add(maxAhead)))
		}
		i, more = text.Next(end, '}')
	}
	return false
}
