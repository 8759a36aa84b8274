package falcontest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// query is what the list operations have in common: a filter and an order.
type query struct {
	filter expr // nil: every host
	order  order
	hidden bool // hidden hosts instead of the others
}

// order sorts by one field, then by device id so that pages never overlap.
type order struct {
	field string
	desc  bool
}

// query reads the filter and sort parameters; what is wrong is answered 400.
func (q *call) query() (query, bool) {
	var out query
	params := q.r.URL.Query()
	if f := params.Get("filter"); f != "" {
		var err error
		if out.filter, err = parseFilter(f, knownField); err != nil {
			q.reject(http.StatusBadRequest, "Invalid filter expression supplied: "+err.Error())
			return out, false
		}
	}
	var ok bool
	if out.order, ok = parseOrder(params.Get("sort"), knownField); !ok {
		q.reject(http.StatusBadRequest, "Invalid sort expression supplied")
		return out, false
	}
	return out, true
}

// parseOrder reads "hostname.asc"; "hostname|asc" is accepted elsewhere in the
// API and so here. Nothing means device_id.asc.
func parseOrder(s string, known func(string) bool) (order, bool) {
	if s == "" {
		return order{field: "device_id"}, true
	}
	o := order{field: s}
	if i := strings.LastIndexAny(s, ".|"); i >= 0 {
		switch strings.ToLower(s[i+1:]) {
		case "desc":
			o = order{s[:i], true}
		case "asc":
			o = order{s[:i], false}
		}
	}
	return o, known(o.field)
}

// key is where a device stands in the order.
type key struct {
	Value string `json:"v"`
	ID    string `json:"i"`
}

// row is one device of a result.
type row struct {
	key    key
	device object
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

// search returns the matching devices in order.
func (f *fleet) search(q query, t token, now time.Time) []row {
	f.mu.Lock()
	var found []row
	for id := range f.hosts {
		d := f.get(id, now)
		if d.Hidden != q.hidden || !t.sees(d.CID) {
			continue
		}
		if o := details(d, now); q.filter == nil || q.filter.match(o, now) {
			found = append(found, row{key{strings.Join(o.values(q.order.field), ","), id}, o})
		}
	}
	f.mu.Unlock()
	slices.SortFunc(found, func(a, b row) int { return q.order.compare(a.key, b.key) })
	return found
}

func deviceIDs(rows []row) []string {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.key.ID
	}
	return ids
}

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
