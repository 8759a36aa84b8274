package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"

	"github.com/jurymast/jurymast/internal/paging"
)

// HostScroll selects hosts to scroll through. The zero value is all of them.
type HostScroll struct {
	Filter FQL
	Sort   string // such as "hostname.asc"
	Limit  int    // ids a page, at most 10,000, the default
}

// Scroll lists the ids of hosts, however many, every id once. Falcon keeps the
// place of a scroll and moves it with every call, so an answer that got lost is a
// page that nobody has seen, and forgets it after two minutes, when it answers as
// if the end were reached. Scroll counts what came, and begins anew as long as
// something is missing, leaving out what was given; it remembers the ids for that,
// some 100 bytes each. Its Cursor is of no use to another list: Query can be
// resumed, and gives whole hosts for the same number of calls.
func (h *Hosts) Scroll(q HostScroll) *List[string] {
	limit, bad := pageSize(scrollName, "HostScroll.Limit", q.Limit, 10_000, 10_000)
	s := &scroll{hosts: h, q: q, limit: int64(limit), bad: errors.Join(bad, q.Filter.Err()), given: map[string]struct{}{}}
	return paging.New("falcon "+scrollName, "", s.fetch)
}

const (
	scrollName = "hosts.scroll"
	// idlePasses is how many passes in a row may be cut short without a new host.
	idlePasses = 3
)

// scroll is the state of one list. A pass is a scroll of Falcon's from its
// beginning on.
type scroll struct {
	hosts *Hosts
	q     HostScroll
	limit int64
	bad   error // of the query

	page  paging.Page[string] // given out last, for a list that goes on within it
	token string              // that asks for it
	pages int

	offset string // of Falcon, "" begins a pass
	total  int64  // rows of this pass
	left   int64  // of those, still to come
	idle   int    // passes since something new came
	given  map[string]struct{}
}

// fetch gives the page that was given last once more, or the next one.
func (s *scroll) fetch(ctx context.Context, token string) (paging.Page[string], error) {
	if s.pages > 0 && token == s.token {
		return s.page, nil
	}
	for s.idle < idlePasses {
		p, more, err := s.next(ctx)
		if err != nil {
			return paging.Page[string]{}, err
		}
		if len(p.Rows) == 0 && more {
			continue // nothing new in it
		}
		s.pages++
		s.page, s.token = p, token
		if more {
			s.page.Next = strconv.Itoa(s.pages)
		}
		return s.page, nil
	}
	s.idle = 0
	return paging.Page[string]{}, fmt.Errorf("falcon %s: %d hosts are missing of those that Falcon counts, and begun anew %d times the scroll gave none of them",
		scrollName, s.left, idlePasses)
}

// next asks for one page and leaves out what was given before.
func (s *scroll) next(ctx context.Context) (p paging.Page[string], more bool, err error) {
	begins := s.offset == ""
	p, err = s.ask(ctx)
	if gone(err) && !begins {
		s.cut()
		return paging.Page[string]{}, true, nil
	}
	if err != nil {
		return p, false, err
	}
	if begins {
		s.total, s.left = p.Total, p.Total
	}
	p.Total = s.total // the end says 0
	s.left -= int64(len(p.Rows))
	s.offset = p.Next
	came := len(p.Rows)
	p.Rows = s.fresh(p.Rows)
	idle := len(p.Rows) == 0 && s.left < 0 // a scroll that turns in a circle
	if came > 0 && s.offset != "" && !idle {
		return p, true, nil
	}
	if s.left > 0 {
		s.cut()
		return p, true, nil
	}
	return p, false, nil
}

// cut ends a pass before its end.
func (s *scroll) cut() { s.offset, s.idle = "", s.idle+1 }

// gone says that Falcon does not know the place of the scroll any more.
func gone(err error) bool {
	api, ok := errors.AsType[*APIError](err)
	return ok && (api.Status == http.StatusBadRequest || api.Status == http.StatusNotFound || api.Status == http.StatusGone)
}

func (s *scroll) fresh(rows []paging.Row[string]) (out []paging.Row[string]) {
	for _, r := range rows {
		if r.Err == nil {
			if _, known := s.given[r.Value]; known {
				continue
			}
			s.given[r.Value] = struct{}{}
			s.idle = 0
		}
		out = append(out, r)
	}
	return out
}

// ask sends the request. Next is the place that Falcon names.
func (s *scroll) ask(ctx context.Context) (paging.Page[string], error) {
	if s.bad != nil {
		return paging.Page[string]{}, s.bad
	}
	p := hosts.NewQueryDevicesByFilterScrollParamsWithContext(ctx)
	p.Limit = &s.limit
	setIf(&p.Filter, s.q.Filter.String())
	setIf(&p.Sort, s.q.Sort)
	setIf(&p.Offset, s.offset)
	var op capture
	_, _ = hosts.New(&op, nil).QueryDevicesByFilterScroll(p)
	return page(ctx, s.hosts.c, scrollName, &op, ids, s.offset == "", func(more pagination, _ int) (place string) {
		_ = json.Unmarshal(more.Offset, &place)
		return place
	})
}
