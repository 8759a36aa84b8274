package azuretest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxPage is the largest page, and the default one.
const maxPage = 10000

// query is what a list request asks for. The zero value asks for everything.
type query[T any] struct {
	keep func(T) bool // nil keeps all
	skip int
	top  int // 0 with limited unset: maxPage
	// limited tells "$top=0" from no $top.
	limited bool
	expand  bool // the schema's own navigation property
}

// parseQuery reads the OData options of a list request. Options the simulator
// does not have are refused, not ignored: ignoring them would answer a question
// nobody asked.
func parseQuery[T any](r *http.Request, fields schema[T]) (query[T], error) {
	var q query[T]
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, odataError("The query string is malformed.")
	}
	for name, all := range values {
		if !strings.HasPrefix(name, "$") {
			continue
		}
		if len(all) > 1 {
			return q, odataError("Query option '%s' was specified more than once, but it must be specified at most once.", name)
		}
		switch value := all[0]; name {
		case "$filter":
			q.keep, err = parseFilter(value, fields)
		case "$skip":
			q.skip, err = parseCount(name, value)
		case "$top":
			q.limited = true
			if q.top, err = parseCount(name, value); err == nil && q.top > maxPage {
				err = odataError("The limit of '%d' for Top query has been exceeded. The value from the incoming request is '%d'.", maxPage, q.top)
			}
		case "$expand":
			if q.expand = fields.expand != "" && value == fields.expand; !q.expand {
				err = odataError("Could not find a property named '%s' on type '%s'.", value, fields.typ)
			}
		default:
			err = odataError("Query option '%s' is not allowed.", name)
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

func parseCount(name, value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, odataError("Invalid value '%s' for %s query option found. The %s query option requires a non-negative integer value.", value, name, name)
	}
	return int(n), nil
}

// page is a list answer.
type page[J any] struct {
	Context  string `json:"@odata.context"`
	Value    []J    `json:"value"`
	NextLink string `json:"@odata.nextLink,omitempty"`
}

// answerPage filters rows and cuts the page asked for out of them. If rows are
// left it links to the next page under the host the client used.
func answerPage[T, J any](r *http.Request, q query[T], rows []T, set string, encode func(T) J) page[J] {
	if q.keep != nil {
		kept := rows[:0:0]
		for _, row := range rows {
			if q.keep(row) {
				kept = append(kept, row)
			}
		}
		rows = kept
	}
	top := maxPage
	if q.limited {
		top = q.top
	}
	rows = rows[min(q.skip, len(rows)):]
	out := page[J]{Context: contextURL(r, set), Value: []J{}}
	if len(rows) > top && top > 0 {
		out.NextLink = nextLink(r, q.skip+top)
	}
	for _, row := range rows[:min(top, len(rows))] {
		out.Value = append(out.Value, encode(row))
	}
	return out
}

func nextLink(r *http.Request, skip int) string {
	values := r.URL.Query()
	values.Set("$skip", strconv.Itoa(skip))
	// The vendor leaves the dollar signs plain; so do clients that compare.
	return "https://" + r.Host + r.URL.EscapedPath() + "?" + strings.ReplaceAll(values.Encode(), "%24", "$")
}
