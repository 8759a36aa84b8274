package falcontest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// ContentPolicy is a content update policy: who takes which content how early.
// Only Name is required.
type ContentPolicy struct {
	ID          string // 32 hex digits; default: derived from Name
	CID         string // default: the server's
	Name        string // platform_default is the policy of the hosts that no other one takes
	Description string
	Disabled    bool
	Groups      []string // ids of host groups
	// Rings are what applies to the categories; default: all four, ga, at once.
	Rings      []ContentRing
	CreatedBy  string
	ModifiedBy string
	Created    time.Time // default: when it was added
	Modified   time.Time // default: Created
}

// ContentRing is what a policy says of one category of content.
type ContentRing struct {
	Category   string // sensor_operations, system_critical, vulnerability_management or rapid_response_al_bl_listing
	Ring       string // ga (the default), ea or pause
	DelayHours int    // 0, 1, 2, 4, 8, 12, 24, 48 or 72; with ga
	Pinned     string // a version that the category stays at; empty if none
	Override   string // pause or allow, in place of Ring; empty if none. The words are assumed.
}

var (
	contentCategories = []string{"sensor_operations", "system_critical", "vulnerability_management", "rapid_response_al_bl_listing"}
	contentRings      = []string{"ga", "ea", "pause"}
	contentDelays     = []int{0, 1, 2, 4, 8, 12, 24, 48, 72}
)

// check fills in the default of a ring and tells what the real service refuses.
func (r *ContentRing) check() error {
	orDefault(&r.Ring, "ga")
	switch {
	case !slices.Contains(contentCategories, r.Category):
		return fmt.Errorf("falcontest: unknown ContentRing.Category %q", r.Category)
	case !slices.Contains(contentRings, r.Ring) || r.Ring == "pause" && r.Category == systemCritical:
		return fmt.Errorf("falcontest: ContentRing.Ring %q of %s", r.Ring, r.Category)
	case !slices.Contains(contentDelays, r.DelayHours) || r.DelayHours > 0 && r.Ring != "ga":
		return fmt.Errorf("falcontest: ContentRing.DelayHours %d of %s %s", r.DelayHours, r.Category, r.Ring)
	case !slices.Contains([]string{"", overridePause, overrideAllow}, r.Override):
		return fmt.Errorf("falcontest: ContentRing.Override %q", r.Override)
	}
	return nil
}

const (
	systemCritical = "system_critical" // the one category that cannot be paused
	overridePause  = "pause"
	overrideAllow  = "allow"
)

// held reports whether new content of the category does not come to the hosts.
func (r *ContentRing) held() bool {
	return r.Pinned != "" || r.Override == overridePause || r.Ring == "pause" && r.Override != overrideAllow
}

// contentRing is a ring, and when it was last held and let go.
type contentRing struct {
	ContentRing
	heldAt, freedAt time.Time
}

type contentPolicy struct {
	policyHead
	rings []contentRing
}

// shown has delays as strings, as the real one.
func (p *contentPolicy) shown() object {
	rings := []object{}
	for _, r := range p.rings {
		rings = append(rings, object{
			{"id", r.Category},
			{"ring_assignment", r.Ring},
			{"delay_hours", strconv.Itoa(r.DelayHours)},
			{"pinned_content_version", r.Pinned},
			{"override", object{{"value", r.Override}}},
		})
	}
	return p.object(object{{"ring_assignment_settings", rings}})
}

func (c *cloud) addContentPolicy(p ContentPolicy, now time.Time, replace bool) error {
	in := &contentPolicy{policyHead: policyHead{
		id: p.ID, cid: p.CID, name: p.Name, description: p.Description, platform: allPlatforms, disabled: p.Disabled, groups: p.Groups,
		createdBy: p.CreatedBy, modifiedBy: p.ModifiedBy, created: p.Created, modified: p.Modified,
	}}
	if p.Rings == nil {
		for _, category := range contentCategories {
			p.Rings = append(p.Rings, ContentRing{Category: category})
		}
	}
	for _, r := range p.Rings {
		if err := r.check(); err != nil {
			return err
		}
		in.rings = append(in.rings, contentRing{ContentRing: r, heldAt: now, freedAt: now})
	}
	return c.content.add(in, c.cfg.CID, now, replace)
}

// ContentPolicies returns the current state of every content update policy, in the
// order in which hosts are tried on them.
func (s *Server) ContentPolicies() (out []ContentPolicy) {
	s.cloud.content.mu.Lock()
	defer s.cloud.content.mu.Unlock()
	for _, p := range s.cloud.content.list {
		p := p.(*contentPolicy)
		o := ContentPolicy{
			ID: p.id, CID: p.cid, Name: p.name, Description: p.description, Disabled: p.disabled, Groups: slices.Clone(p.groups),
			CreatedBy: p.createdBy, ModifiedBy: p.modifiedBy, Created: p.created, Modified: p.modified,
		}
		for _, r := range p.rings {
			o.Rings = append(o.Rings, r.ContentRing)
		}
		out = append(out, o)
	}
	return out
}

// AddContentPolicy adds a policy before the default one, or replaces the one with
// the same ID. It refuses what the real service refuses.
func (s *Server) AddContentPolicy(p ContentPolicy) error {
	return s.cloud.addContentPolicy(p, s.cloud.cfg.Now(), true)
}

func (c *cloud) listContentPolicies(q *call) { c.content.serveList(q) }
func (c *cloud) getContentPolicies(q *call)  { c.content.serveGet(q) }

// policyAction is the body of an action.
type policyAction struct {
	IDs        []string          `json:"ids"`
	Parameters []policyParameter `json:"action_parameters"`
}

type policyParameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// contentActions change a policy, or say why they do not. The parameters of pins
// and groups are those that Terraform's provider and PSFalcon send. That sending
// an action again is no error is assumed, as are the parameters of overrides: none
// means every category, else their names are the categories.
var contentActions = map[string]func(*cloud, *contentPolicy, []policyParameter) string{
	"enable": func(_ *cloud, p *contentPolicy, _ []policyParameter) string {
		p.disabled = false
		return ""
	},
	"disable": func(_ *cloud, p *contentPolicy, _ []policyParameter) string {
		if p.isDefault() {
			return "the default policy cannot be disabled" // assumed
		}
		p.disabled = true
		return ""
	},
	"add-host-group": func(_ *cloud, p *contentPolicy, params []policyParameter) string {
		return p.group(params, func(id string) {
			if !slices.Contains(p.groups, id) {
				p.groups = append(p.groups, id)
			}
		})
	},
	"remove-host-group": func(_ *cloud, p *contentPolicy, params []policyParameter) string {
		return p.group(params, func(id string) {
			p.groups = slices.DeleteFunc(p.groups, func(g string) bool { return g == id })
		})
	},
	"override-pause":  override(overridePause),
	"override-allow":  override(overrideAllow),
	"override-revert": override(""),
	"set-pinned-content-version": func(c *cloud, p *contentPolicy, params []policyParameter) string {
		return p.each(params, func(r *contentRing, version string) string {
			if !c.releases.has(r.Category, version) {
				return fmt.Sprintf("%q is not a version of %s", version, r.Category)
			}
			r.Pinned = version
			return ""
		})
	},
	"remove-pinned-content-version": func(_ *cloud, p *contentPolicy, params []policyParameter) string {
		return p.each(params, func(r *contentRing, _ string) string {
			r.Pinned = ""
			return ""
		})
	},
}

func override(value string) func(*cloud, *contentPolicy, []policyParameter) string {
	return func(_ *cloud, p *contentPolicy, params []policyParameter) string {
		if len(params) == 0 { // system_critical, which cannot be paused, is left as it is: assumed
			for i := range p.rings {
				if p.rings[i].Category != systemCritical || value != overridePause {
					p.rings[i].Override = value
				}
			}
			return ""
		}
		return p.each(params, func(r *contentRing, _ string) string {
			if r.Category == systemCritical && value == overridePause {
				return "system_critical cannot be paused"
			}
			r.Override = value
			return ""
		})
	}
}

// each changes the categories that the parameters are named after.
func (p *contentPolicy) each(params []policyParameter, change func(*contentRing, string) string) string {
	if len(params) == 0 {
		return "action_parameters is required"
	}
	for _, param := range params {
		i := slices.IndexFunc(p.rings, func(r contentRing) bool { return r.Category == param.Name })
		if i < 0 {
			return fmt.Sprintf("invalid action parameter %q", param.Name)
		}
		if refusal := change(&p.rings[i], param.Value); refusal != "" {
			return refusal
		}
	}
	return ""
}

func (h *policyHead) group(params []policyParameter, change func(id string)) string {
	if len(params) != 1 || params[0].Name != "group_id" || params[0].Value == "" {
		return "Group action parameters must be provided" // the real words
	}
	if h.isDefault() {
		return "the default policy has no host groups" // assumed
	}
	change(params[0].Value)
	return ""
}

// performContentAction changes all the policies or none. The answer has them as
// they are then.
func (c *cloud) performContentAction(q *call) {
	act, ok := contentActions[q.r.URL.Query().Get("action_name")]
	var b policyAction
	if !ok || json.NewDecoder(q.r.Body).Decode(&b) != nil {
		q.reject(http.StatusBadRequest, "Bad request")
		return
	}
	if !q.countIDs(b.IDs, maxPolicyIDs) {
		return
	}
	s := &c.content
	s.mu.Lock()
	defer s.mu.Unlock()
	found, missing := s.find(b.IDs, q)
	if len(missing) > 0 {
		q.send(http.StatusNotFound, envelope{q.meta(q.by), []string{}, missing})
		return
	}
	changed := map[int]*contentPolicy{}
	shown := []object{}
	for _, p := range found {
		next := *p.(*contentPolicy)
		next.groups, next.rings = slices.Clone(next.groups), slices.Clone(next.rings)
		if refusal := act(c, &next, b.Parameters); refusal != "" {
			q.reject(http.StatusBadRequest, refusal)
			return
		}
		next.modified = q.now
		for i, r := range p.(*contentPolicy).rings {
			switch was, is := r.held(), next.rings[i].held(); {
			case is && !was:
				next.rings[i].heldAt, next.rings[i].freedAt = q.now, time.Time{}
			case was && !is:
				next.rings[i].freedAt = q.now
			}
		}
		changed[s.index(next.id)] = &next
		shown = append(shown, next.shown())
	}
	for i, p := range changed {
		s.list[i] = p
	}
	m := q.meta(q.by)
	m.Writes = &writes{ResourcesAffected: len(changed)}
	q.send(http.StatusOK, envelope{m, shown, []apiError{}})
}
