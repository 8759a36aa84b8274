package falcontest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	maxScroll  = 10000
	scrollLife = 2 * time.Minute
)

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
	l, ok := q.asked(1, maxScroll)
	if !ok {
		return
	}
	query, ok := q.query(l, byDeviceID, knownField)
	if !ok {
		return
	}
	found := ids(query.of(c.fleet.each(q.token, false, q.now), q.now))
	if len(found) == 0 {
		q.endOfScroll()
		return
	}
	s := &scroll{ids: found, limit: l.Limit, cid: q.token.cid}
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
