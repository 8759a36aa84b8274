package falcontest

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// expr is a parsed filter. String is a filter that means the same.
type expr interface {
	match(o object, now time.Time) bool
	String() string
}

type anyOf []expr

func (e anyOf) match(o object, now time.Time) bool {
	return slices.ContainsFunc(e, func(x expr) bool { return x.match(o, now) })
}

func (e anyOf) String() string { return "(" + joined(e, ",") + ")" }

type allOf []expr

func (e allOf) match(o object, now time.Time) bool {
	return !slices.ContainsFunc(e, func(x expr) bool { return !x.match(o, now) })
}

func (e allOf) String() string { return "(" + joined(e, "+") + ")" }

func joined(exprs []expr, sep string) string {
	s := make([]string, len(exprs))
	for i, e := range exprs {
		s[i] = e.String()
	}
	return strings.Join(s, sep)
}

// test is one condition on one field. Of a field with several values one match
// is enough; "!" is true where none matches, so also where there is no value.
type test struct {
	field  string
	not    bool
	op     string  // "", >, >=, <, <=, ~ or *
	values []value // empty: any value will do
}

func (t *test) compares() bool { return strings.HasPrefix(t.op, "<") || strings.HasPrefix(t.op, ">") }

func (t *test) match(o object, now time.Time) bool {
	return t.holds(o.values(t.field), now) != t.not
}

func (t *test) holds(have []string, now time.Time) bool {
	if len(t.values) == 0 {
		return len(have) > 0
	}
	for _, want := range t.values {
		if want.null {
			if len(have) == 0 {
				return true
			}
			continue
		}
		for _, got := range have {
			if t.one(got, want, now) {
				return true
			}
		}
	}
	return false
}

func (t *test) one(got string, want value, now time.Time) bool {
	switch {
	case t.op == "~":
		return matchesText(got, want.text())
	case t.compares():
		order, ok := compare(got, want.text(), now)
		return ok && (order == 0 && strings.Contains(t.op, "=") || order < 0 && t.op[0] == '<' || order > 0 && t.op[0] == '>')
	default:
		return matchesPattern(got, want.parts)
	}
}

func (t *test) String() string {
	s := t.field + ":"
	if t.not {
		s += "!"
	}
	s += t.op
	texts := make([]string, len(t.values))
	for i, v := range t.values {
		texts[i] = v.String()
	}
	if len(texts) > 1 {
		return s + "[" + strings.Join(texts, ",") + "]"
	}
	return s + strings.Join(texts, "")
}

// value is null or a text split at its wildcards.
type value struct {
	null  bool
	parts []string
}

func (v value) text() string { return strings.Join(v.parts, "*") }

func (v value) String() string {
	if v.null {
		return "null"
	}
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`, `*`, `\*`)
	parts := make([]string, len(v.parts))
	for i, p := range v.parts {
		parts[i] = escape.Replace(p)
	}
	return "'" + strings.Join(parts, "*") + "'"
}

// matchesPattern reports whether s is the parts with anything between them.
func matchesPattern(s string, parts []string) bool {
	last := len(parts) - 1
	if last == 0 {
		return s == parts[0]
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1:last] {
		if _, s, ok = strings.Cut(s, p); !ok {
			return false
		}
	}
	return strings.HasSuffix(s, parts[last])
}

// matchesText reports whether the words of want follow each other in s.
func matchesText(s, want string) bool {
	w := words(want)
	return w != "" && strings.Contains(" "+words(s)+" ", " "+w+" ")
}

func words(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " ")
}

// compare compares as times, else as numbers, else as texts. A time has no order
// with what is none.
func compare(got, want string, now time.Time) (int, bool) {
	if w, ok := parseTime(want, now); ok {
		g, ok := parseTime(got, now)
		return g.Compare(w), ok
	}
	w, errW := strconv.ParseFloat(want, 64)
	g, errG := strconv.ParseFloat(got, 64)
	if errW == nil && errG == nil {
		return cmp.Compare(g, w), true
	}
	return strings.Compare(got, want), true
}

var (
	dateMath = regexp.MustCompile(`^now(?:([+-])(\d{1,5})([smhdwMy]))?$`)
	isNumber = regexp.MustCompile(`^-?\d+(?:\.\d+)?$`)
	unitLong = map[string]time.Duration{
		"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
	}
)

func parseTime(s string, now time.Time) (time.Time, bool) {
	if m := dateMath.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[1] + m[2])
		switch m[3] {
		case "M":
			return now.AddDate(0, n, 0), true
		case "y":
			return now.AddDate(n, 0, 0), true
		}
		return now.Add(time.Duration(n) * unitLong[m[3]]), true
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
