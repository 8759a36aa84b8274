package falcontest

import (
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	maxQuery    = 5000
	maxCombined = 10000

	byDeviceID = "device_id.asc" // the default order of hosts; assumed
)

// each gives the devices that a token may see, hidden ones or the others.
func (f *fleet) each(t token, hidden bool, now time.Time) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for id := range f.hosts {
			d := f.get(id, now)
			if d.Hidden == hidden && t.sees(d.CID) && !yield(id, details(d, now)) {
				return
			}
		}
	}
}

// queryHosts pages by a numeric offset and cannot see past the first 10,000.
func (c *cloud) queryHosts(q *call) { c.offsetHosts(q, false) }

// queryHiddenHosts is queryHosts for the hosts that are hidden.
func (c *cloud) queryHiddenHosts(q *call) { c.offsetHosts(q, true) }

func (c *cloud) offsetHosts(q *call, hidden bool) {
	l, ok := q.windowed(1, maxQuery)
	if !ok {
		return
	}
	if query, ok := q.query(l, byDeviceID, knownField); ok {
		page, paging := l.byOffset(query.of(c.fleet.each(q.token, hidden, q.now), q.now))
		q.list(paging, ids(page))
	}
}

func (c *cloud) combinedHosts(q *call) { c.nextHosts(q, false) }

func (c *cloud) combinedHiddenHosts(q *call) { c.nextHosts(q, true) }

// nextHosts returns whole devices and pages by "next". Nothing is kept in the
// cloud: the same page can be asked for again, and hosts that come and go in
// between shift nothing. A host's last_seen moves with the clock; a listing sorted
// by it would begin again on every page if it were not read as of its beginning.
func (c *cloud) nextHosts(q *call, hidden bool) {
	l, ok := q.asked(1, maxCombined)
	if !ok {
		return
	}
	query, ok := q.query(l, byDeviceID, knownField)
	if !ok {
		return
	}
	offset := q.r.URL.Query().Get("offset")
	p := place{Began: q.now.UnixNano()}
	if offset != "" && !p.decode(offset) {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	rows := query.of(c.fleet.each(q.token, hidden, time.Unix(0, p.Began)), time.Unix(0, p.Began))
	rest := rows
	if offset != "" {
		rest = query.order.beyond(rows, p.After)
	}
	page := rest[:min(l.Limit, len(rest))]
	paging := object{{"limit", l.Limit}, {"offset", offset}, {"total", len(rows)}}
	if len(page) < len(rest) {
		p.After = page[len(page)-1].key
		paging = append(paging, member{"next", p.encode()})
	}
	devices := objects(page)
	for i := range devices {
		devices[i] = devices[i].only(q.r.URL.Query().Get("fields"))
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
