package azuretest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxColumn is where the Logs Ingestion API cuts a field.
const maxColumn = 64 << 10

// store makes of a row what its stream keeps: the declared columns, null for values
// of another type, no field longer than 64 KB, and a TimeGenerated that is not older
// than two days or more than a day ahead. It is silent about all of that.
func store(row map[string]json.RawMessage, columns []Column, auxiliary bool, received time.Time) (json.RawMessage, error) {
	kept := make(map[string]json.RawMessage, len(columns))
	for _, c := range columns {
		value, ok := row[c.Name]
		if !ok {
			continue
		}
		if nested := value[0] == '{' || value[0] == '['; nested && auxiliary && c.Type != "dynamic" {
			return nil, errNested(c.Name)
		}
		if !fits(value, c.Type) {
			value = json.RawMessage("null")
		}
		kept[c.Name] = cut(value)
	}
	var at time.Time
	if json.Unmarshal(kept["TimeGenerated"], &at) != nil || at.Before(received.Add(-48*time.Hour)) || at.After(received.Add(24*time.Hour)) {
		// That a missing time becomes that of arrival too is assumed.
		kept["TimeGenerated"], _ = json.Marshal(stamp(received))
	}
	return json.Marshal(kept)
}

var guidPattern = regexp.MustCompile(`^"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"$`)

// fits reports whether a value is of a column's type. Whether the service converts
// between any of them is not known: here it does not.
func fits(value json.RawMessage, columnType string) bool {
	number := value[0] == '-' || '0' <= value[0] && value[0] <= '9'
	switch columnType {
	case "string":
		return value[0] == '"'
	case "int":
		_, err := strconv.ParseInt(string(value), 10, 32)
		return err == nil
	case "long":
		_, err := strconv.ParseInt(string(value), 10, 64)
		return err == nil
	case "real":
		return number
	case "boolean":
		return value[0] == 't' || value[0] == 'f'
	case "datetime":
		var t time.Time
		return json.Unmarshal(value, &t) == nil && !bytes.Equal(value, []byte("null"))
	case "guid":
		return guidPattern.Match(value)
	default: // dynamic
		return true
	}
}

// cut shortens a string to 64 KB. Where exactly the service cuts is not documented;
// here it is between two characters. What it makes of a long dynamic value is not
// known either: it stays.
func cut(value json.RawMessage) json.RawMessage {
	var s string
	if value[0] != '"' || len(value) <= maxColumn || json.Unmarshal(value, &s) != nil || len(s) <= maxColumn {
		return value
	}
	n := maxColumn
	for !utf8.RuneStart(s[n]) {
		n--
	}
	short, _ := json.Marshal(s[:n])
	return short
}
