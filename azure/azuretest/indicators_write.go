package azuretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

const (
	indicatorBatch = 500    // rows of an import, ids of a deletion
	indicatorLimit = 15_000 // active ones of a tenant
)

// readIndicator reads the parameters of an indicator, whose names are
// case-sensitive.
func readIndicator(in map[string]json.RawMessage) (DefenderIndicator, *apiError) {
	var i DefenderIndicator
	fields := map[string]any{
		"indicatorValue": &i.Value, "indicatorType": &i.Type, "action": &i.Action, "title": &i.Title, "description": &i.Description,
		"severity": &i.Severity, "application": &i.Application, "externalId": &i.ExternalID, "rbacGroupNames": &i.RBACGroups,
		"generateAlert": &i.GenerateAlert, "expirationTime": &i.Expiration,
	}
	for name, raw := range in {
		if fields[name] == nil || json.Unmarshal(raw, fields[name]) != nil {
			return i, refuse(http.StatusBadRequest, "InvalidRequestBody", "Request body is incorrect")
		}
	}
	return i, i.check()
}

// submit makes or replaces an indicator, if there is room. What the vendor says
// when there is none is assumed.
func (s *Server) submit(i DefenderIndicator) (DefenderIndicator, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, active := s.cfg.Now(), 0
	for _, old := range s.indicators {
		if old.Value == i.Value {
			active = 0
			break
		}
		if old.Expiration.IsZero() || old.Expiration.After(now) {
			active++
		}
	}
	if active >= indicatorLimit {
		return i, refuse(http.StatusBadRequest, "BadRequest", "The tenant has reached the limit of %d indicators", indicatorLimit)
	}
	i.ID, i.Created = "", time.Time{}
	return s.upsertLocked(i), nil
}

func (s *Server) submitIndicator(r *http.Request) (any, error) {
	in, err := readObject(r)
	if err != nil {
		return nil, err
	}
	i, bad := readIndicator(in)
	if bad == nil {
		i, bad = s.submit(i)
	}
	if bad != nil {
		return nil, bad
	}
	return struct {
		Context string `json:"@odata.context"`
		indicatorJSON
	}{contextURL(r, "Indicators/$entity"), s.indicatorJSON(i)}, nil
}

// imported is a row of the answer to an import.
type imported struct {
	ID            text   `json:"id"`
	Indicator     string `json:"indicator"`
	IsFailed      bool   `json:"isFailed"`
	FailureReason text   `json:"failureReason"`
}

// importIndicators answers 200 also if rows failed. That a row with a bad value
// does not fail the others is documented only by the shape of the answer.
func (s *Server) importIndicators(r *http.Request) (any, error) {
	body, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var rows []map[string]json.RawMessage
	switch raw, ok := body["Indicators"]; {
	case !ok || len(body) != 1:
		return nil, refuse(http.StatusBadRequest, "MissingRequiredParameter", "Parameter Indicators is missing")
	case json.Unmarshal(raw, &rows) != nil || len(rows) == 0:
		return nil, refuse(http.StatusBadRequest, "InvalidRequestBody", "Request body is incorrect")
	case len(rows) > indicatorBatch:
		return nil, tooMany(len(rows))
	}
	out := []imported{}
	for _, row := range rows {
		i, bad := readIndicator(row)
		if bad == nil {
			i, bad = s.submit(i)
		}
		if bad != nil {
			out = append(out, imported{Indicator: i.Value, IsFailed: true, FailureReason: text(bad.message)})
		} else {
			out = append(out, imported{ID: text(i.ID), Indicator: i.Value})
		}
	}
	return struct {
		Context string     `json:"@odata.context"`
		Value   []imported `json:"value"`
	}{contextURL(r, "Collection(microsoft.windowsDefenderATP.api.ImportIndicatorResult)"), out}, nil
}

func tooMany(n int) *apiError {
	return refuse(http.StatusBadRequest, "MaximumBatchSizeExceeded", "%d are more than %d", n, indicatorBatch)
}

func (s *Server) deleteIndicator(r *http.Request) (any, error) {
	return nil, s.remove([]string{r.PathValue("id")})
}

func (s *Server) deleteIndicators(r *http.Request) (any, error) {
	body, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var ids []string
	switch raw, ok := body["IndicatorIds"]; {
	case !ok || len(body) != 1:
		return nil, refuse(http.StatusBadRequest, "MissingRequiredParameter", "Parameter IndicatorIds is missing")
	case json.Unmarshal(raw, &ids) != nil || len(ids) == 0:
		return nil, refuse(http.StatusBadRequest, "InvalidRequestBody", "Request body is incorrect")
	case len(ids) > indicatorBatch:
		return nil, tooMany(len(ids))
	}
	return nil, s.remove(ids)
}

// remove deletes all or, if one is not known, none.
func (s *Server) remove(ids []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if !slices.ContainsFunc(s.indicators, func(i DefenderIndicator) bool { return i.ID == id }) {
			return notFound("Indicator %s was not found", id)
		}
	}
	s.indicators = slices.DeleteFunc(s.indicators, func(i DefenderIndicator) bool { return slices.Contains(ids, i.ID) })
	return nil
}
