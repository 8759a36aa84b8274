package conformance

import (
	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/content_update_policies"
	"github.com/crowdstrike/gofalcon/falcon/client/device_content"
	"github.com/crowdstrike/gofalcon/falcon/client/sensor_update_policies"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

// The policies have all that one can have.
var (
	contentPolicy = falcontest.ContentPolicy{
		ID: "5eed000000000000000000000000c0de", Name: "early", Description: "d", Groups: []string{firstGroup.ID},
		Rings: []falcontest.ContentRing{
			{Category: "system_critical", DelayHours: 24},
			{Category: "sensor_operations", Ring: "ea"},
			{Category: "vulnerability_management", Override: "pause"},
			{Category: "rapid_response_al_bl_listing", Pinned: "1.0"},
		},
	}
	sensorPolicy = falcontest.SensorUpdatePolicy{
		ID: "5eed0000000000000000000000005e45", Name: "early", Description: "d", Groups: []string{firstGroup.ID}, Build: "18704|n|tagged|1", SensorVersion: "7.18.18704",
		LTS: true, Variants: []falcontest.SensorBuild{{Build: "18704|n|tagged|7", SensorVersion: "7.18.18704", Platform: "LinuxArm64"}},
		QuietTimezone: "Etc/UTC", QuietTimes: []falcontest.SensorQuietTime{{Days: []int{0, 6}, Start: "22:00", End: "23:00"}},
	}
)

var contentCalls = []sdkCall{
	{"GET /policy/combined/content-update/v1", 2, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.ContentUpdatePolicies.QueryCombinedContentUpdatePolicies(content_update_policies.NewQueryCombinedContentUpdatePoliciesParamsWithContext(e.Context())))
	}},
	{"GET /policy/combined/content-update/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := content_update_policies.NewQueryCombinedContentUpdatePoliciesParamsWithContext(e.Context())
		p.Filter = new("name:")
		_, err := c.ContentUpdatePolicies.QueryCombinedContentUpdatePolicies(p)
		return refused[*content_update_policies.QueryCombinedContentUpdatePoliciesBadRequest](err)
	}},
	{"GET /policy/entities/content-update/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.ContentUpdatePolicies.GetContentUpdatePolicies(contentPolicies(e, contentPolicy.ID)))
	}},
	{"GET /policy/entities/content-update/v1 404", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.ContentUpdatePolicies.GetContentUpdatePolicies(contentPolicies(e, "unknown"))
		return refused[*content_update_policies.GetContentUpdatePoliciesNotFound](err)
	}},
	{"POST /policy/entities/content-update-actions/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.ContentUpdatePolicies.PerformContentUpdatePoliciesAction(contentAction(e, "disable", contentPolicy.ID)))
	}},
	{"POST /policy/entities/content-update-actions/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.ContentUpdatePolicies.PerformContentUpdatePoliciesAction(contentAction(e, "dance", contentPolicy.ID))
		return refused[*content_update_policies.PerformContentUpdatePoliciesActionBadRequest](err)
	}},
	{"POST /policy/entities/content-update-actions/v1 404", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.ContentUpdatePolicies.PerformContentUpdatePoliciesAction(contentAction(e, "disable", "unknown"))
		return refused[*content_update_policies.PerformContentUpdatePoliciesActionNotFound](err)
	}},
	{"GET /policy/queries/content-update-pin-versions/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.ContentUpdatePolicies.QueryPinnableContentVersions(versions(e, "sensor_operations")))
	}},
	{"GET /policy/queries/content-update-pin-versions/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.ContentUpdatePolicies.QueryPinnableContentVersions(versions(e, "unknown"))
		return refused[*content_update_policies.QueryPinnableContentVersionsBadRequest](err)
	}},
	{"GET /device-content/queries/states/v1", 4, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.DeviceContent.QueriesStatesV1(device_content.NewQueriesStatesV1ParamsWithContext(e.Context())))
	}},
	{"GET /device-content/entities/states/v1", 2, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := device_content.NewEntitiesStatesV1ParamsWithContext(e.Context())
		p.Ids = []string{usedHost.DeviceID, firstHost, "unknown"} // the first is hidden by now
		return of(c.DeviceContent.EntitiesStatesV1(p))
	}},
}

var sensorUpdateCalls = []sdkCall{
	{"GET /policy/combined/sensor-update/v2", 4, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.SensorUpdatePolicies.QueryCombinedSensorUpdatePoliciesV2(sensor_update_policies.NewQueryCombinedSensorUpdatePoliciesV2ParamsWithContext(e.Context())))
	}},
	{"GET /policy/combined/sensor-update/v2 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := sensor_update_policies.NewQueryCombinedSensorUpdatePoliciesV2ParamsWithContext(e.Context())
		p.Filter = new("name:")
		_, err := c.SensorUpdatePolicies.QueryCombinedSensorUpdatePoliciesV2(p)
		return refused[*sensor_update_policies.QueryCombinedSensorUpdatePoliciesV2BadRequest](err)
	}},
	{"GET /policy/entities/sensor-update/v2", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.SensorUpdatePolicies.GetSensorUpdatePoliciesV2(sensorPolicies(e, sensorPolicy.ID)))
	}},
	{"GET /policy/entities/sensor-update/v2 404", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.SensorUpdatePolicies.GetSensorUpdatePoliciesV2(sensorPolicies(e, "unknown"))
		return refused[*sensor_update_policies.GetSensorUpdatePoliciesV2NotFound](err)
	}},
	{"GET /policy/combined/sensor-update-builds/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.SensorUpdatePolicies.QueryCombinedSensorUpdateBuilds(builds(e, "linux")))
	}},
	{"GET /policy/combined/sensor-update-builds/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.SensorUpdatePolicies.QueryCombinedSensorUpdateBuilds(builds(e, "unknown"))
		return refused[*sensor_update_policies.QueryCombinedSensorUpdateBuildsBadRequest](err)
	}},
}

func contentPolicies(e *falconEnv, ids ...string) *content_update_policies.GetContentUpdatePoliciesParams {
	p := content_update_policies.NewGetContentUpdatePoliciesParamsWithContext(e.Context())
	p.Ids = ids
	return p
}

func contentAction(e *falconEnv, name, id string) *content_update_policies.PerformContentUpdatePoliciesActionParams {
	p := content_update_policies.NewPerformContentUpdatePoliciesActionParamsWithContext(e.Context())
	p.ActionName, p.Body = name, &models.MsaEntityActionRequestV2{Ids: []string{id}}
	return p
}

func versions(e *falconEnv, category string) *content_update_policies.QueryPinnableContentVersionsParams {
	p := content_update_policies.NewQueryPinnableContentVersionsParamsWithContext(e.Context())
	p.Category = category
	return p
}

func sensorPolicies(e *falconEnv, ids ...string) *sensor_update_policies.GetSensorUpdatePoliciesV2Params {
	p := sensor_update_policies.NewGetSensorUpdatePoliciesV2ParamsWithContext(e.Context())
	p.Ids = ids
	return p
}

func builds(e *falconEnv, platform string) *sensor_update_policies.QueryCombinedSensorUpdateBuildsParams {
	p := sensor_update_policies.NewQueryCombinedSensorUpdateBuildsParamsWithContext(e.Context())
	p.Platform = &platform
	return p
}
