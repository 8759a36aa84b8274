package conformance

import (
	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/cases"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

// firstCase has all that a case can have.
var firstCase = falcontest.Case{
	ID: "ca5e0000000000000000000000000001", Name: "n", Description: "d", Severity: 60, AssignedTo: "5eed0000-0000-0000-0000-000000000001",
	Tags: []string{"t"}, Alerts: []string{firstAlert}, Events: []string{"e"}, Fields: map[string][]string{"f": {"v"}}, TemplateID: "template",
}

var caseCalls = []sdkCall{
	{"GET /cases/queries/cases/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Cases.QueriesCasesGetV1(cases.NewQueriesCasesGetV1ParamsWithContext(e.Context())))
	}},
	{"GET /cases/queries/cases/v1 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := cases.NewQueriesCasesGetV1ParamsWithContext(e.Context())
		p.Filter = new("status:")
		_, err := c.Cases.QueriesCasesGetV1(p)
		return refused[*cases.QueriesCasesGetV1BadRequest](err)
	}},
	{"POST /cases/entities/cases/v2", 1, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Cases.EntitiesCasesPostV2(casesByID(e, firstCase.ID, "unknown")))
	}},
	{"POST /cases/entities/cases/v2 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Cases.EntitiesCasesPostV2(casesByID(e))
		return refused[*cases.EntitiesCasesPostV2BadRequest](err)
	}},
	{"PUT /cases/entities/cases/v2", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Cases.EntitiesCasesPutV2(newCase(e, 20)))
	}},
	{"PUT /cases/entities/cases/v2 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Cases.EntitiesCasesPutV2(newCase(e, 2000))
		return refused[*cases.EntitiesCasesPutV2BadRequest](err)
	}},
	{"PATCH /cases/entities/cases/v2", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Cases.EntitiesCasesPatchV2(caseStatus(e, "in_progress")))
	}},
	{"PATCH /cases/entities/cases/v2 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Cases.EntitiesCasesPatchV2(caseStatus(e, "dancing"))
		return refused[*cases.EntitiesCasesPatchV2BadRequest](err)
	}},
	{"POST /cases/entities/alert-evidence/v1", 1, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := cases.NewEntitiesAlertEvidencePostV1ParamsWithContext(e.Context())
		p.Body = &models.OperationsAddAlertsToCaseRequest{ID: &firstCase.ID, Alerts: []*models.SdkAlertEvidenceSelector{{ID: new(firstAlert)}, {ID: new("unknown")}}}
		return of(c.Cases.EntitiesAlertEvidencePostV1(p))
	}},
	{"POST /cases/entities/event-evidence/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := cases.NewEntitiesEventEvidencePostV1ParamsWithContext(e.Context())
		p.Body = &models.OperationsAddEventsToCaseRequest{ID: &firstCase.ID, Events: []*models.SdkEventEvidenceSelector{{ID: new("e2")}}}
		return of(c.Cases.EntitiesEventEvidencePostV1(p))
	}},
	{"POST /cases/entities/case-tags/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := cases.NewEntitiesCaseTagsPostV1ParamsWithContext(e.Context())
		p.Body = &models.OperationsAddTagsToCaseRequest{ID: &firstCase.ID, Tags: []string{"t2"}}
		return of(c.Cases.EntitiesCaseTagsPostV1(p))
	}},
	{"DELETE /cases/entities/case-tags/v1", 1, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		p := cases.NewEntitiesCaseTagsDeleteV1ParamsWithContext(e.Context())
		p.ID, p.Tag = firstCase.ID, []string{"t2"}
		return of(c.Cases.EntitiesCaseTagsDeleteV1(p))
	}},
}

// caseExceptions are what an open case cannot have, or not always, and the models
// require of each.
var caseExceptions = exceptions{
	{"PUT /cases/", "resources.0.assigned_to in body is required", "assumed: null of a case that nobody is assigned to"},
	{"", "resources.0.end_timestamp in body is required", "assumed: null of a case that has not ended"},
	{"", "_actor.workflow in body is required", "assumed: null of an actor who is a user"},
}

func casesByID(e *falconEnv, ids ...string) *cases.EntitiesCasesPostV2Params {
	p := cases.NewEntitiesCasesPostV2ParamsWithContext(e.Context())
	p.Body = &models.OperationsGetCasesByIDsRequest{Ids: ids}
	return p
}

func newCase(e *falconEnv, severity int64) *cases.EntitiesCasesPutV2Params {
	p := cases.NewEntitiesCasesPutV2ParamsWithContext(e.Context())
	p.Body = &models.OperationsCreateCaseRequest{Name: new("n"), Severity: &severity}
	return p
}

func caseStatus(e *falconEnv, status string) *cases.EntitiesCasesPatchV2Params {
	p := cases.NewEntitiesCasesPatchV2ParamsWithContext(e.Context())
	p.Body = &models.OperationsUpdateCaseRequest{ID: &firstCase.ID, Fields: &models.OperationsCaseFieldChanges{Status: &status}}
	return p
}
