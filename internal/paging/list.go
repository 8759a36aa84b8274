// Package paging is the iteration over many pages that every vendor's client
// offers. When a page fails the iteration ends with that error, and iterating
// again, or resuming from the cursor, goes on at the same place.
package paging

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/jurymast/jurymast/resilience"
)

// List is a result of many pages. It is not safe for concurrent use.
type List[T any] struct {
	operation string
	fetch     Fetch[T]
	token     string // of the page being read; "" is the first
	skip      int    // rows of that page already given out
	behind    string // Row.After of the last row given out
	total     int64
	err       error // what made the list unusable
}

// Fetch gets the page that a token names.
type Fetch[T any] func(ctx context.Context, token string) (Page[T], error)

// Page is one answer: its rows, some of which may be unreadable, and the token
// of the next page, "" if there is none.
type Page[T any] struct {
	Rows  []Row[T]
	Next  string
	Total int64 // of all pages, if the vendor says
}

// Row is a value or the *RowError that stands in its place.
type Row[T any] struct {
	Value T
	Err   error
	// After is the token of a page that begins behind this row, "" if there is none.
	// A list goes on at it, not so many rows into a page that may have changed.
	After string
}

// RowError is a row that could not be read; the list goes on after it.
type RowError struct {
	Operation string
	ID        string // of the row, if it is known
	Raw       []byte
	Err       error
}

// Error names the row.
func (e *RowError) Error() string { return fmt.Sprintf("%s: row %q: %v", e.Operation, e.ID, e.Err) }

// Unwrap gives the cause.
func (e *RowError) Unwrap() error { return e.Err }

// Continues says that the list goes on after the row (see failover.Continuer).
func (e *RowError) Continues() bool { return true }

// ErrCursor: the cursor was not made by this version's List.Cursor.
var ErrCursor = errors.New("not a cursor of this list: start without one")

// New returns a list that begins at cursor, or at the first row if it is empty.
func New[T any](operation, cursor string, fetch Fetch[T]) *List[T] {
	l := &List[T]{operation: operation, fetch: fetch}
	if cursor == "" {
		return l
	}
	parts := strings.SplitN(cursor, ".", 3)
	if len(parts) == 3 && parts[0] == cursorVersion {
		if skip, err := strconv.Atoi(parts[1]); err == nil && skip >= 0 {
			l.token, l.skip = parts[2], skip
			return l
		}
	}
	l.err = resilience.Misusef("%s: %w: %q", operation, ErrCursor, cursor)
	return l
}

// Map returns a list of the same pages, at the same position, made into others.
func Map[A, B any](l *List[A], page func(ctx context.Context, operation string, p Page[A]) (Page[B], error)) *List[B] {
	return &List[B]{
		operation: l.operation, token: l.token, skip: l.skip, behind: l.behind, err: l.err,
		fetch: func(ctx context.Context, token string) (Page[B], error) {
			p, err := l.fetch(ctx, token)
			if err != nil {
				return Page[B]{}, err
			}
			return page(ctx, l.operation, p)
		},
	}
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
		if l.behind != "" {
			l.token, l.skip, l.behind = l.behind, 0, ""
		}
		for {
			p, err := l.fetch(ctx, l.token)
			if err != nil {
				yield(zero, err)
				return
			}
			l.total = p.Total
			for l.skip < len(p.Rows) {
				r := p.Rows[l.skip]
				l.skip++
				l.behind = r.After
				if !yield(r.Value, r.Err) {
					return
				}
			}
			if p.Next == "" || p.Next == l.token {
				return
			}
			l.token, l.skip = p.Next, 0
		}
	}
}

// Total is how many rows the vendor said there are, known after the first page.
func (l *List[T]) Total() int64 { return l.total }

const cursorVersion = "1"

// Cursor is the position after the last row given out. A query made with it
// goes on from there; a vendor's own page tokens may expire after minutes.
func (l *List[T]) Cursor() string {
	if l.behind != "" {
		return cursorVersion + ".0." + l.behind
	}
	return cursorVersion + "." + strconv.Itoa(l.skip) + "." + l.token
}
