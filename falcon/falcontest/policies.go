package falcontest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxPolicies  = 5000
	maxPolicyIDs = 500 // of a GET; assumed

	// defaultPolicy is what Falcon calls the policy of the hosts that no other one
	// takes. There is one for each platform that has policies of the kind.
	defaultPolicy = "platform_default"
)

// policyHead is what policies of all kinds have.
type policyHead struct {
	id, cid, name, description, platform string
	disabled                             bool
	groups                               []string // host group ids
	createdBy, modifiedBy                string
	created, modified                    time.Time
}

func (h *policyHead) head() *policyHead { return h }

func (h *policyHead) isDefault() bool { return h.name == defaultPolicy }

// object is the policy as the API shows it. It has no precedence, by which it can
// be sorted all the same. The names of groups are made up: only their ids are known.
func (h *policyHead) object(settings object) object {
	groups := []object{}
	for _, id := range h.groups {
		groups = append(groups, object{
			{"id", id},
			{"group_type", "static"},
			{"name", "group " + id},
			{"description", ""},
			{"created_by", h.createdBy},
			{"created_timestamp", h.created.UTC().Format(time.RFC3339Nano)},
			{"modified_by", h.createdBy},
			{"modified_timestamp", h.created.UTC().Format(time.RFC3339Nano)},
		})
	}
	return object{
		{"id", h.id},
		{"cid", h.cid},
		{"name", h.name},
		{"description", h.description},
		{"platform_name", h.platform},
		{"groups", groups},
		{"enabled", !h.disabled},
		{"created_by", h.createdBy},
		{"created_timestamp", h.created.UTC().Format(time.RFC3339Nano)},
		{"modified_by", h.modifiedBy},
		{"modified_timestamp", h.modified.UTC().Format(time.RFC3339Nano)},
		{"settings", settings},
	}
}

type policy interface {
	head() *policyHead
	shown() object
}

// policies are those of one kind, in the order in which a host is tried on them;
// the default ones are the last.
type policies struct {
	kind string // as in paths and ids: content-update
	mu   sync.Mutex
	list []policy
}

// add fills in the defaults and puts the policy before the default ones, or in the
// place of the one with the same id. Unless it may replace, it refuses that.
func (s *policies) add(p policy, cid string, now time.Time, replace bool) error {
	h := p.head()
	if h.name == "" {
		return fmt.Errorf("falcontest: a %s policy without a Name", s.kind)
	}
	if h.isDefault() {
		orDefault(&h.id, hexDigits(s.kind+" "+h.platform))
	}
	orDefault(&h.id, hexDigits(s.kind+" "+h.platform+" "+h.name))
	orDefault(&h.cid, cid)
	h.cid = bareCID(h.cid)
	orDefault(&h.createdBy, "admin@example.com")
	orDefault(&h.modifiedBy, h.createdBy)
	orDefault(&h.created, now)
	orDefault(&h.modified, h.created)
	h.groups = slices.Clone(h.groups)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(h.id); i >= 0 {
		switch {
		case !replace:
			return fmt.Errorf("falcontest: two %s policies with ID %q", s.kind, h.id)
		case s.list[i].head().isDefault() && !h.isDefault():
			return fmt.Errorf("falcontest: %q cannot take the place of the default %s policy", h.name, s.kind)
		}
		s.list[i] = p
		return nil
	}
	at := len(s.list)
	if i := slices.IndexFunc(s.list, func(p policy) bool { return p.head().isDefault() }); i >= 0 && !h.isDefault() {
		at = i
	}
	s.list = slices.Insert(s.list, at, p)
	return nil
}

func (s *policies) index(id string) int {
	return slices.IndexFunc(s.list, func(p policy) bool { return p.head().id == id })
}

// of is the policy that a host takes: the first that is enabled and has one of the
// host's groups, else the default one. The caller holds the lock.
func (s *policies) of(h *Host) policy {
	for _, p := range s.list {
		head := p.head()
		if head.platform != allPlatforms && head.platform != h.Platform || head.cid != h.CID && !head.isDefault() {
			continue
		}
		if head.isDefault() || !head.disabled && slices.ContainsFunc(head.groups, func(g string) bool { return slices.Contains(h.Groups, g) }) {
			return p
		}
	}
	return nil
}

const allPlatforms = "all"

// idOf is the id of the policy that a host takes.
func (s *policies) idOf(h *Host) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.of(h); p != nil {
		return p.head().id
	}
	return hexDigits(s.kind + " " + h.Platform)
}

// addPolicies adds the configured policies, and the default ones that are not
// among them.
func (c *cloud) addPolicies() error {
	now := c.cfg.Now()
	for _, p := range c.cfg.ContentPolicies {
		if err := c.addContentPolicy(p, now, false); err != nil {
			return err
		}
	}
	for _, p := range c.cfg.SensorUpdatePolicies {
		if err := c.addSensorUpdatePolicy(p, now, false); err != nil {
			return err
		}
	}
	if !c.content.hasDefault(allPlatforms) {
		_ = c.addContentPolicy(ContentPolicy{Name: defaultPolicy}, now, false)
	}
	for _, platform := range []string{"Windows", "Mac", "Linux"} {
		if !c.sensorUpdate.hasDefault(platform) {
			_ = c.addSensorUpdatePolicy(SensorUpdatePolicy{Name: defaultPolicy, Platform: platform, Build: "18704|n|tagged|1", SensorVersion: "7.18.18704"}, now, false)
		}
	}
	return nil
}

func (s *policies) hasDefault(platform string) bool {
	return slices.ContainsFunc(s.list, func(p policy) bool { return p.head().isDefault() && p.head().platform == platform })
}

// policySorts are the fields that policies are sorted by; platform_name is in the
// specification, and answers 500.
var policySorts = []string{"name", "created_by", "created_timestamp", "enabled", "modified_by", "modified_timestamp", "precedence"}

// serveList answers with the NEXT offset, where other services repeat the one
// that was asked for. Filters on fields that the real service does not know, such
// as name, find nothing and are no error; a sort with a | is one.
func (s *policies) serveList(q *call) {
	l, ok := q.windowed(1, maxPolicies)
	if !ok {
		return
	}
	orDefault(&l.Sort, "precedence.asc") // assumed
	field, direction, _ := strings.Cut(l.Sort, ".")
	switch {
	case field == "platform_name":
		q.reject(http.StatusInternalServerError, "Internal Server Error: Please provide trace-id to support")
		return
	case !slices.Contains(policySorts, field) || direction != "asc" && direction != "desc":
		q.reject(http.StatusBadRequest, l.Sort+" is not an allowable value")
		return
	}
	query, ok := q.query(l, "", nil)
	if !ok {
		return
	}
	page, paging := l.byOffset(s.rows(query, q))
	paging[0].value = l.Offset + len(page)
	q.list(paging, objects(page))
}

// rows are the policies that a query selects. What is filtered and what is sorted
// by are not the same fields.
func (s *policies) rows(query query, q *call) (found []row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.list {
		if !q.token.sees(p.head().cid) {
			continue
		}
		known := append(p.shown().only("platform_name,enabled,created_timestamp,modified_timestamp"), member{"precedence", i + 1})
		if query.filter != nil && !query.filter.match(known, q.now) {
			continue
		}
		o := p.shown()
		value := strings.Join(o.values(query.order.field), ",")
		if query.order.field == "precedence" {
			value = fmt.Sprintf("%06d", i+1)
		}
		found = append(found, row{key{value, p.head().id}, o})
	}
	slices.SortFunc(found, func(a, b row) int { return query.order.compare(a.key, b.key) })
	return found
}

// serveGet answers 404 and no policy if one of the ids is not known, as the
// specification has it; that the others are left out is assumed, the stricter
// answer to be prepared for.
func (s *policies) serveGet(q *call) {
	ids := q.r.URL.Query()["ids"]
	if !q.countIDs(ids, maxPolicyIDs) {
		return
	}
	s.mu.Lock()
	found, missing := s.find(ids, q)
	shown := []object{}
	for _, p := range found {
		shown = append(shown, p.shown())
	}
	s.mu.Unlock()
	if len(missing) > 0 {
		q.send(http.StatusNotFound, envelope{q.meta(q.by), []string{}, missing})
		return
	}
	q.send(http.StatusOK, envelope{q.meta(q.by), shown, []apiError{}})
}

// find gives the policies of some ids, and a 404 for every other id. The caller
// holds the lock.
func (s *policies) find(ids []string, q *call) (found []policy, missing []apiError) {
	for _, id := range ids {
		if i := s.index(id); i >= 0 && q.token.sees(s.list[i].head().cid) {
			found = append(found, s.list[i])
		} else {
			missing = append(missing, apiError{Code: http.StatusNotFound, Message: "policy " + id + " not found", ID: id})
		}
	}
	return found, missing
}
