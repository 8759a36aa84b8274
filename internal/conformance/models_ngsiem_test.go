package conformance

import (
	"encoding/json"

	"github.com/crowdstrike/gofalcon/falcon/client"
	"github.com/crowdstrike/gofalcon/falcon/client/ngsiem"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

// someEvents is what every search finds.
func someEvents(falcontest.Search) falcontest.SearchResult {
	return falcontest.SearchResult{
		Events:   []json.RawMessage{json.RawMessage(`{"#event_simpleName":"ProcessRollup2","@timestamp":946684800000}`)},
		Warnings: []falcontest.SearchWarning{{Category: "c", Classification: "w", Code: "k", Message: "m"}},
	}
}

var searchCalls = []sdkCall{
	{"POST /humio/api/v1/repositories/{repository}/queryjobs", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Ngsiem.StartSearchV1(search(e, "*")))
	}},
	{"POST /humio/api/v1/repositories/{repository}/queryjobs 400", 0, 1, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Ngsiem.StartSearchV1(search(e, ""))
		return refused[*ngsiem.StartSearchV1BadRequest](err)
	}},
	{"GET /humio/api/v1/repositories/{repository}/queryjobs/{id}", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return of(c.Ngsiem.GetSearchStatusV1(&ngsiem.GetSearchStatusV1Params{Context: e.Context(), Repository: "search-all", ID: e.srv.Searches()[0].ID}))
	}},
	{"GET /humio/api/v1/repositories/{repository}/queryjobs/{id} 404", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		_, err := c.Ngsiem.GetSearchStatusV1(&ngsiem.GetSearchStatusV1Params{Context: e.Context(), Repository: "search-all", ID: "unknown"})
		return modelless[*ngsiem.GetSearchStatusV1NotFound](err)
	}},
	{"DELETE /humio/api/v1/repositories/{repository}/queryjobs/{id}", 0, 0, func(e *falconEnv, c *client.CrowdStrikeAPISpecification) (payload, error) {
		return without(c.Ngsiem.StopSearchV1(&ngsiem.StopSearchV1Params{Context: e.Context(), Repository: "search-all", ID: e.srv.Searches()[0].ID}))
	}},
}

func search(e *falconEnv, query string) *ngsiem.StartSearchV1Params {
	p := ngsiem.NewStartSearchV1ParamsWithContext(e.Context())
	p.Repository, p.Body = "search-all", &models.APIQueryJobInput{QueryString: &query, Start: "1d"}
	return p
}
