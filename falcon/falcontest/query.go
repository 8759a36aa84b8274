package falcontest

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listing is what a list operation is asked for, in its query or its body.
type listing struct {
	Filter, Sort, After string
	Offset, Limit       int
}

// asked reads the parameters of a GET. The limits of the limit are the operation's;
// what is wrong is answered 400.
func (q *call) asked(low, high int) (l listing, ok bool) {
	params := q.r.URL.Query()
	l = listing{Filter: params.Get("filter"), Sort: params.Get("sort"), After: params.Get("after")}
	if l.Limit, ok = q.number("limit", defaultLimit, low, high); !ok {
		return l, false
	}
	return l, true
}

// windowed is asked for the operations that page by a numeric offset and cannot see
// past the first 10,000 rows.
func (q *call) windowed(low, high int) (l listing, ok bool) {
	if l, ok = q.asked(low, high); !ok {
		return l, false
	}
	if l.Offset, ok = q.number("offset", 0, 0, 1<<31-1); !ok {
		return l, false
	}
	if l.Offset+l.Limit > maxWindow {
		q.reject(http.StatusBadRequest, "limit + offset must be less than 10000") // the real words; 10000 itself is allowed
		return l, false
	}
	return l, true
}

const (
	defaultLimit = 100
	maxWindow    = 10000 // offset + limit of an offset query
)

// number reads an integer parameter; what is out of range is answered 400.
func (q *call) number(name string, def, low, high int) (int, bool) {
	s := q.r.URL.Query().Get(name)
	if s == "" {
		return def, true
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		q.reject(http.StatusBadRequest, "Bad request")
		return 0, false
	}
	return n, true
}

// query is a filter and an order.
type query struct {
	filter expr // nil: everything
	order  order
}

// query understands what a list operation is asked for; what is wrong is answered
// 400. known says which fields there are, nil means that any will do.
func (q *call) query(l listing, defaultSort string, known func(string) bool) (out query, ok bool) {
	if l.Filter != "" {
		var err error
		if out.filter, err = parseFilter(l.Filter, known); err != nil {
			q.reject(http.StatusBadRequest, "Invalid filter expression supplied: "+err.Error())
			return out, false
		}
	}
	if out.order, ok = parseOrder(cmp.Or(l.Sort, defaultSort), known); !ok {
		q.reject(http.StatusBadRequest, "Invalid sort expression supplied")
		return out, false
	}
	return out, true
}

// order sorts by one field, then by id so that pages never overlap.
type order struct {
	field string
	desc  bool
}

// parseOrder reads "hostname.asc" and "hostname|asc": the services differ in which
// they document, and all are seen with both.
func parseOrder(s string, known func(string) bool) (order, bool) {
	o := order{field: s}
	if i := strings.LastIndexAny(s, ".|"); i >= 0 {
		switch strings.ToLower(s[i+1:]) {
		case "desc":
			o = order{s[:i], true}
		case "asc":
			o = order{s[:i], false}
		}
	}
	return o, known == nil || known(o.field)
}

// key is where a row stands in the order.
type key struct {
	Value string `json:"v"`
	ID    string `json:"i"`
}

// row is one object of a result.
type row struct {
	key    key
	object object
}

func (o order) compare(a, b key) int {
	v := strings.Compare(a.Value, b.Value)
	if o.desc {
		v = -v
	}
	return cmp.Or(v, strings.Compare(a.ID, b.ID))
}

// beyond returns the rows, which are in order, that come after the key.
func (o order) beyond(rows []row, after key) []row {
	for len(rows) > 0 && o.compare(rows[0].key, after) <= 0 {
		rows = rows[1:]
	}
	return rows
}

// of returns the objects that match, in order.
func (s query) of(all iter.Seq2[string, object], now time.Time) []row {
	var found []row
	for id, o := range all {
		if s.filter == nil || s.filter.match(o, now) {
			found = append(found, row{key{sortable(o.values(s.order.field)), id}, o})
		}
	}
	slices.SortFunc(found, func(a, b row) int { return s.order.compare(a.key, b.key) })
	return found
}

// sortable is what a row is sorted by. Numbers are made as long as each other, so
// that 9 comes before 10.
func sortable(values []string) string {
	if len(values) == 1 && isNumber.MatchString(values[0]) && values[0][0] != '-' {
		whole, _, _ := strings.Cut(values[0], ".")
		return strings.Repeat("0", max(0, 20-len(whole))) + values[0]
	}
	return strings.Join(values, ",")
}

func ids(rows []row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.key.ID
	}
	return out
}

func objects(rows []row) []object {
	out := make([]object, len(rows))
	for i, r := range rows {
		out[i] = r.object
	}
	return out
}
