package crowdstrike

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

// kind is the type of a column, and how it takes values. Azure Monitor makes null of a
// value of another type, and says nothing (facts/microsoft.md 3).
type kind uint8

const (
	text   kind = iota // a string; numbers and booleans as they are written
	whole              // an int of 32 bits, also if it is written as a string
	flag               // a boolean, also if it is written as a string
	moment             // a datetime
	free               // dynamic: any value
	list               // dynamic: an array, also if it is written "a,b"
)

// String is the type's name in tables and data collection rules.
func (k kind) String() string {
	return [...]string{"string", "int", "boolean", "datetime", "dynamic", "dynamic"}[k]
}

// append appends a value, which is not null, as the type wants it. false: it cannot be.
func (k kind) append(b, value []byte) ([]byte, bool) {
	quoted := value[0] == '"'
	switch k {
	case text:
		switch value[0] {
		case '"':
			return append(b, value...), true
		case '{', '[':
			return b, false
		}
		return append(append(append(b, '"'), value...), '"'), true
	case whole:
		content := jsonscan.Content(value)
		n, err := strconv.ParseInt(string(content), 10, 32)
		if err != nil {
			return b, false
		}
		return strconv.AppendInt(b, n, 10), true // as JSON writes it, also "+7" and "007"
	case flag:
		switch string(jsonscan.Content(value)) {
		case "true":
			return append(b, "true"...), true
		case "false":
			return append(b, "false"...), true
		}
		return b, false
	case moment:
		var t time.Time
		if !quoted || t.UnmarshalText(jsonscan.Content(value)) != nil {
			return b, false
		}
		return append(b, value...), true
	case list:
		if quoted {
			return appendList(b, value[1:len(value)-1]), true
		}
	}
	return append(b, value...), true
}

// appendList makes an array of a string's content. No escape has a comma in it.
func appendList(b, content []byte) []byte {
	b = append(b, '[')
	from := len(b)
	for len(content) > 0 {
		var part []byte
		part, content, _ = bytes.Cut(content, []byte{','})
		if part = bytes.Trim(part, " "); len(part) == 0 {
			continue
		}
		if len(b) > from {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), part...), '"')
	}
	return append(b, ']')
}

// column of a table.
type column struct {
	name string
	key  string // as it is written: ,"Name":
	kind kind
}

// schema is a table, and which of Falcon's fields its columns take. The indexes are of
// names in quotes.
type schema struct {
	table    string
	columns  []column
	ofAlert  map[string]uint8
	ofDevice map[string]uint8 // fields of the alert's device
	ofLine   map[string]uint8 // fields of a stream event
}

// columnSet is a set of columns of a schema.
type columnSet [4]uint64

func (s *columnSet) has(n uint8) bool { return s[n/64]&(1<<(n%64)) != 0 }
func (s *columnSet) add(n uint8)      { s[n/64] |= 1 << (n % 64) }

// names are columns of one kind, apart by blanks.
type names struct {
	kind kind
	of   string
}

// newSchema: typeColumn is the column for Falcon's field type, a name that Azure Monitor
// has for itself.
func newSchema(table, typeColumn string, columns []names) *schema {
	s := &schema{table: table, ofAlert: map[string]uint8{}, ofDevice: map[string]uint8{}, ofLine: map[string]uint8{}}
	index := map[string]uint8{}
	for _, group := range columns {
		for name := range strings.FieldsSeq(group.of) {
			n := uint8(len(s.columns))
			s.columns = append(s.columns, column{name: name, key: `,"` + name + `":`, kind: group.kind})
			index[name] = n
			s.ofAlert[snake(name)] = n
		}
	}
	delete(s.ofAlert, snake(typeColumn))
	s.ofAlert[`"type"`] = index[typeColumn]
	for name := range strings.FieldsSeq(deviceColumns) {
		s.ofDevice[snake(name)] = index[name]
	}
	for field, name := range lineFields {
		if name == "" {
			name = typeColumn
		}
		s.ofLine[`"`+field+`"`] = index[name]
	}
	return s
}

// snake is Falcon's name of a column's field, in quotes: "assigned_to_uid" of
// AssignedToUid.
func snake(name string) string {
	b := []byte{'"'}
	for i, c := range []byte(name) {
		if 'A' <= c && c <= 'Z' {
			if i > 0 {
				b = append(b, '_')
			}
			c |= 0x20
		}
		b = append(b, c)
	}
	return string(append(b, '"'))
}
