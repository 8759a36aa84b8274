package falcon

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/resilience"
)

// FQL is a filter in Falcon's query language, built by the functions of this
// file: a value with a quote in it cannot break out of the filter, and what would
// be no valid filter is an error of the call that uses it, before anything is
// sent. The zero FQL selects everything.
type FQL struct {
	text string
	or   bool // has alternatives on its outermost level
	err  error
}

// String is the filter as it is sent, "" if it is not valid.
func (f FQL) String() string {
	if f.err != nil {
		return ""
	}
	return f.text
}

// Err tells what is wrong with the filter, nil if nothing is.
func (f FQL) Err() error { return f.err }

// Verbatim takes a filter as it is, for what the other functions do not build.
func Verbatim(filter string) FQL { return FQL{text: filter, or: true} }

// Equals selects rows whose field has exactly this value.
func Equals(field, value string) FQL { return condition(field, "", quote(value)) }

// NotEquals selects rows whose field does not have this value, or has none.
func NotEquals(field, value string) FQL { return condition(field, "!", quote(value)) }

// In selects rows whose field has exactly one of the values.
func In(field string, values ...string) FQL { return condition(field, "", list(values)) }

// NotIn selects rows whose field has none of the values.
func NotIn(field string, values ...string) FQL { return condition(field, "!", list(values)) }

// Like selects rows whose field matches a pattern, in which * stands for anything.
func Like(field, pattern string) FQL { return condition(field, "*", quotePattern(pattern)) }

// After selects rows whose field is a later time, Before an earlier one.
func After(field string, t time.Time) FQL { return condition(field, ">", quote(stamp(t))) }

// Before selects rows whose field is an earlier time.
func Before(field string, t time.Time) FQL { return condition(field, "<", quote(stamp(t))) }

// AtLeast selects rows whose field is this number or more.
func AtLeast(field string, n int64) FQL { return condition(field, ">=", strconv.FormatInt(n, 10)) }

// AtMost selects rows whose field is this number or less.
func AtMost(field string, n int64) FQL { return condition(field, "<=", strconv.FormatInt(n, 10)) }

// And selects rows that match all filters; empty ones do not count.
func And(filters ...FQL) FQL { return combine("+", filters) }

// Or selects rows that match any of the filters; empty ones do not count.
func Or(filters ...FQL) FQL { return combine(",", filters) }

// fieldName is what Falcon's fields look like: dotted paths.
var fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)

func condition(field, operator, value string) FQL {
	switch {
	case !fieldName.MatchString(field):
		return FQL{err: resilience.Misusef("falcon: %q is not the name of a field: letters, digits, _ and - in parts separated by dots", field)}
	case value == "":
		return FQL{err: resilience.Misusef("falcon: a filter on %s needs at least one value", field)}
	}
	return FQL{text: field + ":" + operator + value}
}

func combine(operator string, filters []FQL) FQL {
	var parts []FQL
	for _, f := range filters {
		if f.err != nil {
			return f
		}
		if f.text != "" {
			parts = append(parts, f)
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	texts := make([]string, len(parts))
	for i, f := range parts {
		texts[i] = f.text
		if f.or && operator == "+" {
			texts[i] = "(" + f.text + ")"
		}
	}
	return FQL{text: strings.Join(texts, operator), or: operator == "," && len(parts) > 1}
}

func list(values []string) string {
	if len(values) == 0 {
		return ""
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

var (
	escapeValue   = strings.NewReplacer(`\`, `\\`, `'`, `\'`, `*`, `\*`)
	escapePattern = strings.NewReplacer(`\`, `\\`, `'`, `\'`)
)

func quote(value string) string          { return "'" + escapeValue.Replace(value) + "'" }
func quotePattern(pattern string) string { return "'" + escapePattern.Replace(pattern) + "'" }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
