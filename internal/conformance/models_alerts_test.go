package conformance

import (
	"net/http"

	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/alerts"
	"github.com/crowdstrike/gofalcon/falcon/client/event_streams"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

const firstAlert = falcontest.CID + ":ind:" + firstHost + ":1"

var alertCalls = []sdkCall{
	{"GET /alerts/queries/alerts/v2", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Alerts.QueryV2(alerts.NewQueryV2ParamsWithContext(e.Context())))
	}},
	{"POST /alerts/entities/alerts/v2", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := alerts.NewGetV2ParamsWithContext(e.Context())
		p.Body = &models.DetectsapiPostEntitiesAlertsV2Request{CompositeIds: []string{firstAlert}}
		return of(c.Alerts.GetV2(p))
	}},
	{"POST /alerts/combined/alerts/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := alerts.NewPostCombinedAlertsV1ParamsWithContext(e.Context())
		p.Body = &models.DetectsapiPostCombinedAlertsV1RequestSwagger{Limit: 1}
		return of(c.Alerts.PostCombinedAlertsV1(p))
	}},
	{"PATCH /alerts/entities/alerts/v3", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Alerts.UpdateV3(change(e, "update_status", "in_progress")))
	}},
	{"PATCH /alerts/entities/alerts/v3 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Alerts.UpdateV3(change(e, "dance", ""))
		return refused[*alerts.UpdateV3BadRequest](err)
	}},
}

// alertExceptions are what the models require of an alert, and no description of
// one that is not a model has (facts/falcon.md 2.4 and 3.2).
var alertExceptions = func() (out exceptions) {
	for _, field := range []string{
		"aggregation_rule_id", "aggregation_rule_name", "cms_rule_id", "cms_rule_instance_id", "cms_rule_instance_version",
		"is_aggregated", "is_falcon_platform_ioa", "linked_behavioral_detections", "origin_cid", "resolution",
	} {
		out = append(out, exceptions{{"POST /alerts/", "resources.0." + field + " in body is required", "nobody has seen it"}}...)
	}
	return out
}()

// change is one of the first alert.
func change(e *falconEnv, name, value string) *alerts.UpdateV3Params {
	p := alerts.NewUpdateV3ParamsWithContext(e.Context())
	p.Body = &models.DetectsapiPatchEntitiesAlertsV3Request{
		CompositeIds:     []string{firstAlert},
		ActionParameters: []*models.MsaspecActionParameter{{Name: &name, Value: &value}},
	}
	return p
}

var streamCalls = []sdkCall{
	{"GET /sensors/entities/datafeed/v2", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.EventStreams.ListAvailableStreamsOAuth2(discovery(e, "models")))
	}},
	{"GET /sensors/entities/datafeed/v2 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.EventStreams.ListAvailableStreamsOAuth2(discovery(e, "no name"))
		return refused[*event_streams.ListAvailableStreamsOAuth2BadRequest](err)
	}},
	{"POST /sensors/entities/datafeed-actions/v1/{partition}", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		offer, err := c.EventStreams.ListAvailableStreamsOAuth2(discovery(e, "models"))
		if err != nil {
			return nil, err
		}
		s := offer.Payload.Resources[0]
		req, err := http.NewRequestWithContext(e.Context(), http.MethodGet, *s.DataFeedURL, http.NoBody)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Token "+*s.SessionToken.Token)
		feed, err := e.http.Do(req) // the session begins
		if err != nil {
			return nil, err
		}
		_ = feed.Body.Close()
		return of(c.EventStreams.RefreshActiveStreamSession(&event_streams.RefreshActiveStreamSessionParams{
			Context: e.Context(), AppID: "models", ActionName: "refresh_active_stream_session",
		}))
	}},
}

func discovery(e *falconEnv, appID string) *event_streams.ListAvailableStreamsOAuth2Params {
	p := event_streams.NewListAvailableStreamsOAuth2ParamsWithContext(e.Context())
	p.AppID = appID
	return p
}
