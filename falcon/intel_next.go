package falcon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// Indicators go on, beyond the 10,000 that an offset reaches, at the address that
// the answer's Next-Page header names; and if it names none though rows are left,
// behind the last row's _marker, by which the list is sorted. A token holds either.
// Cursors are markers: addresses may expire, and a page is another one after an
// indicator of it has changed.

// indicatorsPath is the one operation whose Next-Page is followed.
const indicatorsPath = "/intel/combined/indicators/v1"

// indicatorToken is where a page of indicators begins; zero is the first.
type indicatorToken struct {
	query  string // what Next-Page asks of the operation
	marker string // of the row before
}

// A token's first byte says what the rest is.
const (
	byQuery  = "?"
	byMarker = ">"
)

func parseIndicatorToken(name, token string) (indicatorToken, error) {
	if token == "" {
		return indicatorToken{}, nil
	}
	switch rest := token[1:]; {
	case rest == "":
	case token[:1] == byMarker:
		return indicatorToken{marker: rest}, nil
	case token[:1] == byQuery:
		if values, err := url.ParseQuery(rest); err == nil && len(values) > 0 {
			return indicatorToken{query: values.Encode()}, nil
		}
	}
	return indicatorToken{}, resilience.Misusef("falcon %s: %w: %q", name, ErrCursor, token)
}

// after is the token of the page after one that came, "" at the end.
func (s *Intel) after(name, token string, rows []paging.Row[Indicator], more pagination, came int) (next string, err error) {
	switch {
	case came == 0:
		return "", nil
	case more.NextPage != "":
		if next, err = nextQuery(s.c.base.Load(), more.NextPage); err == nil {
			next = byQuery + next
		}
	case int64(came) < more.Total:
		if next = markerOf(rows[came-1]); next == "" {
			err = errors.New("rows are left, but it has no Next-Page and its last row no _marker")
		}
		next = byMarker + next
	}
	if err == nil && next != "" && next == token {
		err = errors.New("the next page is this page")
	}
	if err != nil {
		return "", &APIError{
			Operation: name, Status: http.StatusOK, err: fmt.Errorf("the answer cannot be followed: %w", err),
			class: resilience.Malformed, sent: resilience.Answered,
		}
	}
	return next, nil
}

// markerOf finds the marker of a row that could not be read too.
func markerOf(r paging.Row[Indicator]) string {
	if row, ok := errors.AsType[*RowError](r.Err); ok {
		var o lenient.Object
		_ = json.Unmarshal(row.Raw, &o)
		return o.Str("_marker")
	}
	return r.Value.Marker
}

// nextQuery is the query of a Next-Page header. Nothing else of the header is used,
// and one that names another host or operation is refused whole (as hazard A9: what
// an answer says is no reason to carry the token anywhere).
func nextQuery(base *url.URL, header string) (string, error) {
	u, err := url.Parse(header)
	if err != nil {
		return "", fmt.Errorf("Next-Page %.100q is no address", header)
	}
	own := u.User == nil && (u.Scheme == "" || u.Scheme == base.Scheme) && (u.Host == "" || strings.EqualFold(u.Host, base.Host))
	if !own || "/"+strings.TrimPrefix(u.Path, "/") != indicatorsPath {
		return "", fmt.Errorf("Next-Page %.100q is not of this host and operation, and is not followed", header)
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(values) == 0 {
		return "", fmt.Errorf("Next-Page %.100q has no query", header)
	}
	return values.Encode(), nil
}
