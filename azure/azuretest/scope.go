package azuretest

import (
	"net/http"
	"strings"
)

// The scopes that resource providers extend, as patterns. Resources are those at the
// top and one level below.
var (
	subscriptionScope = []string{"/subscriptions/{subscription}"}
	groupScope        = append(subscriptionScope[:1:1], "/subscriptions/{subscription}/resourceGroups/{group}")
	resourceScope     = []string{
		groupScope[1] + "/providers/{namespace}/{type}/{resource}",
		groupScope[1] + "/providers/{namespace}/{type}/{resource}/{childType}/{child}",
	}
	anyScope = append(append(groupScope[:2:2], resourceScope...), "/providers/Microsoft.Management/managementGroups/{management}")
)

// scopeOf is the scope of a request for something of a resource provider.
func scopeOf(r *http.Request, provider string) string {
	return r.URL.Path[:max(strings.LastIndex(r.URL.Path, "/providers/"+provider+"/"), 0)]
}

// within reports whether an id is a scope or below it. Every subscription is taken to
// be in every management group (assumed).
func within(id, scope string) bool {
	id, scope = strings.ToLower(id)+"/", strings.ToLower(scope)+"/"
	return strings.HasPrefix(id, scope) || strings.HasPrefix(scope, "/providers/microsoft.management/")
}

// selectRows are the rows that are kept, in their order.
func selectRows[T any](rows []T, keep func(T) bool) []T {
	var out []T
	for _, row := range rows {
		if keep(row) {
			out = append(out, row)
		}
	}
	return out
}

// one is the row that is kept, or a refusal.
func one[T any](rows []T, keep func(T) bool, what string) (T, error) {
	if found := selectRows(rows, keep); len(found) > 0 {
		return found[0], nil
	}
	var none T
	return none, refuse(http.StatusNotFound, "ResourceNotFound", "%s was not found.", what) // the code is assumed
}

// put adds a row, in place of the one that has its id.
func put[T any](rows []T, row T, id func(T) string) []T {
	for i := range rows {
		if strings.EqualFold(id(rows[i]), id(row)) {
			rows[i] = row
			return rows
		}
	}
	return append(rows, row)
}

// noFilter refuses filters: answering without one would answer another question.
func noFilter(r *http.Request) error {
	if r.URL.Query().Has("$filter") {
		return refuse(http.StatusBadRequest, "BadRequest", "$filter is not simulated.")
	}
	return nil
}

// listRows pages over rows that are kept, as they were at this moment.
func listRows[T any](s *Server, r *http.Request, rows *[]T, keep func(T) bool, wire func(T) any) (any, error) {
	if err := noFilter(r); err != nil {
		return nil, err
	}
	s.mu.Lock()
	kept := selectRows(*rows, keep)
	s.mu.Unlock()
	return answerARMPage(s, r, kept, wire)
}

// getRow answers with the row that is kept.
func getRow[T any](s *Server, rows *[]T, keep func(T) bool, what string, wire func(T) any) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, err := one(*rows, keep, what)
	if err != nil {
		return nil, err
	}
	return wire(row), nil
}
