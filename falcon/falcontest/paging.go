package falcontest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// byOffset is the page of rows that a numeric offset and a limit name, and what
// its answer says of the pages.
func (l listing) byOffset(rows []row) (page []row, paging object) {
	page = rows[min(l.Offset, len(rows)):min(l.Offset+l.Limit, len(rows))]
	return page, object{{"offset", l.Offset}, {"limit", l.Limit}, {"total", len(rows)}}
}

// place is what a page's token stands for: the last row before it, and when the
// listing, or the page, began.
type place struct {
	After key    `json:"a"`
	Began int64  `json:"t"` // unix nanoseconds
	Sort  string `json:"s,omitempty"`
}

func (p *place) encode() string {
	b, _ := json.Marshal(p)
	return base64.StdEncoding.EncodeToString(b)
}

func (p *place) decode(s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && json.Unmarshal(b, p) == nil && p.After.ID != ""
}

const afterLife = 10 * time.Minute // of an "after" token; that it ends is known (404), when is assumed

// byAfter answers with the page that comes after a token. Nothing is kept in the
// cloud but the time: a token lives for a while, and another order makes it
// worthless.
func (q *call) byAfter(l listing, order order, rows []row) {
	rest, ok := q.beyond(l, order, rows)
	if !ok {
		return
	}
	page := rest[:min(l.Limit, len(rest))]
	paging := object{{"limit", l.Limit}, {"total", len(rows)}}
	if len(page) < len(rest) {
		paging = append(paging, member{"after", q.mark(l, page)})
	}
	q.list(paging, objects(page))
}

// beyond returns the rows after the token that was asked with, if any; a token that
// is worth nothing is answered.
func (q *call) beyond(l listing, order order, rows []row) ([]row, bool) {
	if l.After == "" {
		return rows, true
	}
	var p place
	if !p.decode(l.After) || p.Sort != l.Sort {
		q.reject(http.StatusBadRequest, "Bad request")
		return nil, false
	}
	if q.now.Sub(time.Unix(0, p.Began)) > afterLife {
		q.reject(http.StatusNotFound, "Search context expired, 'after' key no longer valid")
		return nil, false
	}
	return order.beyond(rows, p.After), true
}

// mark is the token of what comes after a page.
func (q *call) mark(l listing, page []row) string {
	p := place{After: page[len(page)-1].key, Began: q.now.UnixNano(), Sort: l.Sort}
	return p.encode()
}
