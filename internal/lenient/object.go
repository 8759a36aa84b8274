// Package lenient reads vendors' rows field by field, so that a field of an
// unexpected type costs that field and not the row or the page.
package lenient

import (
	"encoding/json"
	"strconv"
	"time"
)

// Object is a row as it came. Fields that are missing, null or of another type
// read as zero.
type Object map[string]json.RawMessage

// Str is a string; a number or a boolean is given as it is written, digits intact.
func (o Object) Str(name string) string {
	raw := o[name]
	if len(raw) == 0 {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' || raw[0] == 't' || raw[0] == 'f' {
		return string(raw)
	}
	return ""
}

// Int is a whole number, also one that is written as a string.
func (o Object) Int(name string) int64 {
	n, err := strconv.ParseInt(o.Str(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Object is an object within this one.
func (o Object) Object(name string) Object {
	var inner Object
	_ = json.Unmarshal(o[name], &inner)
	return inner
}

// Objects is a list of objects; what is none among them is left out.
func (o Object) Objects(name string) (inner []Object) {
	var list []json.RawMessage
	_ = json.Unmarshal(o[name], &list)
	for _, raw := range list {
		var e Object
		if json.Unmarshal(raw, &e) == nil && e != nil {
			inner = append(inner, e)
		}
	}
	return inner
}

// Strs is a list of strings.
func (o Object) Strs(name string) []string {
	var s []string
	if json.Unmarshal(o[name], &s) == nil {
		return s
	}
	return nil
}

// Unix is a time in whole seconds since 1970; 0 is none.
func (o Object) Unix(name string) time.Time {
	if s := o.Int(name); s != 0 {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}

// Time is an RFC 3339 time, with any number of fractional digits.
func (o Object) Time(name string) time.Time {
	t, err := time.Parse(time.RFC3339, o.Str(name))
	if err != nil {
		return time.Time{}
	}
	return t
}
