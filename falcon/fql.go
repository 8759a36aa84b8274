package falcon

import "strings"

// FQL is a filter in Falcon's query language. Build it with Equals and And: a
// value with a quote in it cannot break out of the filter.
type FQL string

// Equals selects rows whose field has exactly this value.
func Equals(field, value string) FQL {
	escaped := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value)
	return FQL(field + ":'" + escaped + "'")
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
