package falcontest

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"
)

// HostGroup is a group of hosts. Who is in it is said by Host.Groups.
type HostGroup struct {
	ID          string // default: derived from Name
	Name        string
	Description string
	Type        string // staticByID (the default), static or dynamic
	Rule        string // assignment_rule
	Created     time.Time
}

const (
	maxGroups = 5000
	byGroups  = "name.asc" // the default order; assumed
)

type hostGroups struct {
	mu   sync.Mutex
	byID map[string]HostGroup
}

func (s *hostGroups) add(g HostGroup, now time.Time) {
	orDefault(&g.ID, hexDigits("group "+g.Name))
	orDefault(&g.Type, "staticByID")
	orDefault(&g.Created, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[g.ID] = g
}

func (g HostGroup) object() object {
	return object{
		{"id", g.ID},
		{"group_type", g.Type},
		{"name", g.Name},
		{"description", g.Description},
		{"assignment_rule", g.Rule},
		{"created_by", "falcontest@example.com"},
		{"created_timestamp", stamp(g.Created)},
		{"modified_by", "falcontest@example.com"},
		{"modified_timestamp", stamp(g.Created)},
	}
}

func (s *hostGroups) each() iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, g := range s.byID {
			if !yield(id, g.object()) {
				return
			}
		}
	}
}

func (c *cloud) combinedGroups(q *call) {
	l, ok := q.windowed(1, maxGroups)
	if !ok {
		return
	}
	if query, ok := q.query(l, byGroups, nil); ok {
		page, paging := l.byOffset(query.of(c.groups.each(), q.now))
		q.list(paging, objects(page))
	}
}

// groupAction adds the hosts that a filter selects to groups, or removes them. It
// answers with the groups and says nothing of the hosts: a filter that selects none
// is no error.
func (c *cloud) groupAction(q *call) {
	name := q.r.URL.Query().Get("action_name")
	var b struct {
		IDs        []string `json:"ids"`
		Parameters []struct {
			Name, Value string
		} `json:"action_parameters"`
	}
	err := json.NewDecoder(q.r.Body).Decode(&b)
	if err != nil || name != "add-hosts" && name != "remove-hosts" || len(b.Parameters) != 1 || b.Parameters[0].Name != "filter" {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	filter, err := parseFilter(b.Parameters[0].Value, knownField)
	if err != nil {
		q.reject(http.StatusBadRequest, "Invalid filter expression supplied: "+err.Error())
		return
	}
	groups := []object{}
	for _, id := range b.IDs {
		c.groups.mu.Lock()
		g, known := c.groups.byID[id]
		c.groups.mu.Unlock()
		switch {
		case !known:
			q.reject(http.StatusNotFound, fmt.Sprintf("host group %s not found", id))
			return
		case g.Type == "dynamic":
			q.reject(http.StatusBadRequest, fmt.Sprintf("host group %s is dynamic", id))
			return
		}
		c.fleet.regroup(id, name == "add-hosts", filter, q.token, q.now)
		groups = append(groups, g.object())
	}
	q.send(http.StatusOK, envelope{q.meta(q.by), groups, []apiError{}})
}

func (f *fleet) regroup(group string, add bool, filter expr, t token, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.hosts {
		d := f.get(id, now)
		if !t.sees(d.CID) || !filter.match(details(d, now), now) {
			continue
		}
		d.Groups = slices.DeleteFunc(d.Groups, func(g string) bool { return g == group })
		if add {
			d.Groups = append(d.Groups, group)
		}
		d.touch(now)
	}
}
