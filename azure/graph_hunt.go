package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// HuntQuery is an advanced hunting query over the tables of Defender XDR.
type HuntQuery struct {
	Query string // in KQL
	// Timespan bounds what is looked at: an ISO 8601 period back from now (P7D), a
	// beginning, or two of beginning, period and end with a slash between
	// (2026-11-01T08:00:00Z/P1D). Default: 30 days, as far back as there is data.
	Timespan string
}

// HuntResult is the table that a query gave.
type HuntResult struct {
	Schema []HuntColumn
	Rows   []HuntRow
}

// HuntColumn is a column of a [HuntResult].
type HuntColumn struct {
	Name string
	Type string // String, DateTime, Int64, Dynamic ...
}

// HuntRow is a row, by column. Beside the columns of the schema there may be
// annotations of Graph's, with @odata in their names.
type HuntRow map[string]json.RawMessage

// Str is a value as text: a number or a boolean as it is written, digits intact;
// "" if there is none, or if it is an object or a list.
func (r HuntRow) Str(column string) string { return lenient.Object(r).Str(column) }

// Int is a whole number, 0 if the value is none.
func (r HuntRow) Int(column string) int64 { return lenient.Object(r).Int(column) }

// Time is a point in time, zero if the value is none.
func (r HuntRow) Time(column string) time.Time { return lenient.Object(r).Time(column) }

// ErrHuntTruncated: there are, or may be, more rows than those that came.
var ErrHuntTruncated = errors.New("there may be more rows than Graph gave: narrow the query, or end it with an aggregate")

const (
	// maxHuntRows is the most that Graph gives (facts/microsoft.md 2.3). It gives no
	// sign that there were more.
	maxHuntRows = 100_000
	// huntTime is the three minutes that a query may take there, and the way back.
	huntTime = 3*time.Minute + 20*time.Second
)

// Hunt runs an advanced hunting query. It may take over three minutes, longer than
// Config.Policy allows to others: bound it by ctx.
//
// A result that may not be whole comes with an error that matches ErrHuntTruncated.
// A 429 is about one of several quotas (calls a minute, CPU until the next quarter
// of an hour): the error's message says which. It only reads, so it is sent again
// where a read would be, and a read-only client may hunt. An answer of more than
// 64 MiB is an error.
func (g *Graph) Hunt(ctx context.Context, q HuntQuery) (HuntResult, error) {
	if strings.TrimSpace(q.Query) == "" {
		return HuntResult{}, resilience.Misusef("azure %s: HuntQuery.Query is empty: want KQL, such as DeviceInfo | take 10", opHunt)
	}
	body := map[string]string{"Query": q.Query}
	if q.Timespan != "" {
		body["Timespan"] = q.Timespan
	}
	call := g.call(opHunt, resilience.Read) // a POST that changes nothing
	call.Timeout = huntTime
	type result struct {
		HuntResult
		partial error
	}
	r, err := send(ctx, g.service, request{
		call: call, method: http.MethodPost, url: g.url("/v1.0/security/runHuntingQuery", nil), body: body,
	}, func(rep *reply) (result, error) {
		// encoding/json takes Schema for schema, which samples of Graph write too.
		a, err := into[struct {
			Schema  []HuntColumn
			Results *[]HuntRow
			Error   *struct{ Code, Message string }
			Link    string `json:"@odata.nextLink"`
		}](opHunt)(rep)
		switch {
		case err != nil:
			return result{}, err
		case a.Results == nil && a.Error != nil:
			return result{}, rep.malformed(opHunt, fmt.Errorf("it has no results: %s: %s", a.Error.Code, a.Error.Message))
		case a.Results == nil: // that it found nothing must not be made up
			return result{}, rep.malformed(opHunt, errors.New("it has no results"))
		}
		out := result{HuntResult: HuntResult{a.Schema, *a.Results}}
		switch {
		case a.Error != nil:
			out.partial = fmt.Errorf("azure %s: %w (%s: %s)", opHunt, ErrHuntTruncated, a.Error.Code, a.Error.Message)
		case a.Link != "", len(out.Rows) >= maxHuntRows:
			out.partial = fmt.Errorf("azure %s: %w (%d came)", opHunt, ErrHuntTruncated, len(out.Rows))
		}
		return out, nil
	})
	if err != nil {
		return HuntResult{}, err
	}
	return r.HuntResult, r.partial
}
