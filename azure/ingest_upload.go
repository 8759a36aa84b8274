package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lend"
	"github.com/jurymast/jurymast/resilience"
)

// RowState is what became of a row.
type RowState uint8

// The states of a row.
const (
	// RowUnsent is not stored: send it again when the cause is gone. The zero value.
	RowUnsent RowState = iota
	// RowAccepted was answered with 204. Azure Monitor stores it some minutes later,
	// without the columns that the stream does not declare, and null in place of a
	// value of another type; neither is told to the client.
	RowAccepted
	// RowRejected will never be accepted as it is.
	RowRejected
	// RowUnknown may have been accepted: to send it again may store it twice.
	RowUnknown
)

// String returns unsent, accepted, rejected or unknown.
func (s RowState) String() string {
	names := [...]string{"unsent", "accepted", "rejected", "unknown"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("azure.RowState(%d)", uint8(s))
}

// IngestResult says of every row what became of it, by its index in the input.
type IngestResult struct {
	Rows      []RowState
	Rejected  []RejectedRow // in order
	Truncated []int         // rows with a string that was cut, see IngestTarget.MaxField
}

// RejectedRow is a row that will never be accepted as it is, and why: Err holds an
// [*APIError] if Azure Monitor refused it, or says what is wrong with it.
type RejectedRow struct {
	Index int
	Err   error
}

// Count is how many rows are in a state.
func (r IngestResult) Count(state RowState) (n int) {
	for _, s := range r.Rows {
		if s == state {
			n++
		}
	}
	return n
}

// Indexes are the rows in a state: those that are RowUnsent are to be sent again.
func (r IngestResult) Indexes(state RowState) (out []int) {
	for i, s := range r.Rows {
		if s == state {
			out = append(out, i)
		}
	}
	return out
}

// UploadError: not all rows were accepted.
type UploadError struct {
	Result IngestResult
	// Err is what ended the upload, or, if nothing did, what was wrong with the first
	// rejected row.
	Err error
}

// Error names the numbers and the cause.
func (e *UploadError) Error() string {
	var parts []string
	for _, state := range []RowState{RowRejected, RowUnknown, RowUnsent} {
		if n := e.Result.Count(state); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", n, state))
		}
	}
	return fmt.Sprintf("azure %s: %d of %d rows accepted, %s: %v", opIngest,
		e.Result.Count(RowAccepted), len(e.Result.Rows), strings.Join(parts, ", "), e.Err)
}

// Unwrap gives the cause.
func (e *UploadError) Unwrap() error { return e.Err }

// Failure makes UploadError Classified: that the last request was not sent does not
// mean that none was.
func (e *UploadError) Failure() resilience.Failure {
	f := resilience.Of(e.Err)
	if e.Result.Count(RowAccepted)+e.Result.Count(RowUnknown) > 0 {
		f.Sent = resilience.MaybeSent
	}
	return f
}

// ErrRefused: Azure Monitor refuses rows for what is in them, or for their size.
// [Ingestor.Upload] finds out which, a caller of [Ingestor.UploadCompressed] has to.
var ErrRefused = errors.New("rows are refused")

// item is a row on its way.
type item struct {
	index int
	row   []byte
}

// upload is one Upload under way.
type upload struct {
	*Ingestor
	result  IngestResult
	body    *body
	refused int // rows that Azure Monitor refused
}

// Upload sends rows, each a JSON object, in order and in as many requests as
// IngestTarget.MaxBytes makes of them. The rows are sent as they are, byte by byte,
// but for what IngestTarget says of times and long fields, and must not change
// meanwhile.
//
// The error is nil if all rows were accepted, otherwise an [*UploadError]. A row that
// cannot be sent, or that Azure Monitor refuses, is rejected and the others are
// delivered: a refused request is halved until the rows at fault are found. Any other
// failure is the end, and the rows after it are RowUnsent. Of those failures 403
// (resilience.Denied) passes by itself up to 30 minutes after the app got its role:
// keep the rows.
func (g *Ingestor) Upload(ctx context.Context, rows []json.RawMessage) (IngestResult, error) {
	u := &upload{Ingestor: g, result: IngestResult{Rows: make([]RowState, len(rows))}}
	if len(rows) == 0 {
		return u.result, nil
	}
	u.body = bodies.Get().(*body)
	defer bodies.Put(u.body)
	err := u.all(ctx, rows)
	// What cannot be sent was known before what was refused.
	slices.SortFunc(u.result.Rejected, func(a, b RejectedRow) int { return a.Index - b.Index })
	if err == nil && len(u.result.Rejected) > 0 {
		err = u.result.Rejected[0].Err
	}
	if err != nil {
		return u.result, &UploadError{Result: u.result, Err: err}
	}
	return u.result, nil
}

func (u *upload) all(ctx context.Context, rows []json.RawMessage) error {
	now := time.Now()
	var batch []item
	size := len("]")
	for i, raw := range rows {
		row, cut, err := u.target.row(raw, now)
		if err != nil {
			u.reject(i, resilience.Misusef("azure %s: row %d: %w", opIngest, i, err))
			continue
		}
		if cut {
			u.result.Truncated = append(u.result.Truncated, i)
		}
		if size+1+len(row) > u.target.MaxBytes {
			if err := u.deliver(ctx, batch); err != nil {
				return err
			}
			batch, size = batch[:0], len("]")
		}
		batch = append(batch, item{i, row})
		size += 1 + len(row) // with the bracket or the comma before it
	}
	return u.deliver(ctx, batch)
}

func (u *upload) reject(index int, err error) {
	u.result.Rows[index] = RowRejected
	u.result.Rejected = append(u.result.Rejected, RejectedRow{index, err})
}

// deliver sends a batch, and if it is refused for its rows, its halves. An error is
// the end of the upload.
func (u *upload) deliver(ctx context.Context, batch []item) error {
	if len(batch) == 0 {
		return nil
	}
	err := u.UploadCompressed(ctx, u.body.encode(batch))
	switch {
	case err == nil:
		u.mark(batch, RowAccepted)
		return nil
	case !errors.Is(err, ErrRefused):
		if resilience.Of(err).Sent == resilience.MaybeSent {
			u.mark(batch, RowUnknown)
		}
		return err
	case len(batch) > 1:
		half := len(batch) / 2
		if err := u.deliver(ctx, batch[:half]); err != nil {
			return err
		}
		return u.deliver(ctx, batch[half:])
	}
	u.reject(batch[0].index, err)
	if u.refused++; u.refused >= u.target.MaxRefused {
		return fmt.Errorf("%d rows were refused one by one, so that the rule or the stream is more likely wrong than the rows: %w", u.refused, err)
	}
	return nil
}

func (u *upload) mark(batch []item, state RowState) {
	for _, it := range batch {
		u.result.Rows[it.index] = state
	}
}

// UploadCompressed sends one request with a body that exists already: a JSON array of
// rows, together below IngestTarget.MaxBytes, compressed by gzip. Nothing of what
// IngestTarget says of rows applies. An error that matches [ErrRefused] is about the
// rows: halve them. gz is not read any more when it returns.
func (g *Ingestor) UploadCompressed(ctx context.Context, gz []byte) error {
	if len(gz) == 0 || len(gz) > maxIngest {
		return resilience.Misusef("azure %s: the body has %d bytes: want 1 to %d", opIngest, len(gz), maxIngest)
	}
	lent := lend.New(gz)
	defer lent.End()
	r := request{
		call: g.call, method: http.MethodPost, url: g.url, explain: explainIngest,
		header:  http.Header{"Content-Encoding": {"gzip"}},
		encoded: lent.Reader,
	}
	_, err := send(ctx, g.service, r, func(rep *reply) (struct{}, error) {
		if rep.status != http.StatusNoContent {
			return struct{}{}, rep.malformed(opIngest, errors.New("only 204 means that the rows were accepted"))
		}
		return struct{}{}, nil
	})
	if aboutRows(err) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// Refusals with status 400 that are about the target and not about the rows.
var targetCodes = []string{"InvalidStream", "InvalidDcrImmutableId"}

func aboutRows(err error) bool {
	e, ok := errors.AsType[*APIError](err)
	if !ok || e.Status != http.StatusBadRequest && e.Status != http.StatusRequestEntityTooLarge {
		return false
	}
	return !slices.ContainsFunc(targetCodes, func(code string) bool { return strings.EqualFold(code, e.Code) })
}

// explainIngest knows the usual mistakes (facts/microsoft.md 2.5).
func explainIngest(e *APIError, _ []byte, _ time.Duration) {
	switch {
	case e.Status == http.StatusForbidden:
		e.Hint = "the app needs the role Monitoring Metrics Publisher on the data collection rule; a new one takes up to 30 minutes to be known: keep the rows and try again"
	case strings.EqualFold(e.Code, "InvalidStream"):
		e.Hint = "check IngestTarget.Stream: the rule does not declare it"
	case e.Status == http.StatusNotFound || strings.EqualFold(e.Code, "InvalidDcrImmutableId"):
		e.Hint = "check IngestTarget.RuleID, and that rule, endpoint and workspace are in one region"
	}
}
