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
	p := place{Began: q.now.UnixNano(), Sort: l.Sort}
	total := len(rows)
	if l.After != "" {
		if !p.decode(l.After) || p.Sort != l.Sort {
			q.reject(http.StatusBadRequest, "Bad request")
			return
		}
		if q.now.Sub(time.Unix(0, p.Began)) > afterLife {
			q.reject(http.StatusNotFound, "Search context expired, 'after' key no longer valid")
			return
		}
		rows = order.beyond(rows, p.After)
	}
	page := rows[:min(l.Limit, len(rows))]
	paging := object{{"limit", l.Limit}, {"total", total}}
	if len(page) < len(rows) {
		p.After, p.Began = page[len(page)-1].key, q.now.UnixNano()
		paging = append(paging, member{"after", p.encode()})
	}
	q.list(paging, objects(page))
}
