package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/host_group"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// HostGroups is Falcon's host groups, to which policies are assigned. The hosts of
// one are Hosts.Query with the filter Equals("groups", id). Scopes: Host groups
// read; Host groups write to change them.
type HostGroups struct{ c *Client }

// HostGroup is a group of hosts.
type HostGroup struct {
	ID          string
	Name        string
	Description string
	Type        GroupType
	Rule        string // by which Falcon picks the hosts
	CreatedBy   string
	Created     time.Time
	ModifiedBy  string
	Modified    time.Time
	Raw         json.RawMessage
}

// GroupType is how a group comes by its hosts.
type GroupType string

// The types of groups. The hosts of a dynamic one are picked by its rule alone.
const (
	StaticGroup     GroupType = "static" // by host names
	StaticByIDGroup GroupType = "staticByID"
	DynamicGroup    GroupType = "dynamic"
)

var groupRows = rows[HostGroup]{id: "id", parse: object(func(o lenient.Object, raw json.RawMessage) (HostGroup, error) {
	g := HostGroup{
		ID: o.Str("id"), Name: o.Str("name"), Description: o.Str("description"), Type: GroupType(o.Str("group_type")),
		Rule: o.Str("assignment_rule"), CreatedBy: o.Str("created_by"), Created: o.Time("created_timestamp"),
		ModifiedBy: o.Str("modified_by"), Modified: o.Time("modified_timestamp"), Raw: raw,
	}
	if g.ID == "" {
		return HostGroup{}, errors.New("no id")
	}
	return g, nil
})}

// HostGroupQuery selects groups. The zero query is all of them.
type HostGroupQuery struct {
	Filter FQL
	Sort   string // such as "name.asc"
	Limit  int    // rows a page, at most 5,000; default 500
	Cursor string // of an earlier List of the same query
}

// Query lists groups. Beyond 10,000 the list ends with ErrWindow.
func (g *HostGroups) Query(q HostGroupQuery) *List[HostGroup] {
	const name = "host_groups.query"
	limit, bad := pageSize(name, "HostGroupQuery.Limit", q.Limit, 500, 5000)
	return byOffset(g.c, name, q.Cursor, limit, groupRows, func(ctx context.Context, offset, limit int64) (*capture, error) {
		p := host_group.NewQueryCombinedHostGroupsParamsWithContext(ctx)
		p.Offset, p.Limit = &offset, &limit
		setIf(&p.Filter, q.Filter.String())
		setIf(&p.Sort, q.Sort)
		op := &capture{}
		_, _ = host_group.New(op, nil).QueryCombinedHostGroups(p)
		return op, errors.Join(bad, q.Filter.Err())
	})
}

// AddHosts puts hosts into a group, 500 a call, and may be repeated. Falcon does not
// say which hosts it took: an id that it does not know is not refused, and a host is
// shown in the group after a while. A call that fails is the end, and the error says
// after how many ids. Scope: Host groups write.
func (g *HostGroups) AddHosts(ctx context.Context, group string, ids ...string) error {
	return g.change(ctx, "host_groups.add_hosts", "add-hosts", group, ids)
}

// RemoveHosts takes hosts out of a group; otherwise as AddHosts.
func (g *HostGroups) RemoveHosts(ctx context.Context, group string, ids ...string) error {
	return g.change(ctx, "host_groups.remove_hosts", "remove-hosts", group, ids)
}

func (g *HostGroups) change(ctx context.Context, name, action, group string, ids []string) error {
	if strings.TrimSpace(group) == "" {
		return resilience.Misusef("falcon %s: the group's id is empty: pass a HostGroup.ID", name)
	}
	call := resilience.Call{Name: name, Kind: resilience.Idempotent}
	_, err := changeAll(ctx, g.c, call, ids, 500, func(chunk []string) *capture {
		filter, value := "filter", "("+In("device_id", chunk...).String()+")"
		p := host_group.NewPerformGroupActionParamsWithContext(ctx)
		p.ActionName = action
		p.Body = &models.MsaEntityActionRequestV2{
			Ids: []string{group}, ActionParameters: []*models.MsaspecActionParameter{{Name: &filter, Value: &value}},
		}
		op := &capture{}
		_, _ = host_group.New(op, nil).PerformGroupAction(p)
		return op
	}, func(a *answer) (changed, error) { return a.writes(name) })
	return err
}
