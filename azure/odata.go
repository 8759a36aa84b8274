package azure

import (
	"strings"
	"time"
)

// Since selects rows whose time is t or later.
func Since(field string, t time.Time) OData { return OData(field + " ge " + odataTime(t)) }

// Before selects rows whose time is before t.
func Before(field string, t time.Time) OData { return OData(field + " lt " + odataTime(t)) }

func odataTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Or selects rows that match any of the filters; empty ones do not count.
func Or(filters ...OData) OData {
	var parts []string
	for _, f := range filters {
		if f != "" {
			parts = append(parts, string(f))
		}
	}
	if len(parts) < 2 {
		return OData(strings.Join(parts, ""))
	}
	return OData("(" + strings.Join(parts, " or ") + ")") // And binds tighter
}
