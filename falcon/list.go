package falcon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// List is a result of many pages. It is not safe for concurrent use.
type List[T any] struct {
	operation string
	fetch     func(ctx context.Context, token string) (page[T], error)
	token     string // of the page being read; "" is the first
	skip      int    // rows of that page already given out
	total     int64
	err       error // what made the list unusable
}

// page is one answer: rows, some of which may be unreadable, and the token of
// the next page, "" if there is none.
type page[T any] struct {
	rows  []row[T]
	next  string
	total int64
}

type row[T any] struct {
	value T
	err   error
}

// All returns the rows from the list's position on, a page at a time. A
// *RowError is about one row and the iteration goes on; any other error is the
// last. Iterating again goes on where the last one stopped.
func (l *List[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if l.err != nil {
			yield(zero, l.err)
			return
		}
		for {
			p, err := l.fetch(ctx, l.token)
			if err != nil {
				yield(zero, err)
				return
			}
			l.total = p.total
			for l.skip < len(p.rows) {
				r := p.rows[l.skip]
				l.skip++
				if !yield(r.value, r.err) {
					return
				}
			}
			if p.next == "" || p.next == l.token || len(p.rows) == 0 {
				return
			}
			l.token, l.skip = p.next, 0
		}
	}
}

// Total is how many rows Falcon said there are, known after the first page.
func (l *List[T]) Total() int64 { return l.total }

const cursorVersion = "1"

// Cursor is the position after the last row given out. A query made with it
// goes on from there; Falcon's own page tokens may expire after minutes.
func (l *List[T]) Cursor() string {
	return cursorVersion + "." + strconv.Itoa(l.skip) + "." + l.token
}

// resume moves the list to a cursor.
func (l *List[T]) resume(cursor string) {
	if cursor == "" {
		return
	}
	parts := strings.SplitN(cursor, ".", 3)
	if len(parts) == 3 && parts[0] == cursorVersion {
		if skip, err := strconv.Atoi(parts[1]); err == nil && skip >= 0 {
			l.token, l.skip = parts[2], skip
			return
		}
	}
	l.err = fmt.Errorf("falcon %s: %w: %q", l.operation, ErrCursor, cursor)
}

// ErrCursor: the cursor was not made by this version's List.Cursor.
var ErrCursor = errors.New("not a cursor of this list: start without one")
