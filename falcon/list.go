package falcon

import "github.com/jurymast/jurymast/internal/paging"

// List is a result of many pages, read by All and resumed by Cursor.
type List[T any] = paging.List[T]

// RowError is a row of a list that could not be read; the list goes on after it.
type RowError = paging.RowError

// ErrCursor: a cursor that was not made by List.Cursor.
var ErrCursor = paging.ErrCursor
