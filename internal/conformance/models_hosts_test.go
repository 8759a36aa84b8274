package conformance

import (
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/host_group"
	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

// usedHost has what the others have not.
var usedHost = falcontest.Host{
	DeviceID: "00000000000000000000000000000009", Hostname: "used", Groups: []string{firstGroup.ID}, Tags: []string{"FalconGroupingTags/t"},
	Logins: []falcontest.Login{{Time: time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC), User: "u"}}, // an hour before a bubble begins
}

var firstGroup = falcontest.HostGroup{ID: "5eed0000000000000000000000009001", Name: "g", Description: "d", Type: "static"}

var hostStateCalls = []sdkCall{
	{"GET /devices/combined/devices-hidden/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Hosts.CombinedHiddenDevicesByFilter(hosts.NewCombinedHiddenDevicesByFilterParamsWithContext(e.Context())))
	}},
	{"POST /devices/combined/devices/login-history/v2", 1, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := hosts.NewQueryDeviceLoginHistoryV2ParamsWithContext(e.Context())
		p.Body = &models.MsaIdsRequest{Ids: []string{usedHost.DeviceID, "unknown"}}
		return of(c.Hosts.QueryDeviceLoginHistoryV2(p))
	}},
	{"PATCH /devices/entities/devices/tags/v1", 2, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, accepted, err := c.Hosts.UpdateDeviceTags(tagging(e, "FalconGroupingTags/new"))
		return of(accepted, err)
	}},
	{"PATCH /devices/entities/devices/tags/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, _, err := c.Hosts.UpdateDeviceTags(tagging(e, "new"))
		return refused[*hosts.UpdateDeviceTagsBadRequest](err)
	}},
	{"GET /devices/combined/host-groups/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.HostGroup.QueryCombinedHostGroups(host_group.NewQueryCombinedHostGroupsParamsWithContext(e.Context())))
	}},
	{"GET /devices/combined/host-groups/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := host_group.NewQueryCombinedHostGroupsParamsWithContext(e.Context())
		p.Filter = new("name:")
		_, err := c.HostGroup.QueryCombinedHostGroups(p)
		return refused[*host_group.QueryCombinedHostGroupsBadRequest](err)
	}},
	{"POST /devices/entities/host-group-actions/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.HostGroup.PerformGroupAction(grouping(e, firstGroup.ID, "hostname:'ws-001'")))
	}},
	{"POST /devices/entities/host-group-actions/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.HostGroup.PerformGroupAction(grouping(e, firstGroup.ID, "hostname:"))
		return refused[*host_group.PerformGroupActionBadRequest](err)
	}},
	{"POST /devices/entities/host-group-actions/v1 404", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.HostGroup.PerformGroupAction(grouping(e, "unknown", "hostname:'ws-001'"))
		return refused[*host_group.PerformGroupActionNotFound](err)
	}},
}

func tagging(e *falconEnv, tag string) *hosts.UpdateDeviceTagsParams {
	p := hosts.NewUpdateDeviceTagsParamsWithContext(e.Context())
	p.Body = &models.DeviceapiUpdateDeviceTagsRequestV1{Action: new("add"), DeviceIds: []string{usedHost.DeviceID, "unknown"}, Tags: []string{tag}}
	return p
}

func grouping(e *falconEnv, group, filter string) *host_group.PerformGroupActionParams {
	p := host_group.NewPerformGroupActionParamsWithContext(e.Context())
	p.ActionName = "add-hosts"
	p.Body = &models.MsaEntityActionRequestV2{
		Ids: []string{group}, ActionParameters: []*models.MsaspecActionParameter{{Name: new("filter"), Value: &filter}},
	}
	return p
}
