package conformance

import (
	"io"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/intel"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

// knownIntel has of each kind one with all that it can have.
var knownIntel = falcontest.Intel{
	Indicators: []falcontest.Indicator{{
		Value: "evil.test", Labels: []string{"l"}, Related: []string{"bad.test"}, Actors: []string{"BEAR"}, Reports: []string{"r"},
		MalwareFamilies: []string{"m"}, KillChains: []string{"k"}, ThreatTypes: []string{"t"}, Targets: []string{"x"}, Vulnerabilities: []string{"v"},
	}},
	Actors: []falcontest.Actor{{
		ID: 1, KnownAs: "k", Description: "d", Motivations: []string{"m"}, Origins: []string{"o"}, TargetCountries: []string{"t"},
		FirstActivity: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), LastActivity: time.Date(1999, 2, 1, 0, 0, 0, 0, time.UTC),
	}},
	Reports:   []falcontest.Report{{ID: 2, Description: "d", Actors: []string{"BEAR"}, Tags: []string{"t"}, PDF: []byte("%PDF-1.7")}},
	RuleFiles: []falcontest.RuleFile{{Type: rules}},
}

const rules = "yara-master"

var intelCalls = []sdkCall{
	{"GET /intel/combined/indicators/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Intel.QueryIntelIndicatorEntities(intel.NewQueryIntelIndicatorEntitiesParamsWithContext(e.Context())))
	}},
	{"GET /intel/combined/indicators/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := intel.NewQueryIntelIndicatorEntitiesParamsWithContext(e.Context())
		p.Filter = new("type:")
		_, err := c.Intel.QueryIntelIndicatorEntities(p)
		return refused[*intel.QueryIntelIndicatorEntitiesBadRequest](err)
	}},
	{"POST /intel/entities/indicators/GET/v1", 1, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := intel.NewGetIntelIndicatorEntitiesParamsWithContext(e.Context())
		p.Body = &models.MsaIdsRequest{Ids: []string{"domain_evil.test", "unknown"}}
		return of(c.Intel.GetIntelIndicatorEntities(p))
	}},
	{"GET /intel/combined/actors/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Intel.QueryIntelActorEntities(actors(e, "name:'ACTOR 1'")))
	}},
	{"GET /intel/combined/actors/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Intel.QueryIntelActorEntities(actors(e, "name:"))
		return refused[*intel.QueryIntelActorEntitiesBadRequest](err)
	}},
	{"GET /intel/combined/reports/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Intel.QueryIntelReportEntities(reports(e, "name:'Report 2'")))
	}},
	{"GET /intel/combined/reports/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Intel.QueryIntelReportEntities(reports(e, "name:"))
		return modelless[*intel.QueryIntelReportEntitiesBadRequest](err)
	}},
	{"GET /intel/entities/report-files/v1", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return without(c.Intel.GetIntelReportPDF(&intel.GetIntelReportPDFParams{Context: e.Context(), ID: new("2")}, io.Discard))
	}},
	{"GET /intel/entities/report-files/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Intel.GetIntelReportPDF(&intel.GetIntelReportPDFParams{Context: e.Context()}, io.Discard)
		return refused[*intel.GetIntelReportPDFBadRequest](err)
	}},
	{"GET /intel/entities/rules-latest-files/v1", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return without(c.Intel.GetLatestIntelRuleFile(ruleFile(e, rules), io.Discard))
	}},
	{"GET /intel/entities/rules-latest-files/v1 304", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := ruleFile(e, rules)
		p.IfModifiedSince = new("Sat, 01 Jan 2000 00:00:00 GMT") // when a bubble begins
		_, err := c.Intel.GetLatestIntelRuleFile(p, io.Discard)
		return modelless[*intel.GetLatestIntelRuleFileNotModified](err)
	}},
	{"GET /intel/entities/rules-latest-files/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Intel.GetLatestIntelRuleFile(ruleFile(e, ""), io.Discard)
		return refused[*intel.GetLatestIntelRuleFileBadRequest](err)
	}},
	{"GET /intel/entities/rules-latest-files/v1 404", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Intel.GetLatestIntelRuleFile(ruleFile(e, "snort-suricata-master"), io.Discard)
		return refused[*intel.GetLatestIntelRuleFileNotFound](err)
	}},
}

func actors(e *falconEnv, filter string) *intel.QueryIntelActorEntitiesParams {
	p := intel.NewQueryIntelActorEntitiesParamsWithContext(e.Context())
	p.Fields, p.Filter = []string{"__full__"}, &filter
	return p
}

func reports(e *falconEnv, filter string) *intel.QueryIntelReportEntitiesParams {
	p := intel.NewQueryIntelReportEntitiesParamsWithContext(e.Context())
	p.Fields, p.Filter = []string{"__full__"}, &filter
	return p
}

func ruleFile(e *falconEnv, kind string) *intel.GetLatestIntelRuleFileParams {
	return &intel.GetLatestIntelRuleFileParams{Context: e.Context(), Type: kind}
}
