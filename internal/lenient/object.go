// Package lenient reads vendors' rows field by field, so that a field of an
// unexpected type costs that field and not the row or the page.
package lenient

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

// Read makes an Object of a JSON object. The values are parts of raw, which must not
// change any more.
func Read(raw []byte) (Object, error) {
	t := jsonscan.Text(raw)
	i := t.Space(0)
	o, end := object(t, i)
	if end >= 0 && t.Space(end) == len(t) {
		return o, nil
	}
	var m map[string]json.RawMessage // null, or an error that says what is wrong
	err := json.Unmarshal(raw, &m)
	return m, err
}

func object(t jsonscan.Text, i int) (Object, int) {
	if i >= len(t) || t[i] != '{' {
		return nil, -1
	}
	o := make(Object, len(t)/64) // about as many members as such a text has
	i, more := t.Open(i, '}')
	for more {
		name, at := t.Key(i)
		end := t.Value(at, 1)
		if i, more = t.Next(end, '}'); i < 0 {
			return nil, -1
		}
		o[string(jsonscan.Unquoted(name))] = json.RawMessage(t[at:end:end])
	}
	return o, i
}

// Object is a row as it came. Fields that are missing, null or of another type
// read as zero.
type Object map[string]json.RawMessage

// Str is a string; a number or a boolean is given as it is written, digits intact.
func (o Object) Str(name string) string {
	raw := o[name]
	if len(raw) == 0 {
		return ""
	}
	return string(jsonscan.Content(raw))
}

// Int is a whole number, also one that is written as a string.
func (o Object) Int(name string) int64 {
	n, err := strconv.ParseInt(o.Str(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Number is a number with or without a fraction, also one that is written as a
// string; false: there is none.
func (o Object) Number(name string) (float64, bool) {
	n, err := strconv.ParseFloat(o.Str(name), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, false
	}
	return n, true
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

// List gives the elements of a list, each a copy of its own, so that who keeps one
// does not keep them all. An element is valid JSON if raw is. false: it is no list.
func List(raw json.RawMessage) (elements []json.RawMessage, ok bool) {
	t := jsonscan.Text(raw)
	i := t.Space(0)
	if i >= len(t) || t[i] != '[' {
		return nil, false
	}
	i, more := t.Open(i, ']')
	for more {
		end := t.Value(i, 1)
		if end < 0 {
			return nil, false
		}
		elements = append(elements, append(json.RawMessage(nil), t[i:end]...))
		i, more = t.Next(end, ']')
	}
	return elements, i >= 0
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
