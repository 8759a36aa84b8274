package azuretest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// HuntTable is what an advanced hunting query finds.
type HuntTable struct {
	Columns []HuntColumn
	Rows    []map[string]any // by column
	// Upper spells the answer Schema, Results, Name, Type, as older samples of the
	// vendor do.
	Upper bool
	// Status, if not 0, refuses the query with it and Message, such as 429 and which
	// quota is used up, or 400 and what is wrong with the query.
	Status  int
	Message string
}

// HuntColumn is a column of a [HuntTable].
type HuntColumn struct{ Name, Type string }

// maxHuntRows is how many rows a query gives, however many there are. Nothing in
// the answer tells (assumed: none is documented).
const maxHuntRows = 100_000

// runHuntingQuery asks Config.Hunt; without it every query finds nothing.
func (s *Server) runHuntingQuery(r *http.Request) (any, error) {
	body, err := readBody(r, maxActionBody)
	if err != nil {
		return nil, err
	}
	var in struct{ Query, Timespan string }
	if json.Unmarshal(body, &in) != nil || strings.TrimSpace(in.Query) == "" {
		return nil, refuse(http.StatusBadRequest, "BadRequest", "The request has no Query")
	}
	var t HuntTable
	if s.cfg.Hunt != nil {
		t = s.cfg.Hunt(in.Query)
	}
	if t.Status != 0 {
		return nil, refuse(t.Status, strings.ReplaceAll(http.StatusText(t.Status), " ", ""), "%s", t.Message)
	}
	type lower struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	columns := make([]any, 0, len(t.Columns))
	for _, c := range t.Columns {
		if t.Upper {
			columns = append(columns, c)
		} else {
			columns = append(columns, lower(c))
		}
	}
	rows := append([]map[string]any{}, t.Rows[:min(len(t.Rows), maxHuntRows)]...)
	if t.Upper {
		return map[string]any{"Schema": columns, "Results": rows}, nil
	}
	return map[string]any{
		"@odata.context": graphContext(r, "microsoft.graph.security.huntingQueryResults"), "schema": columns, "results": rows,
	}, nil
}
