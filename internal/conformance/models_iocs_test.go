package conformance

import (
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/ioc"
	"github.com/crowdstrike/gofalcon/falcon/models"
	"github.com/go-openapi/strfmt"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

// firstIOC has all that an indicator can have.
var firstIOC = falcontest.IOC{
	ID: "10c0000000000000000000000000000000000000000000000000000000000001", Type: "domain", Value: "evil.test",
	Action: "detect", Severity: "high", Platforms: []string{"windows", "linux"}, HostGroups: []string{firstGroup.ID},
	Description: "of a feed", Source: "feed", Filename: "a.exe", Tags: []string{"t"}, Expiration: time.Date(2033, 1, 1, 0, 0, 0, 0, time.UTC),
}

var iocCalls = []sdkCall{
	{"GET /iocs/combined/indicator/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Ioc.IndicatorCombinedV1(ioc.NewIndicatorCombinedV1ParamsWithContext(e.Context())))
	}},
	{"GET /iocs/combined/indicator/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := ioc.NewIndicatorCombinedV1ParamsWithContext(e.Context())
		p.Filter = new("severity:")
		_, err := c.Ioc.IndicatorCombinedV1(p)
		return refused[*ioc.IndicatorCombinedV1BadRequest](err)
	}},
	{"GET /iocs/queries/indicators/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Ioc.IndicatorSearchV1(ioc.NewIndicatorSearchV1ParamsWithContext(e.Context())))
	}},
	{"GET /iocs/queries/indicators/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := ioc.NewIndicatorSearchV1ParamsWithContext(e.Context())
		p.Offset, p.After = new(int64(0)), new("x")
		_, err := c.Ioc.IndicatorSearchV1(p)
		return refused[*ioc.IndicatorSearchV1BadRequest](err)
	}},
	{"GET /iocs/entities/indicators/v1", 1, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := ioc.NewIndicatorGetV1ParamsWithContext(e.Context())
		p.Ids = []string{firstIOC.ID, "unknown"}
		return of(c.Ioc.IndicatorGetV1(p))
	}},
	{"POST /iocs/entities/indicators/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Ioc.IndicatorCreateV1(newIOC(e, "192.0.2.1")))
	}},
	{"POST /iocs/entities/indicators/v1 400", 1, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Ioc.IndicatorCreateV1(newIOC(e, "192.0.2.1"))
		return refused[*ioc.IndicatorCreateV1BadRequest](err)
	}},
	{"PATCH /iocs/entities/indicators/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := ioc.NewIndicatorUpdateV1ParamsWithContext(e.Context())
		p.Body = &models.APIIndicatorUpdateReqsV1{Indicators: []*models.APIIndicatorUpdateReqV1{{
			ID: firstIOC.ID, HostGroups: firstIOC.HostGroups, Platforms: firstIOC.Platforms, Tags: []string{"changed"},
		}}}
		return of(c.Ioc.IndicatorUpdateV1(p))
	}},
	{"DELETE /iocs/entities/indicators/v1", 1, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := ioc.NewIndicatorDeleteV1ParamsWithContext(e.Context())
		p.Ids = []string{firstIOC.ID, "unknown"}
		return of(c.Ioc.IndicatorDeleteV1(p))
	}},
}

func newIOC(e *falconEnv, address string) *ioc.IndicatorCreateV1Params {
	p := ioc.NewIndicatorCreateV1ParamsWithContext(e.Context())
	p.Body = &models.APIIndicatorCreateReqsV1{Comment: "of a feed", Indicators: []*models.APIIndicatorCreateReqV1{{
		Type: "ipv4", Value: address, Action: "detect", Severity: "low", Platforms: []string{"linux"}, AppliedGlobally: new(true),
		HostGroups: []string{}, Tags: []string{}, Expiration: new(strfmt.DateTime(time.Now().Add(time.Hour))),
	}}}
	return p
}
