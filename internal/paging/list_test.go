package paging

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/jurymast/jurymast/resilience"
)

// pages serves n rows, size a page; row 3 is unreadable.
func pages(n, size int, fail *error) Fetch[int] {
	return func(_ context.Context, token string) (Page[int], error) {
		if *fail != nil {
			return Page[int]{}, *fail
		}
		begin, _ := strconv.Atoi(token)
		p := Page[int]{Total: int64(n)}
		for i := begin; i < min(begin+size, n); i++ {
			r := Row[int]{Value: i}
			if i == 3 {
				r = Row[int]{Err: &RowError{Operation: "test", ID: "3", Err: errors.New("unreadable")}}
			}
			p.Rows = append(p.Rows, r)
		}
		if begin+size < n {
			p.Next = strconv.Itoa(begin + size)
		}
		return p, nil
	}
}

func read(t *testing.T, l *List[int], atMost int) (got []int, last error) {
	t.Helper()
	for v, err := range l.All(t.Context()) {
		if err != nil {
			if row, ok := errors.AsType[*RowError](err); ok && row.ID == "3" {
				v = -3
			} else {
				last = err
				break
			}
		}
		if got = append(got, v); len(got) == atMost {
			break
		}
	}
	return got, last
}

// Wherever a list is stopped, its cursor goes on at the next row: none twice,
// none lost.
func TestCursorResumesAnywhere(t *testing.T) {
	var ok error
	want := "[0 1 2 -3 4 5 6]"
	for stop := 1; stop <= 7; stop++ {
		l := New("test", "", pages(7, 3, &ok))
		head, _ := read(t, l, stop)
		tail, _ := read(t, New("test", l.Cursor(), pages(7, 3, &ok)), 100)
		if got := fmt.Sprint(append(head, tail...)); got != want {
			t.Errorf("stopped after %d: %s", stop, got)
		}
		if l.Total() != 7 {
			t.Errorf("total %d", l.Total())
		}
	}
}

func TestAFailedPageIsReadAgain(t *testing.T) {
	var fail error
	l := New("test", "", pages(7, 3, &fail))
	head, _ := read(t, l, 3)
	fail = errors.New("down")
	if got, err := read(t, l, 100); len(got) != 0 || !errors.Is(err, fail) {
		t.Errorf("%v, %v", got, err)
	}
	fail = nil
	tail, err := read(t, l, 100)
	if got := fmt.Sprint(append(head, tail...)); err != nil || got != "[0 1 2 -3 4 5 6]" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestForeignCursorsAreRefused(t *testing.T) {
	var ok error
	for _, cursor := range []string{"x", "2.0.", "1.-1.", "1.x.", "1.0"} {
		_, err := read(t, New("test", cursor, pages(7, 3, &ok)), 100)
		if !errors.Is(err, ErrCursor) || resilience.Of(err).Class != resilience.Misuse {
			t.Errorf("%q: %v", cursor, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "1.0.", "1.2.3", "1.99999999999999999999.", "1..", "2.0.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		var ok error
		l := New("test", cursor, pages(7, 3, &ok))
		if l.err == nil && cursor != "" && New("test", l.Cursor(), pages(7, 3, &ok)).err != nil {
			t.Errorf("%q was read as %q, which is refused", cursor, l.Cursor())
		}
		for range l.All(t.Context()) {
		}
	})
}

// A page changes while nobody reads: what was its second row is now at the end. By
// the number of rows that were read the list would go on one row too far.
func TestAListGoesOnBehindTheRowNotTheNumber(t *testing.T) {
	rows := []int{10, 20, 30, 40}
	fetch := func(_ context.Context, token string) (Page[int], error) {
		p := Page[int]{}
		after, _ := strconv.Atoi(token)
		for _, v := range rows {
			if v > after && len(p.Rows) < 3 {
				p.Rows = append(p.Rows, Row[int]{Value: v, After: strconv.Itoa(v)})
				p.Next = strconv.Itoa(v)
			}
		}
		return p, nil
	}
	l := New("test", "", fetch)
	head, _ := read(t, l, 2)
	rows = []int{10, 30, 40, 50}
	mapped := Map(l, func(_ context.Context, _ string, p Page[int]) (Page[int], error) { return p, nil })
	for name, l := range map[string]*List[int]{"resumed": New("test", l.Cursor(), fetch), "mapped": mapped, "the same": l} {
		if tail, err := read(t, l, 100); err != nil || fmt.Sprint(head, tail) != "[10 20] [30 40 50]" {
			t.Errorf("%s: %v, %v", name, tail, err)
		}
		rows = append(rows, 60)
		if tail, err := read(t, l, 100); err != nil || fmt.Sprint(tail) != "[60]" {
			t.Errorf("%s, at its end: %v, %v", name, tail, err)
		}
		rows = rows[:4]
	}
}
