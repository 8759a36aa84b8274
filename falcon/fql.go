package falcon

import "strings"

// FQL is a filter in Falcon's query language. Build it with Equals and And: a
// value with a quote in it cannot break out of the filter.
type FQL string

// Equals selects rows whose field has exactly this value.
func Equals(field, value string) FQL { return FQL(field + ":" + quote(value)) }

// In selects rows whose field has exactly one of the values.
func In(field string, values ...string) FQL {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return FQL(field + ":[" + strings.Join(quoted, ",") + "]")
}

func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// And selects rows that match all filters; empty ones do not count.
func And(filters ...FQL) FQL {
	var parts []string
	for _, f := range filters {
		if f != "" {
			parts = append(parts, string(f))
		}
	}
	return FQL(strings.Join(parts, "+"))
}
