package falcontest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	defaultLimit = 100
	maxScroll    = 10000
	maxQuery     = 5000
	maxCombined  = 10000
	maxWindow    = 10000 // offset + limit of an offset query
	scrollLife   = 2 * time.Minute
)

// queryHosts pages by a numeric offset and cannot see past the first 10,000.
func (c *cloud) queryHosts(q *call) { c.offsetQuery(q, false) }

// queryHiddenHosts is queryHosts for the hosts that are hidden.
func (c *cloud) queryHiddenHosts(q *call) { c.offsetQuery(q, true) }

func (c *cloud) offsetQuery(q *call, hidden bool) {
	query, ok := q.query()
	if !ok {
		return
	}
	query.hidden = hidden
	limit, ok := q.number("limit", defaultLimit, 1, maxQuery)
	if !ok {
		return
	}
	offset, ok := q.number("offset", 0, 0, math.MaxInt32)
	if !ok {
		return
	}
	if offset+limit > maxWindow {
		q.reject(http.StatusBadRequest, "limit + offset must be less than 10000") // the real words; 10000 itself is allowed
		return
	}
	ids := deviceIDs(c.fleet.search(query, q.token, q.now))
	page := ids[min(offset, len(ids)):min(offset+limit, len(ids))]
	q.list(object{{"offset", offset}, {"limit", limit}, {"total", len(ids)}}, page)
}

// scroll is a result kept by the cloud. Filter, order and page size are those
// of the call that opened it.
type scroll struct {
	ids     []string
	next    int
	limit   int
	cid     string
	expires time.Time
}

type scrolls struct {
	mu     sync.Mutex
	opened int
	open   map[string]*scroll
}

// scrollHosts pages by a cursor that lives in the cloud. As recorded, the offset
// is the same string on every page and every call moves it, so a page whose
// answer was lost cannot be asked for again: only counting what came against
// the total shows the hole. The call after the last page answers total 0 and an
// empty offset; that an expired cursor does the same is assumed.
func (c *cloud) scrollHosts(q *call) {
	if offset := q.r.URL.Query().Get("offset"); offset != "" {
		c.scrollOn(q, offset)
		return
	}
	query, ok := q.query()
	if !ok {
		return
	}
	limit, ok := q.number("limit", defaultLimit, 1, maxScroll)
	if !ok {
		return
	}
	ids := deviceIDs(c.fleet.search(query, q.token, q.now))
	if len(ids) == 0 {
		q.endOfScroll()
		return
	}
	s := &scroll{ids: ids, limit: limit, cid: q.token.cid}
	c.scrolls.mu.Lock()
	c.scrolls.opened++
	// The length byte, the name and the padding are those of the real ones.
	sum := sha256.Sum256(fmt.Appendf(nil, "scroll %d", c.scrolls.opened))
	offset := base64.StdEncoding.EncodeToString(append([]byte("\x0equeryThenFetch"), sum[:]...))
	c.scrolls.open[offset] = s
	c.scrolls.mu.Unlock()
	c.scrollOn(q, offset)
}

func (c *cloud) scrollOn(q *call, offset string) {
	c.scrolls.mu.Lock()
	s, known := c.scrolls.open[offset]
	if !known || s.cid != q.token.cid {
		c.scrolls.mu.Unlock()
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	if s.next >= len(s.ids) || (s.next > 0 && !q.now.Before(s.expires)) {
		s.ids = nil
		c.scrolls.mu.Unlock()
		q.endOfScroll()
		return
	}
	page, total := s.ids[s.next:min(s.next+s.limit, len(s.ids))], len(s.ids)
	s.next += len(page)
	s.expires = q.now.Add(scrollLife)
	c.scrolls.mu.Unlock()
	q.list(object{{"total", total}, {"offset", offset}, {"expires_at", q.now.Add(scrollLife).UnixNano()}}, page)
}

func (q *call) endOfScroll() { q.list(object{{"total", 0}, {"offset", ""}}, []string{}) }

// place is what "next" stands for: the last device of the page, and when the
// listing began. A host's last_seen moves with the clock; a listing sorted by it
// would begin again on every page if it were not read as of one moment.
type place struct {
	After key    `json:"a"`
	Began int64  `json:"t"` // unix nanoseconds
	Sort  string `json:"s,omitempty"`
}

// combinedHosts returns whole devices and pages by "next". Nothing is kept in
// the cloud: the same page can be asked for again, and hosts that come and go in
// between shift nothing.
func (c *cloud) combinedHosts(q *call) {
	query, ok := q.query()
	if !ok {
		return
	}
	limit, ok := q.number("limit", defaultLimit, 1, maxCombined)
	if !ok {
		return
	}
	offset := q.r.URL.Query().Get("offset")
	p := place{Began: q.now.UnixNano()}
	if offset != "" && !p.decode(offset) {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	rows := c.fleet.search(query, q.token, time.Unix(0, p.Began))
	rest := rows
	if offset != "" {
		rest = query.order.beyond(rows, p.After)
	}
	page := rest[:min(limit, len(rest))]
	paging := object{{"limit", limit}, {"offset", offset}, {"total", len(rows)}}
	if len(page) < len(rest) {
		p.After = page[len(page)-1].key
		paging = append(paging, member{"next", p.encode()})
	}
	fields := q.r.URL.Query().Get("fields")
	devices := make([]object, len(page))
	for i, r := range page {
		devices[i] = r.device.only(fields)
	}
	q.list(paging, devices)
}

// only keeps the members named in a comma-separated list, which ignores unknown
// names; an empty list keeps all.
func (o object) only(names string) object {
	if names == "" {
		return o
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		wanted[strings.TrimSpace(name)] = true
	}
	return slices.DeleteFunc(o, func(m member) bool { return !wanted[m.key] })
}

func (p *place) encode() string {
	b, _ := json.Marshal(p)
	return base64.StdEncoding.EncodeToString(b)
}

func (p *place) decode(s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && json.Unmarshal(b, p) == nil && p.After.ID != ""
}
