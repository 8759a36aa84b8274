package falcontest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// IOC is a custom indicator of the simulated cloud. Only Type and Value are
// required.
type IOC struct {
	ID              string // 64 hex digits; default: derived from how many came before
	CID             string // default: the server's
	Type            string
	Value           string
	Action          string // default no_action
	MobileAction    string // default no_action
	Severity        string
	Platforms       []string // default windows
	AppliedGlobally bool
	HostGroups      []string
	Description     string
	Source          string
	Filename        string
	Tags            []string
	Expiration      time.Time // zero: never
	Created         time.Time
	Modified        time.Time
	Comment         string // of the last change, in the audit log
	Retrodetects    bool   // the last change asked to look into the past
}

const (
	maxIOCs     = 2000 // of one page, as PSFalcon has it
	maxIOCIDs   = 100  // in a URL; assumed
	iocBatch    = 2000 // default of Config.IOCBatch
	byCreatedOn = "created_on"
)

type iocs struct {
	mu    sync.Mutex
	byID  map[string]*IOC
	count int
}

// newID is called with the lock held.
func (s *iocs) newID() string {
	s.count++
	sum := sha256.Sum256(fmt.Appendf(nil, "ioc %d", s.count))
	return hex.EncodeToString(sum[:])
}

func (s *iocs) add(i IOC, cid string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.ID == "" {
		i.ID = s.newID()
	}
	orDefault(&i.CID, cid)
	orDefault(&i.Action, "no_action")
	orDefault(&i.MobileAction, "no_action")
	orDefault(&i.Created, now)
	orDefault(&i.Modified, i.Created)
	if i.Platforms == nil {
		i.Platforms = []string{"windows"}
	}
	i = i.clone()
	s.byID[i.ID] = &i
}

func (i *IOC) clone() IOC {
	c := *i
	c.Platforms, c.HostGroups, c.Tags = slices.Clone(i.Platforms), slices.Clone(i.HostGroups), slices.Clone(i.Tags)
	return c
}

func (s *iocs) all() []IOC {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []IOC
	for _, i := range s.byID {
		out = append(out, i.clone())
	}
	slices.SortFunc(out, func(a, b IOC) int {
		return cmp.Or(strings.Compare(a.Value, b.Value), strings.Compare(a.Type, b.Type), strings.Compare(a.ID, b.ID))
	})
	return out
}

// object is the indicator as the API shows it, members in the recorded order and
// the empty ones absent. An expired one is kept, with its action set to no_action.
func (i *IOC) object(now time.Time) object {
	expired := !i.Expiration.IsZero() && !i.Expiration.After(now)
	action := i.Action
	if expired {
		action = "no_action"
	}
	o := object{{"id", i.ID}, {"type", i.Type}, {"value", i.Value}}
	if i.Source != "" {
		o = append(o, member{"source", i.Source})
	}
	o = append(o, object{{"action", action}, {"mobile_action", i.MobileAction}, {"severity", i.Severity}}...)
	if i.Filename != "" {
		o = append(o, member{"metadata", object{{"filename", i.Filename}, {"signed", false}, {"av_hits", -1}}})
	}
	o = append(o, member{"platforms", i.Platforms})
	if len(i.Tags) > 0 {
		o = append(o, member{"tags", i.Tags})
	}
	if len(i.HostGroups) > 0 {
		o = append(o, member{"host_groups", i.HostGroups})
	}
	if !i.Expiration.IsZero() {
		o = append(o, member{"expiration", i.Expiration.UTC().Format(time.RFC3339)})
	}
	if i.Description != "" {
		o = append(o, member{"description", i.Description})
	}
	nanos := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }
	return append(o, object{
		{"expired", expired},
		{"deleted", false},
		{"applied_globally", i.AppliedGlobally},
		{"from_parent", false},
		{"created_on", nanos(i.Created)},
		{"created_by", ClientID},
		{"modified_on", nanos(i.Modified)},
		{"modified_by", ClientID},
	}...)
}

// each gives the indicators that a token may see.
func (s *iocs) each(t token, now time.Time) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, i := range s.byID {
			if t.sees(i.CID) && !yield(id, i.object(now)) {
				return
			}
		}
	}
}

func (c *cloud) combinedIOCs(q *call) {
	if page, paging, ok := c.findIOCs(q); ok {
		q.list(paging, objects(page))
	}
}

func (c *cloud) queryIOCs(q *call) {
	if page, paging, ok := c.findIOCs(q); ok {
		q.list(paging, ids(page))
	}
}

// findIOCs pages by offset if there is one, otherwise by "after". As recorded, the
// last page has an "after" too, and what follows it is an empty page; that the
// empty one has none is assumed.
func (c *cloud) findIOCs(q *call) (page []row, paging object, ok bool) {
	params := q.r.URL.Query()
	if params.Has("offset") {
		if params.Has("after") {
			q.reject(http.StatusBadRequest, "offset and after are mutually exclusive")
			return nil, nil, false
		}
		l, ok := q.windowed(1, maxIOCs)
		if !ok {
			return nil, nil, false
		}
		query, ok := q.query(l, byCreatedOn, nil)
		if !ok {
			return nil, nil, false
		}
		page, paging = l.byOffset(query.of(c.iocs.each(q.token, q.now), q.now))
		return page, paging, true
	}
	l, ok := q.asked(1, maxIOCs)
	if !ok {
		return nil, nil, false
	}
	query, ok := q.query(l, byCreatedOn, nil)
	if !ok {
		return nil, nil, false
	}
	rows := query.of(c.iocs.each(q.token, q.now), q.now)
	rest, ok := q.beyond(l, query.order, rows)
	if !ok {
		return nil, nil, false
	}
	page = rest[:min(l.Limit, len(rest))]
	seen := len(rows) - len(rest) + len(page)
	paging = object{{"limit", l.Limit}, {"total", len(rows)}, {"offset", seen}}
	if len(page) > 0 {
		paging = append(paging, member{"after", q.mark(l, page)})
	}
	return page, paging, true
}

func unknownIOC(id string) apiError {
	return apiError{Code: http.StatusNotFound, Message: fmt.Sprintf("indicator %s not found", id), ID: id}
}

// getIOCs answers 200 with the errors of unknown ids beside the others; assumed.
func (c *cloud) getIOCs(q *call) {
	ids := q.r.URL.Query()["ids"]
	if !q.countIDs(ids, maxIOCIDs) {
		return
	}
	found, missing := []object{}, []apiError{}
	c.iocs.mu.Lock()
	for _, id := range ids {
		if i := c.iocs.byID[id]; i != nil && q.token.sees(i.CID) {
			found = append(found, i.object(q.now))
		} else {
			missing = append(missing, unknownIOC(id))
		}
	}
	c.iocs.mu.Unlock()
	q.send(http.StatusOK, envelope{q.meta(q.by), found, missing})
}

// deleteIOCs deletes what the filter matches, and looks at the ids only if there is
// none. That unknown ids are errors beside those that are deleted is assumed.
func (c *cloud) deleteIOCs(q *call) {
	params := q.r.URL.Query()
	wanted := params["ids"]
	if filter := params.Get("filter"); filter != "" {
		query, ok := q.query(listing{Filter: filter}, byCreatedOn, nil)
		if !ok {
			return
		}
		wanted = ids(query.of(c.iocs.each(q.token, q.now), q.now))
	} else if !q.countIDs(wanted, maxIOCIDs) {
		return
	}
	deleted, missing := []string{}, []apiError{}
	c.iocs.mu.Lock()
	for _, id := range wanted {
		if i := c.iocs.byID[id]; i != nil && q.token.sees(i.CID) {
			delete(c.iocs.byID, id)
			deleted = append(deleted, id)
		} else {
			missing = append(missing, unknownIOC(id))
		}
	}
	c.iocs.mu.Unlock()
	q.send(http.StatusOK, envelope{q.meta(q.by), deleted, missing})
}

// iocBody is the body of a create or an update.
type iocBody struct {
	Comment    string                       `json:"comment"`
	Indicators []map[string]json.RawMessage `json:"indicators"`
}

// IOCs returns the current state of every custom indicator, by value and type.
func (s *Server) IOCs() []IOC { return s.cloud.iocs.all() }

// AddIOC adds a custom indicator, or replaces the one with the same ID.
func (s *Server) AddIOC(i IOC) { s.cloud.iocs.add(i, s.cloud.cfg.CID, s.cloud.cfg.Now()) }
