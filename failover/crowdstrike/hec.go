package crowdstrike

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jurymast/jurymast/failover"
	"github.com/jurymast/jurymast/failover/siem"
	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/internal/jsonscan"
	"github.com/jurymast/jurymast/internal/wait"
	"github.com/jurymast/jurymast/resilience"
)

// HECConfig says how rows become events of Next-Gen SIEM. The zero value is usable.
type HECConfig struct {
	// ID tells the sink from the others of a pump, for good. Default "ngsiem".
	ID string
	// Plane is what the connector falls together with, as failover.Member.Plane. Default
	// "falcon"; "falcon/eu-1", for instance, if sinks of other regions are in the pump.
	Plane string
	// SourceTypes names the source type for each table of the pump's Mapping, by which a
	// connector may choose its parser. Default: the table's name.
	SourceTypes map[string]string
	// Source and Index of all events, as in falcon.HECEvent.
	Source, Index string
}

// HEC makes a connector of Next-Gen SIEM a sink of siem.Config. A row becomes an event
// as it is, at the time of its TimeGenerated, with its JurymastId in the field
// jurymast_id as well: Falcon removes no duplicates, so that queries do it by that:
//
//	groupBy(jurymast_id, function=selectLast([@rawstring]))
//
// falcon.HECConfig.AtLeastOnce is not needed: the pump sends again what is in doubt.
// With it that is tried at Falcon first, before the next sink gets the batch.
//
// Falcon accepts batches whole, as far as is known. Of a batch that was accepted in part
// the rest is sent again; one that Falcon refuses as too large or not understood (413,
// 400) is halved, and may come in part a second time. When Falcon asks to wait, all
// senders do.
func HEC(h *falcon.HEC, cfg HECConfig) failover.Member[siem.Sink] {
	m := failover.Member[siem.Sink]{ID: cfg.ID, Plane: cfg.Plane, Value: &connector{h: h, cfg: cfg}}
	if m.ID == "" {
		m.ID = "ngsiem"
	}
	if m.Plane == "" {
		m.Plane = "falcon"
	}
	return m
}

// connector implements siem.Sink.
type connector struct {
	h   *falcon.HEC
	cfg HECConfig
	// asked: Falcon has asked to wait.
	asked wait.Pause
}

// Send implements siem.Sink.
func (c *connector) Send(ctx context.Context, b *siem.Batch) (siem.Receipt, error) {
	if c.h == nil {
		return siem.Receipt{}, resilience.Misusef("crowdstrike: HEC needs a connector, see falcon.NewHEC")
	}
	if left := c.asked.Left(); left > 0 {
		return siem.Receipt{}, &pausedError{left}
	}
	rows, err := b.All()
	if err != nil {
		return siem.Receipt{}, err
	}
	kind, ok := c.cfg.SourceTypes[b.Table]
	if !ok {
		kind = b.Table
	}
	events := make([]falcon.HECEvent, len(rows))
	for i, row := range rows {
		at, id := stamp(row)
		events[i] = falcon.HECEvent{Event: row, Time: at, Source: c.cfg.Source, SourceType: kind, Index: c.cfg.Index}
		if id != "" {
			events[i].Fields = map[string]string{"jurymast_id": id}
		}
	}
	if err = c.h.Send(ctx, events...); err == nil {
		return siem.Receipt{}, nil
	}
	if f := resilience.Of(err); f.Class == resilience.Throttled {
		c.asked.Extend(f.RetryAfter)
	}
	part, sent := errors.AsType[*falcon.HECError](err)
	switch {
	case sent && part.Accepted > 0:
		// What is wrong with the rest is told when it is sent alone.
		var r siem.Receipt
		for i := part.Accepted; i < len(rows); i++ {
			r.Unknown = append(r.Unknown, i)
		}
		return r, nil
	case sent && refused(err), !sent && resilience.Of(err).Class == resilience.Misuse: // a row is too long
		return siem.Receipt{}, fmt.Errorf("%w: %w", siem.ErrRefused, err)
	}
	return siem.Receipt{}, err
}

// refused reports that Falcon has read the batch and does not want it.
func refused(err error) bool {
	api, ok := errors.AsType[*falcon.APIError](err)
	return ok && (api.Status == http.StatusBadRequest || api.Status == http.StatusRequestEntityTooLarge)
}

// pausedError says that nothing was sent, because Falcon has asked to wait.
type pausedError struct{ left time.Duration }

func (e *pausedError) Error() string {
	return fmt.Sprintf("crowdstrike: the connector has asked to wait, for another %v", e.left.Round(time.Millisecond))
}

// Failure makes pausedError Classified.
func (e *pausedError) Failure() resilience.Failure {
	return resilience.Failure{Class: resilience.Throttled, Sent: resilience.NotSent, RetryAfter: e.left}
}

// stamp finds a row's TimeGenerated and JurymastId, zero if they are not there.
func stamp(row json.RawMessage) (at time.Time, id string) {
	text := jsonscan.Text(row)
	i, more := text.Open(text.Space(0), '}')
	for found := 0; more && found < 2; {
		name, begin := text.Key(i)
		end := text.Value(begin, 1)
		if end < 0 {
			break
		}
		switch string(name) {
		case `"TimeGenerated"`:
			at, _ = time.Parse(time.RFC3339, string(jsonscan.Content(text[begin:end])))
			found++
		case `"JurymastId"`:
			id = string(jsonscan.Content(text[begin:end]))
			found++
		}
		i, more = text.Next(end, '}')
	}
	return at, id
}
