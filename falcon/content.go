package falcon

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/content_update_policies"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// Content is Falcon's content updates: which hosts take new detection content how
// early, the brake for a bad one, and which hosts took it already. The update of
// 19 July 2024 was content, which policies of sensor versions do not hold back.
// Scopes: Content Update Policies read; write to change them; Device Content read
// for Devices.
type Content struct{ c *Client }

// ContentCategory is a kind of content that policies treat by itself.
type ContentCategory string

// The categories that there are.
const (
	SensorOperations        ContentCategory = "sensor_operations"
	SystemCritical          ContentCategory = "system_critical" // cannot be paused: delay or pin it
	VulnerabilityManagement ContentCategory = "vulnerability_management"
	RapidResponse           ContentCategory = "rapid_response_al_bl_listing"
)

// Ring is how early hosts take content.
type Ring string

// The rings that there are.
const (
	GeneralAvailability Ring = "ga" // Delay counts from here
	EarlyAccess         Ring = "ea"
	PausedRing          Ring = "pause"
)

// ContentPolicy is a content update policy. Raw has all that Falcon gave.
type ContentPolicy struct {
	PolicyInfo
	Rings []ContentRing // in Falcon's order; none if Falcon gave no settings
	Raw   json.RawMessage
}

// ContentRing is what a policy says of one category. Categories and rings that are
// not known here are kept as they are.
type ContentRing struct {
	Category ContentCategory
	Ring     Ring
	// Delay after general availability. It counts only if DelayKnown: Falcon gave
	// none, or none that makes sense, otherwise.
	Delay      time.Duration
	DelayKnown bool
	// PinnedVersion is what the category stays at, "" if it is not pinned.
	PinnedVersion string
	// Override is in force in place of Ring, "" if none is.
	Override string
	Raw      json.RawMessage
}

// Ring returns what the policy says of a category.
func (p ContentPolicy) Ring(c ContentCategory) (ContentRing, bool) {
	for _, r := range p.Rings {
		if r.Category == c {
			return r, true
		}
	}
	return ContentRing{}, false
}

func parseContentPolicy(o lenient.Object, raw json.RawMessage) (ContentPolicy, error) {
	info, err := parsePolicyInfo(o)
	p := ContentPolicy{PolicyInfo: info, Raw: raw}
	rings, _ := lenient.List(o.Object("settings")["ring_assignment_settings"])
	for _, raw := range rings {
		p.Rings = append(p.Rings, parseContentRing(raw))
	}
	return p, err
}

func parseContentRing(raw json.RawMessage) ContentRing {
	var o lenient.Object
	_ = json.Unmarshal(raw, &o)
	r := ContentRing{
		Category: ContentCategory(o.Str("id")), Ring: Ring(o.Str("ring_assignment")),
		PinnedVersion: o.Str("pinned_content_version"), Override: o.Object("override").Str("value"), Raw: raw,
	}
	r.Delay, r.DelayKnown = hours(o.Str("delay_hours"))
	return r
}

// maxHours keeps a delay from overflowing; Falcon's longest is 72.
const maxHours = 100 * 365 * 24

// hours reads a delay, which Falcon writes as a string. What is none must not look
// like no delay.
func hours(s string) (time.Duration, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxHours {
		return 0, false
	}
	return time.Duration(n) * time.Hour, true
}

var contentRows = rows[ContentPolicy]{id: "id", parse: object(parseContentPolicy)}

// Policies lists content update policies, the default one among them. Scope:
// Content Update Policies read.
func (s *Content) Policies(q PolicyQuery) *List[ContentPolicy] {
	const name = "content.policies"
	limit, bad := q.check(name)
	return byOffset(s.c, name, q.Cursor, limit, contentRows, func(ctx context.Context, offset, limit int64) (*capture, error) {
		if bad != nil {
			return nil, bad
		}
		p := content_update_policies.NewQueryCombinedContentUpdatePoliciesParamsWithContext(ctx)
		p.Offset, p.Limit = &offset, &limit
		setIf(&p.Filter, q.Filter.String())
		setIf(&p.Sort, q.Sort)
		op := &capture{}
		_, _ = content_update_policies.New(op, nil).QueryCombinedContentUpdatePolicies(p)
		return op, nil
	})
}

// Get lists the policies of the given ids, a hundred a call. An id that Falcon does
// not know is a *RowError. Scope: Content Update Policies read.
func (s *Content) Get(ids ...string) *List[ContentPolicy] {
	const name = "content.get"
	get := getter[ContentPolicy](func(ctx context.Context, chunk []string) (paging.Page[ContentPolicy], error) {
		p := content_update_policies.NewGetContentUpdatePoliciesParamsWithContext(ctx)
		p.Ids = chunk
		var op capture
		_, _ = content_update_policies.New(&op, nil).GetContentUpdatePolicies(p)
		return page(ctx, s.c, name, &op, contentRows, false, nil)
	})
	return byIDs(name, ids, policyIDs, get.apart, func(p ContentPolicy) string { return p.ID })
}

// PinVersions returns the versions of a category that policies can be pinned to,
// the newest first. Scope: Content Update Policies read.
func (s *Content) PinVersions(ctx context.Context, category ContentCategory) ([]string, error) {
	const name = "content.pin_versions"
	if category == "" {
		return nil, resilience.Misusef("falcon %s: the category is empty: pass one such as SystemCritical", name)
	}
	p := content_update_policies.NewQueryPinnableContentVersionsParamsWithContext(ctx)
	p.Category = string(category)
	var op capture
	_, _ = content_update_policies.New(&op, nil).QueryPinnableContentVersions(p)
	return whole(page(ctx, s.c, name, &op, ids, true, nil))
}
