package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// indicatorBatch is how many rows Defender takes in an import, and how many ids in a
// deletion.
const indicatorBatch = 500

// SubmitIndicator makes an indicator, or replaces the one of the same value; it may
// safely be repeated. A tenant has room for 15,000 that have not expired. App
// permission: Ti.ReadWrite or Ti.ReadWrite.All.
func (d *Defender) SubmitIndicator(ctx context.Context, in NewIndicator) (DefenderIndicator, error) {
	if err := in.check(); err != nil {
		return DefenderIndicator{}, resilience.Misusef("azure %s: NewIndicator%w", opIndicatorSubmit, err)
	}
	return send(ctx, d.service, request{
		call: d.call(opIndicatorSubmit, resilience.Idempotent), method: http.MethodPost, url: d.url("/api/indicators", nil), body: in.body(),
	}, row(opIndicatorSubmit, parseIndicator))
}

// IndicatorResult is what became of one indicator of an import. If Err is nil it is
// done, and ID is the indicator's. Otherwise resilience.Of(Err).Sent says how it
// stands: Answered, Defender refused it; MaybeSent, it may be done or not; NotSent, it
// never left.
type IndicatorResult struct {
	ID  string
	Err error
}

// ImportIndicators makes or replaces indicators, 500 a call, of which Defender allows
// 30 a minute; all of it may safely be repeated. A call that fails is the last.
//
// The results are those of in, index by index. The error joins that of the call that
// failed, and those of single rows, as *RowErrors. An input that cannot be right, or
// a value that is there twice, is an error that names it, before anything is sent;
// there are no results then. Permissions as of SubmitIndicator.
func (d *Defender) ImportIndicators(ctx context.Context, in []NewIndicator) ([]IndicatorResult, error) {
	if len(in) == 0 {
		return nil, resilience.Misusef("azure %s: the indicators are empty", opIndicatorImport)
	}
	var invalid []error
	at := map[string]int{}
	for i := range in {
		err := in[i].check()
		key := indicatorKey(in[i].Type, in[i].Value)
		if j, twice := at[key]; twice && err == nil {
			err = fmt.Errorf(".Value: indicators[%d] has the same, and the later would replace it: make one of them", j)
		}
		at[key] = i
		if err != nil {
			invalid = append(invalid, fmt.Errorf("indicators[%d]%w", i, err))
		}
	}
	if len(invalid) > 0 {
		return nil, resilience.Misusef("azure %s: %w", opIndicatorImport, errors.Join(invalid...))
	}
	results := make([]IndicatorResult, 0, len(in))
	var rows []error
	for chunk := range slices.Chunk(in, indicatorBatch) {
		begin := len(results)
		done, err := d.importChunk(ctx, chunk)
		if err != nil {
			for i := begin; i < len(in); i++ {
				r := IndicatorResult{Err: err}
				if i >= begin+len(chunk) {
					r.Err = resilience.BeforeSending(fmt.Errorf("an earlier call failed: %w", err))
				}
				results = append(results, r)
			}
			err = fmt.Errorf("indicators[%d] and %d more, and %d after them that were not sent: %w", begin, len(chunk)-1, len(in)-begin-len(chunk), err)
			return results, errors.Join(append([]error{err}, rows...)...)
		}
		for i, r := range done {
			if r.Err != nil {
				r.Err = fmt.Errorf("indicators[%d]: %w", begin+i, r.Err)
				rows = append(rows, r.Err)
			}
			results = append(results, r)
		}
	}
	return results, errors.Join(rows...)
}

// importChunk sends one call and finds the row of each indicator in its answer.
func (d *Defender) importChunk(ctx context.Context, chunk []NewIndicator) ([]IndicatorResult, error) {
	const op = opIndicatorImport
	var body struct {
		Indicators []indicatorBody // in this case, unlike what is in them
	}
	for i := range chunk {
		body.Indicators = append(body.Indicators, chunk[i].body())
	}
	r := request{call: d.call(op, resilience.Idempotent), method: http.MethodPost, url: d.url("/api/indicators/import", nil), body: body}
	return send(ctx, d.service, r, func(rep *reply) ([]IndicatorResult, error) {
		page, err := into[odataPage](op)(rep)
		if err != nil {
			return nil, err
		}
		said := map[string]lenient.Object{}
		raws := map[string]json.RawMessage{}
		for _, raw := range page.Value {
			o, err := lenient.Read(raw)
			if err != nil {
				continue // whose row it was is then missing
			}
			// A value may come back in another case, and an address in another form; but
			// one that is there as it was sent is nobody else's.
			value := o.Str("indicator")
			said[value], raws[value] = o, raw
			if key := indicatorKey("", value); said[key] == nil {
				said[key], raws[key] = o, raw
			}
		}
		out := make([]IndicatorResult, len(chunk))
		for i, n := range chunk {
			key := n.Value
			if said[key] == nil {
				key = indicatorKey("", n.Value)
			}
			o := said[key]
			failed := func(err error) {
				out[i].Err = &RowError{Operation: "azure " + op, ID: n.Value, Raw: raws[key], Err: err}
			}
			switch failure := o.Str("isFailed"); {
			case failure == "false":
				out[i].ID = o.Str("id")
			case failure == "true":
				failed(&APIError{
					Operation: op, Status: rep.status, Message: o.Str("failureReason"), RequestID: requestID(rep.header), class: resilience.Rejected,
				})
			default:
				failed(rep.malformed(op, errors.New("it does not say what became of the indicator")))
			}
		}
		return out, nil
	})
}

// DeleteIndicators removes indicators, up to 500 a call, and returns the ids that are
// gone. Defender refuses a whole call for one id that it does not know; the rest then
// goes in parts, down to single ids, so that every one that it knows is removed. That
// is slow if it is many: Defender allows 30 calls for several ids a minute, and 100
// for one.
//
// An id that Defender does not know is joined in the error as a *RowError that
// matches ErrNotFound: it is gone, perhaps by an earlier attempt of the same call
// whose answer was lost. A call that fails otherwise ends the deletion; all of it may
// be repeated. Permissions as of SubmitIndicator.
func (d *Defender) DeleteIndicators(ctx context.Context, ids ...string) (deleted []string, err error) {
	seen := map[string]bool{}
	for i, id := range ids {
		if id == "" || seen[id] {
			return nil, resilience.Misusef("azure %s: ids[%d] %q is empty or there twice", opIndicatorsDelete, i, id)
		}
		seen[id] = true
	}
	if len(ids) == 0 {
		return nil, resilience.Misusef("azure %s: there are no ids", opIndicatorsDelete)
	}
	x := deletion{d: d}
	for chunk := range slices.Chunk(ids, indicatorBatch) {
		x.batches = deletionBatches
		if err := x.remove(ctx, chunk); err != nil {
			err = fmt.Errorf("%d of %d ids are gone: %w", len(x.deleted), len(ids), err)
			return x.deleted, errors.Join(append([]error{err}, x.unknown...)...)
		}
	}
	return x.deleted, errors.Join(x.unknown...)
}

// deletionBatches is how many calls for several ids a chunk is worth: enough to find
// a single bad id among 500. With more of them, one by one is faster.
const deletionBatches = 20

// deletion is a DeleteIndicators under way.
type deletion struct {
	d       *Defender
	batches int // calls for several ids that are left for this chunk
	deleted []string
	unknown []error
}

func (x *deletion) remove(ctx context.Context, ids []string) error {
	switch {
	case len(ids) == 1:
		return x.one(ctx, ids[0])
	case x.batches == 0:
		for _, id := range ids {
			if err := x.one(ctx, id); err != nil {
				return err
			}
		}
		return nil
	}
	x.batches--
	const op = opIndicatorsDelete
	body := map[string][]string{"IndicatorIds": ids}
	_, err := send(ctx, x.d.service, request{
		call: x.d.call(op, resilience.Idempotent), method: http.MethodPost, url: x.d.url("/api/indicators/BatchDelete", nil), body: body,
	}, nothing)
	if !unknownID(err) {
		if err == nil {
			x.deleted = append(x.deleted, ids...)
		}
		return err
	}
	half := len(ids) / 2
	if err := x.remove(ctx, ids[:half]); err != nil {
		return err
	}
	return x.remove(ctx, ids[half:])
}

func (x *deletion) one(ctx context.Context, id string) error {
	const op = opIndicatorDelete
	path, err := idPath(op, "/api/indicators/", id)
	if err != nil {
		return err
	}
	_, err = send(ctx, x.d.service, request{call: x.d.call(op, resilience.Idempotent), method: http.MethodDelete, url: x.d.url(path, nil)}, nothing)
	switch {
	case unknownID(err):
		x.unknown = append(x.unknown, &RowError{Operation: "azure " + op, ID: id, Err: err})
	case err != nil:
		return err
	default:
		x.deleted = append(x.deleted, id)
	}
	return nil
}

// unknownID tells a 404 that is Defender's from one of a gateway on the way, which
// says nothing of ids.
func unknownID(err error) bool {
	api, ok := errors.AsType[*APIError](err)
	return ok && api.Status == http.StatusNotFound && api.Code != ""
}
