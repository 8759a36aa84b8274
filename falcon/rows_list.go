package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// window is how many rows Falcon shows by a numeric offset (facts/falcon.md 2.1).
const window = 10_000

// ErrWindow: the list has more than the 10,000 rows that Falcon shows of it. Those
// that came are the first; a narrower filter shows others.
var ErrWindow = errors.New("no more than 10,000 rows can be listed by offset: narrow the filter")

// pageSize is how many rows a page has, given what a query asks for: more than
// Falcon takes is a mistake to be told, and not to be made fewer in silence.
func pageSize(name, field string, asked, usual, most int) (int, error) {
	switch {
	case asked == 0:
		return usual, nil
	case asked < 0 || asked > most:
		return 0, resilience.Misusef("falcon %s: %s is %d: want 1 to %d, or 0 for %d", name, field, asked, most, usual)
	}
	return asked, nil
}

// byOffset lists by a numeric offset, so many rows a call. The list counts for
// itself: policies answer with the next offset, other services with the one that
// was asked for.
func byOffset[T any](c *Client, name, cursor string, limit int, r rows[T], op func(ctx context.Context, offset, limit int64) (*capture, error)) *List[T] {
	return paging.New("falcon "+name, cursor, func(ctx context.Context, token string) (paging.Page[T], error) {
		offset, _ := strconv.Atoi(token) // "" is the beginning
		if offset >= window {
			return paging.Page[T]{}, fmt.Errorf("falcon %s: %w", name, ErrWindow)
		}
		o, err := op(ctx, int64(offset), int64(min(limit, window-offset)))
		if err != nil {
			return paging.Page[T]{}, err
		}
		return page(ctx, c, name, o, r, token == "", func(more pagination, came int) string {
			if came == 0 || int64(offset+came) >= more.Total {
				return ""
			}
			return strconv.Itoa(offset + came)
		})
	})
}

// ids is how a query that gives ids alone is read.
var ids = rows[string]{parse: func(raw json.RawMessage) (id string, err error) {
	if err = json.Unmarshal(raw, &id); err == nil && id == "" {
		err = errors.New("an empty id")
	}
	return id, err
}}

// getter reads the rows of some ids with one call.
type getter[T any] func(ctx context.Context, ids []string) (paging.Page[T], error)

// every reads the rows of some ids. Every id that gave no row gives a *RowError.
func (get getter[T]) every(ctx context.Context, operation string, some []string, idOf func(T) string) (paging.Page[T], error) {
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
			out.Rows = append(out.Rows, paging.Row[T]{Err: &RowError{Operation: operation, ID: id, Err: ErrNotFound}})
		}
	}
	return out, nil
}

// byIDs lists the rows of ids, so many a call.
func byIDs[T any](name string, ids []string, chunk int, get getter[T], idOf func(T) string) *List[T] {
	return paging.New("falcon "+name, "", func(ctx context.Context, token string) (paging.Page[T], error) {
		from, _ := strconv.Atoi(token) // "" is the beginning
		some := ids[min(from, len(ids)):min(from+chunk, len(ids))]
		if len(some) == 0 {
			return paging.Page[T]{}, nil
		}
		if slices.Contains(some, "") {
			return paging.Page[T]{}, resilience.Misusef("falcon %s: one of the ids is empty", name)
		}
		out, err := get.every(ctx, "falcon "+name, some, idOf)
		if err != nil {
			return out, err
		}
		out.Total = int64(len(ids))
		if from+chunk < len(ids) {
			out.Next = strconv.Itoa(from + chunk)
		}
		return out, nil
	})
}

// detailed lists the rows of the ids that another list gives, which is that of a
// query: the details of a page of ids are one call. A row that is gone between the
// two is a *RowError.
func detailed[T any](list *List[string], get getter[T], idOf func(T) string) *List[T] {
	return paging.Map(list, func(ctx context.Context, name string, p paging.Page[string]) (paging.Page[T], error) {
		out := paging.Page[T]{Next: p.Next, Total: p.Total}
		var some []string
		for _, r := range p.Rows {
			if r.Err != nil {
				out.Rows = append(out.Rows, paging.Row[T]{Err: r.Err})
			} else {
				some = append(some, r.Value)
			}
		}
		if len(some) == 0 {
			return out, nil
		}
		rows, err := get.every(ctx, name, some, idOf)
		out.Rows = append(out.Rows, rows.Rows...)
		return out, err
	})
}
