package azuretest

import (
	"cmp"
	"strings"
	"time"
)

// operators say which orderings of left and right satisfy a comparison.
var operators = map[string]func(order int) bool{
	"eq": func(o int) bool { return o == 0 }, "ne": func(o int) bool { return o != 0 },
	"gt": func(o int) bool { return o > 0 }, "ge": func(o int) bool { return o >= 0 },
	"lt": func(o int) bool { return o < 0 }, "le": func(o int) bool { return o <= 0 },
}

func (p *parser[T]) comparison() (predicate[T], error) {
	left, err := p.value()
	if err != nil {
		return nil, err
	}
	op := p.peek()
	holds, ok := operators[op.text]
	if !ok || op.kind != lexWord {
		return nil, p.unexpected()
	}
	p.next()
	right, err := p.value()
	if err != nil {
		return nil, err
	}
	if !compatible(left.kind, right.kind) {
		return nil, odataError("A binary operator with incompatible types was detected. Found operand types '%s' and '%s' for operator kind '%s'.",
			left.kind, right.kind, op.text)
	}
	fold := left.kind == kindGUID || right.kind == kindGUID
	return func(row T, e string) bool {
		l, r := left.get(row, e), right.get(row, e)
		if l == nil || r == nil { // null equals null, and has no order
			switch op.text {
			case "eq":
				return l == nil && r == nil
			case "ne":
				return l != nil || r != nil
			}
			return false
		}
		return holds(order(l, r, fold))
	}, nil
}

// compatible reports whether two types may stand on either side of an operator.
// A GUID is taken with or without quotes.
func compatible(a, b kind) bool {
	switch {
	case a == kindStrings || b == kindStrings:
		return false
	case a == kindNull || b == kindNull, a == b:
		return true
	}
	return a == kindGUID && b == kindString || a == kindString && b == kindGUID
}

// order compares two values of compatible kinds.
func order(l, r any, fold bool) int {
	switch l := l.(type) {
	case string:
		r := r.(string)
		if fold {
			l, r = strings.ToLower(l), strings.ToLower(r)
		}
		return strings.Compare(l, r)
	case time.Time:
		return l.Compare(r.(time.Time))
	case int64:
		return cmp.Compare(l, r.(int64))
	case bool:
		if l == r.(bool) {
			return 0
		}
	}
	return 1 // true and false: different, which is all that eq and ne ask
}

// parseTime reads a date with or without a time; the vendor's own examples also
// write a date with a zone.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly, "2006-01-02Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isDigit(c) && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}
