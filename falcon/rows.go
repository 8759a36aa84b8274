package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// rows is how the rows of one kind are read.
type rows[T any] struct {
	id    string // the name of the field that says which row it is
	parse func(json.RawMessage) (T, error)
}

func (r rows[T]) read(operation string, raw json.RawMessage) paging.Row[T] {
	v, err := r.parse(raw)
	if err != nil {
		var o lenient.Object
		_ = json.Unmarshal(raw, &o)
		return paging.Row[T]{Err: &RowError{Operation: "falcon " + operation, ID: o.Str(r.id), Raw: raw, Err: err}}
	}
	return paging.Row[T]{Value: v}
}

// page sends an operation that reads and makes a page of its answer. next picks
// the token of the next page, nil means that there is none.
func page[T any](ctx context.Context, c *Client, name string, op *capture, r rows[T], first bool, next func(pagination) string) (paging.Page[T], error) {
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
		out := paging.Page[T]{Total: more.Total}
		if next != nil {
			out.Next = next(more)
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

// rowError is what Falcon says of one row beside the others.
func rowError(operation string, a *answer, m apiMessage) *RowError {
	said := m.public()
	return &RowError{
		Operation: "falcon " + operation, ID: said.ID,
		Err: &APIError{Operation: operation, Status: said.Code, Messages: []Message{said}, TraceID: a.traceID()},
	}
}

// byIDs lists the rows of ids, so many a call. Every id that gave no row gives a
// *RowError.
func byIDs[T any](name string, ids []string, chunk int, get func(context.Context, []string) (paging.Page[T], error), idOf func(T) string) *List[T] {
	return paging.New("falcon "+name, "", func(ctx context.Context, token string) (paging.Page[T], error) {
		from, _ := strconv.Atoi(token) // "" is the beginning
		some := ids[min(from, len(ids)):min(from+chunk, len(ids))]
		if len(some) == 0 {
			return paging.Page[T]{}, nil
		}
		if slices.Contains(some, "") {
			return paging.Page[T]{}, resilience.Misusef("falcon %s: one of the ids is empty", name)
		}
		out, err := get(ctx, some)
		if api, ok := errors.AsType[*APIError](err); ok && api.Status == http.StatusNotFound {
			out, err = paging.Page[T]{}, nil // none of them is known
		}
		if err != nil {
			return out, err
		}
		told := map[string]bool{}
		for _, r := range out.Rows {
			if re, ok := errors.AsType[*RowError](r.Err); ok {
				told[re.ID] = true
			} else {
				told[idOf(r.Value)] = true
			}
		}
		for _, id := range some {
			if !told[id] {
				out.Rows = append(out.Rows, paging.Row[T]{Err: &RowError{Operation: "falcon " + name, ID: id, Err: ErrNotFound}})
			}
		}
		out.Total = int64(len(ids))
		if from+chunk < len(ids) {
			out.Next = strconv.Itoa(from + chunk)
		}
		return out, nil
	})
}

// changeAll sends an operation that changes the given ids, so many a call, and
// returns how many Falcon says it changed. What it refused of single ids is joined
// in the error; a call that fails is the end.
func changeAll(ctx context.Context, c *Client, call resilience.Call, ids []string, chunk int, op func([]string) *capture) (changed int, err error) {
	if len(ids) == 0 || slices.Contains(ids, "") {
		return 0, resilience.Misusef("falcon %s: one of the ids is empty, or there are none", call.Name)
	}
	type result struct {
		changed int
		refused []error
	}
	var refused []error
	for done := 0; done < len(ids); done += chunk {
		w, err := c.write(op(ids[done:min(done+chunk, len(ids))]).op)
		if err != nil {
			return changed, err
		}
		r, err := send(ctx, c, call, w, func(a *answer) (result, error) {
			env, err := a.open(call.Name)
			if err != nil {
				return result{}, err
			}
			r := result{changed: env.changed()}
			for _, m := range env.Errors {
				r.refused = append(r.refused, rowError(call.Name, a, m))
			}
			return r, nil
		})
		changed += r.changed
		refused = append(refused, r.refused...)
		if err != nil {
			if done > 0 {
				err = fmt.Errorf("after the first %d of %d ids: %w", done, len(ids), err)
			}
			return changed, errors.Join(append(refused, err)...)
		}
	}
	return changed, errors.Join(refused...)
}
