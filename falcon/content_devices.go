package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/device_content"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
)

// DeviceContent is the content that a host has. Fields that Falcon left out, or
// filled with something unexpected, are zero; Raw has everything.
type DeviceContent struct {
	ID            string // device id, as Host.ID
	CID           string
	Hostname      string
	Platform      string
	Groups        []string
	LastSeen      time.Time
	PolicyID      string // of the content update policy that the host takes
	PolicyApplied time.Time
	// Categories are those that Falcon tells of. It tells no versions, but when the
	// host last took one.
	Categories map[ContentCategory]DeviceCategory
	Raw        json.RawMessage
}

// DeviceCategory is what a host has of one category of content.
type DeviceCategory struct {
	LastUpdate    time.Time
	PolicySetting string // the ring of its policy, in Falcon's words
	Override      string
}

// deviceCategories are the categories by the names they have here, which are not
// all those of policies.
var deviceCategories = map[string]ContentCategory{
	"sensor_operations": SensorOperations, "system_critical": SystemCritical,
	"vulnerability_management": VulnerabilityManagement, "rapid_response_content": RapidResponse,
}

func parseDeviceContent(o lenient.Object, raw json.RawMessage) (DeviceContent, error) {
	d := DeviceContent{
		ID: o.Str("device_id"), CID: o.Str("cid"), Hostname: o.Str("hostname"), Platform: o.Str("platform_name"), Groups: o.Strs("groups"),
		LastSeen: o.Time("last_seen"), PolicyID: o.Str("content_update_policy_id"),
		PolicyApplied: o.Time("content_update_policy_applied_date"), Categories: map[ContentCategory]DeviceCategory{}, Raw: raw,
	}
	for name, category := range deviceCategories {
		if c := o.Object(name); c != nil {
			d.Categories[category] = DeviceCategory{LastUpdate: c.Time("last_update"), PolicySetting: c.Str("policy_setting"), Override: c.Str("override")}
		}
	}
	if d.ID == "" {
		return d, errors.New("no device_id")
	}
	return d, nil
}

var deviceContentRows = rows[DeviceContent]{id: "device_id", parse: object(parseDeviceContent)}

// DeviceContentQuery selects hosts by the content they have. The zero query is all
// of them.
type DeviceContentQuery struct {
	Filter FQL    // by the fields of DeviceContent.Raw; which ones Falcon knows is not documented
	Sort   string // default last_seen.desc, which is Falcon's
	Limit  int    // rows a page, at most 100, which is the default
	Cursor string // of an earlier List of the same query
}

// deviceStates is how many hosts one call reads.
const deviceStates = 100

// Devices lists the content that hosts have: two calls for a hundred. A host that is
// gone in between is a *RowError. Scope: Device Content read.
func (s *Content) Devices(q DeviceContentQuery) *List[DeviceContent] {
	const name = "content.devices"
	perPage, bad := pageSize(name, "DeviceContentQuery.Limit", q.Limit, deviceStates, deviceStates)
	limit := int64(perPage)
	list := paging.New("falcon "+name, q.Cursor, func(ctx context.Context, token string) (paging.Page[string], error) {
		if err := errors.Join(bad, q.Filter.Err()); err != nil {
			return paging.Page[string]{}, err
		}
		offset, _ := strconv.ParseInt(token, 10, 64) // "" is the beginning
		p := device_content.NewQueriesStatesV1ParamsWithContext(ctx)
		p.Offset, p.Limit = &offset, &limit
		setIf(&p.Filter, q.Filter.String())
		setIf(&p.Sort, q.Sort)
		var op capture
		_, _ = device_content.New(&op, nil).QueriesStatesV1(p)
		return page(ctx, s.c, name, &op, ids, token == "", func(more pagination, came int) string {
			return nextOffset(more, offset, came)
		})
	})
	return detailed(list, s.states(name).apart, func(d DeviceContent) string { return d.ID })
}

// nextOffset goes on with the offset that Falcon gives, where it is further than the
// one that was asked for; the specification calls it a token. Otherwise the rows are
// counted, for as long as the total says that there are more.
func nextOffset(more pagination, asked int64, came int) string {
	next, err := strconv.ParseInt(string(more.Offset), 10, 64)
	given := err == nil && next > asked
	if !given {
		next = asked + int64(came)
	}
	if came == 0 || more.Total > 0 && next >= more.Total || more.Total == 0 && !given {
		return ""
	}
	return strconv.FormatInt(next, 10)
}

// DevicesByID lists the content that the given hosts have, a hundred a call, as
// Hosts.Query finds them in a fleet of any size. A host that Falcon does not know is
// a *RowError. Scope: Device Content read.
func (s *Content) DevicesByID(ids ...string) *List[DeviceContent] {
	const name = "content.devices_by_id"
	return byIDs(name, ids, deviceStates, s.states(name).apart, func(d DeviceContent) string { return d.ID })
}

func (s *Content) states(name string) getter[DeviceContent] {
	return func(ctx context.Context, chunk []string) (paging.Page[DeviceContent], error) {
		p := device_content.NewEntitiesStatesV1ParamsWithContext(ctx)
		p.Ids = chunk
		var op capture
		_, _ = device_content.New(&op, nil).EntitiesStatesV1(p)
		return page(ctx, s.c, name, &op, deviceContentRows, false, nil)
	}
}
