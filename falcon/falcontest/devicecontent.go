package falcontest

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"
)

// releases are the versions of content that CrowdStrike deployed, oldest first.
type releases struct {
	mu         sync.Mutex
	byCategory map[string][]release
}

type release struct {
	version string
	at      time.Time
}

func (s *releases) has(category, version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.byCategory[category], func(r release) bool { return r.version == version })
}

func (s *releases) of(category string) []release {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.byCategory[category])
}

// ReleaseContent deploys a version of a category of content now. Policies can pin
// it, and hosts take it when their policy's ring and delay let them, for as long
// as they are alive. An unknown category is refused.
func (s *Server) ReleaseContent(category, version string) error {
	if !slices.Contains(contentCategories, category) || version == "" {
		return fmt.Errorf("falcontest: no version %q of %q can be released", version, category)
	}
	now := s.cloud.cfg.Now()
	r := &s.cloud.releases
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byCategory[category] = append(r.byCategory[category], release{version, now})
	return nil
}

// pinVersions lists what a policy can be pinned to, the newest first.
func (c *cloud) pinVersions(q *call) {
	params := q.r.URL.Query()
	category, sort := params.Get("category"), params.Get("sort")
	if !slices.Contains(contentCategories, category) || !slices.Contains([]string{"", "deployed_timestamp.asc", "deployed_timestamp.desc"}, sort) {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	versions := []string{}
	for _, r := range c.releases.of(category) {
		versions = append(versions, r.version)
	}
	if sort != "deployed_timestamp.asc" {
		slices.Reverse(versions)
	}
	q.list(object{{"offset", 0}, {"limit", len(versions)}, {"total", len(versions)}}, versions) // one page
}

// taken is when a host with this ring last took content, zero if never. The
// release is taken when the delay is over, or when a pause or pin ends that it
// came into. That hosts of the ea ring get it no earlier than those of ga without
// a delay, and that a pin holds what is there and takes nobody back, is assumed.
func (r *contentRing) taken(all []release, until time.Time) (last time.Time) {
	for _, rel := range all {
		at := rel.at.Add(time.Duration(r.DelayHours) * time.Hour)
		if !at.Before(r.heldAt) && at.Before(r.freedAt) {
			at = r.freedAt
		}
		if held := r.held() && !at.Before(r.heldAt); !held && !at.After(until) && at.After(last) {
			last = at
		}
	}
	return last
}

// deviceCategories are the categories as the device content service names them.
var deviceCategories = map[string]string{
	"sensor_operations": "sensor_operations", "system_critical": "system_critical",
	"vulnerability_management": "vulnerability_management", "rapid_response_al_bl_listing": "rapid_response_content",
}

// contentState is a host as the device content service shows it: when it last took
// content of each category, and what its policy said. The names are gofalcon's;
// the form of the values is assumed.
func (c *cloud) contentState(d *device, now time.Time) object {
	c.content.mu.Lock()
	defer c.content.mu.Unlock()
	p := c.content.of(&d.Host).(*contentPolicy)
	o := object{
		{"device_id", d.DeviceID},
		{"cid", d.CID},
		{"hostname", d.Hostname},
		{"platform_name", d.Platform},
		{"groups", list(d.Groups)},
		{"last_seen", stamp(d.lastSeen(now))},
		{"reduced_functionality_mode", yesNo(d.ReducedFunctionality)},
		{"content_update_policy_id", p.id},
		{"content_update_policy_applied_date", p.modified.UTC().Format(time.RFC3339Nano)},
	}
	if d.Hidden {
		o = append(o, member{"hidden_status", "hidden"})
	}
	for _, r := range p.rings {
		last := r.taken(c.releases.of(r.Category), d.lastSeen(now))
		if last.IsZero() {
			last = d.FirstSeen
		}
		o = append(o, member{deviceCategories[r.Category], object{
			{"last_update", stamp(last)}, {"policy_setting", r.Ring}, {"override", r.Override},
		}})
	}
	return o
}

func (c *cloud) contentStates(t token, now time.Time) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		c.fleet.mu.Lock()
		defer c.fleet.mu.Unlock()
		for id := range c.fleet.hosts {
			if d := c.fleet.get(id, now); t.sees(d.CID) && !yield(id, c.contentState(d, now)) {
				return
			}
		}
	}
}

// queryContentStates pages as gofalcon's comment has it: an offset comes back as
// long as there are more pages, and none with the last. That it is the next one, and
// that there is no end at 10,000, is assumed.
func (c *cloud) queryContentStates(q *call) {
	l, ok := q.asked(1, maxCombined)
	if !ok {
		return
	}
	if l.Offset, ok = q.number("offset", 0, 0, 1<<31-1); !ok {
		return
	}
	query, ok := q.query(l, "last_seen.desc", nil)
	if !ok {
		return
	}
	rows := query.of(c.contentStates(q.token, q.now), q.now)
	page, paging := l.byOffset(rows)
	if paging[0].value = l.Offset + len(page); l.Offset+len(page) >= len(rows) {
		paging = paging[1:]
	}
	q.list(paging, ids(page))
}

func (c *cloud) getContentStates(q *call) {
	if ids := q.r.URL.Query()["ids"]; q.countIDs(ids, maxGetIDs) {
		c.entities(q, ids, c.contentState)
	}
}
