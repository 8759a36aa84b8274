package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// rows is how the rows of one kind are read.
type rows[T any] struct {
	id    string // the name of the field that says which row it is
	parse func(json.RawMessage) (T, error)
}

// object is a parser of rows that are objects.
func object[T any](parse func(lenient.Object, json.RawMessage) (T, error)) func(json.RawMessage) (T, error) {
	return func(raw json.RawMessage) (T, error) {
		o, err := lenient.Read(raw)
		if err != nil {
			var zero T
			return zero, err
		}
		return parse(o, raw)
	}
}

func (r rows[T]) read(operation string, raw json.RawMessage) paging.Row[T] {
	v, err := r.parse(raw)
	if err != nil {
		o, _ := lenient.Read(raw)
		return paging.Row[T]{Err: &RowError{Operation: "falcon " + operation, ID: o.Str(r.id), Raw: raw, Err: err}}
	}
	return paging.Row[T]{Value: v}
}

// page sends an operation that reads and makes a page of its answer. next picks
// the token of the next page, given how many rows came; nil means that there is
// none.
func page[T any](ctx context.Context, c *Client, name string, op *capture, r rows[T], first bool, next func(more pagination, came int) string) (paging.Page[T], error) {
	w, err := c.write(op.op)
	if err != nil {
		return paging.Page[T]{}, err
	}
	return send(ctx, c, resilience.Call{Name: name, Kind: resilience.Read}, w, func(a *answer) (paging.Page[T], error) {
		env, err := a.open(name)
		if err != nil {
			return paging.Page[T]{}, err
		}
		more := env.pagination()
		more.NextPage = a.header.Get("Next-Page")
		out := paging.Page[T]{Total: more.Total}
		if next != nil {
			out.Next = next(more, len(env.Resources))
		}
		if first && len(env.Resources) == 0 && more.Total > 0 && out.Next == "" {
			// An empty list must not be believed when it says that it is not empty.
			return paging.Page[T]{}, a.malformed(name, fmt.Errorf("it has none of %d rows", more.Total))
		}
		for _, raw := range env.Resources {
			out.Rows = append(out.Rows, r.read(name, raw))
		}
		for _, m := range env.Errors { // beside resources: something is missing among them
			out.Rows = append(out.Rows, paging.Row[T]{Err: rowError(name, a, m)})
		}
		return out, nil
	})
}

// single sends an operation that answers with one row. What Falcon says beside the
// row is in the error, and the row is there all the same.
func single[T any](ctx context.Context, c *Client, call resilience.Call, op *capture, r rows[T]) (T, error) {
	var zero T
	w, err := c.write(op.op)
	if err != nil {
		return zero, err
	}
	type result struct {
		row     T
		refused []error
	}
	out, err := send(ctx, c, call, w, func(a *answer) (result, error) {
		env, err := a.open(call.Name)
		if err != nil {
			return result{}, err
		}
		if len(env.Resources) == 0 {
			return result{}, a.malformed(call.Name, errors.New("it has no resource"))
		}
		row := r.read(call.Name, env.Resources[0])
		if row.Err != nil {
			return result{}, a.malformed(call.Name, row.Err)
		}
		return result{row.Value, a.refused(call.Name, env)}, nil
	})
	if err != nil {
		return zero, err
	}
	return out.row, errors.Join(out.refused...)
}

// rowError is what Falcon says of one row beside the others.
func rowError(operation string, a *answer, m apiMessage) *RowError {
	said := m.public()
	return &RowError{
		Operation: "falcon " + operation, ID: said.ID,
		Err: &APIError{Operation: operation, Status: said.Code, Messages: []Message{said}, TraceID: a.traceID()},
	}
}

// refused is what the envelope of an answer says of single rows.
func (a *answer) refused(operation string, env *envelope) (errs []error) {
	for _, m := range env.Errors {
		errs = append(errs, rowError(operation, a, m))
	}
	return errs
}

// changed is what one call changed, and what Falcon refused of single ids.
type changed struct {
	count   int
	refused []error
}

// writes reads the answer of an operation that counts its changes in meta.writes.
func (a *answer) writes(operation string) (changed, error) {
	env, err := a.open(operation)
	if err != nil {
		return changed{}, err
	}
	return changed{env.changed(), a.refused(operation, env)}, nil
}

// changeAll sends an operation that changes the given ids, so many a call, and
// returns how many were changed. What Falcon refused of single ids is joined in the
// error and the others go on; a call that fails is the end.
func changeAll(ctx context.Context, c *Client, call resilience.Call, ids []string, chunk int, op func([]string) *capture, read func(*answer) (changed, error)) (count int, err error) {
	if len(ids) == 0 || slices.Contains(ids, "") {
		return 0, resilience.Misusef("falcon %s: one of the ids is empty, or there are none", call.Name)
	}
	var refused []error
	for done := 0; done < len(ids); done += chunk {
		w, err := c.write(op(ids[done:min(done+chunk, len(ids))]).op)
		if err != nil {
			return count, err
		}
		r, err := send(ctx, c, call, w, read)
		if rows := refusedIDs(err); rows != nil {
			r, err = changed{refused: rows}, nil
		}
		count += r.count
		refused = append(refused, r.refused...)
		if err != nil {
			if done > 0 {
				err = fmt.Errorf("after the first %d of %d ids: %w", done, len(ids), err)
			}
			// What may have been sent comes first: the class of an error is its first one's.
			return count, errors.Join(append([]error{err}, refused...)...)
		}
	}
	return count, errors.Join(refused...)
}

// refusedIDs are the rows of a call that failed because Falcon refused every one
// of its ids by name, nil of one that failed otherwise.
func refusedIDs(err error) (rows []error) {
	api, ok := errors.AsType[*APIError](err)
	if !ok || api.Status != http.StatusNotFound && api.Status != http.StatusConflict {
		return nil
	}
	for _, m := range api.Messages {
		if m.ID == "" {
			return nil
		}
		one := *api
		one.Status, one.Messages = m.Code, []Message{m}
		rows = append(rows, &RowError{Operation: "falcon " + api.Operation, ID: m.ID, Err: &one})
	}
	return rows
}
