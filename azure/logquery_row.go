package azure

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

// LogTable is a table of a LogResult.
type LogTable struct {
	Name    string
	Columns []LogColumn
	Rows    []LogRow
}

// LogColumn is a column of a LogTable. Type is one of KQL's: bool, datetime, dynamic,
// decimal, guid, int, long, real, string or timespan.
type LogColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// LogRow is a row of a LogTable. A value that is null, that is of another type or
// whose column is not there reads as zero; Raw tells them apart. Columns' names are
// case-sensitive, as in KQL.
type LogRow struct {
	index map[string]int // by column; shared by the rows of a table
	cells []json.RawMessage
}

// Raw is a value as it came, digits intact; nil if there is no such column.
func (r LogRow) Raw(column string) json.RawMessage {
	i, ok := r.index[column]
	if !ok {
		return nil
	}
	return r.cells[i]
}

// Null reports that there is no value.
func (r LogRow) Null(column string) bool {
	raw := r.Raw(column)
	return raw == nil || raw[0] == 'n'
}

// Str is a string, a guid, or any other simple value as it is written.
func (r LogRow) Str(column string) string {
	raw := r.Raw(column)
	if raw == nil {
		return ""
	}
	return string(jsonscan.Content(raw))
}

// Number is a number of any size, decimals included, digits intact.
func (r LogRow) Number(column string) json.Number {
	n := r.Str(column)
	if n == "" || n[0] != '-' && !jsonscan.IsDigit(n[0]) || !json.Valid([]byte(n)) {
		return ""
	}
	return json.Number(n)
}

// Int is an int or a long.
func (r LogRow) Int(column string) int64 {
	n, err := strconv.ParseInt(r.Str(column), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Real is a real; NaN and the infinities come as strings.
func (r LogRow) Real(column string) float64 {
	f, err := strconv.ParseFloat(r.Str(column), 64)
	if err != nil {
		return 0
	}
	return f
}

// Bool is a bool.
func (r LogRow) Bool(column string) bool {
	b, err := strconv.ParseBool(r.Str(column))
	return b && err == nil
}

// Time is a datetime.
func (r LogRow) Time(column string) time.Time {
	t, err := time.Parse(time.RFC3339, r.Str(column))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Dynamic is a dynamic value as JSON. It comes as a string that holds JSON.
func (r LogRow) Dynamic(column string) json.RawMessage {
	raw := r.Raw(column)
	if len(raw) > 0 && raw[0] == '"' {
		if inner := jsonscan.Unquoted(raw); json.Valid(inner) {
			return inner
		}
	}
	return raw
}

// Duration is a timespan: "[-][days.]hh:mm:ss[.fraction]". One that time.Duration
// cannot hold, of more than 292 years, reads as zero.
func (r LogRow) Duration(column string) time.Duration {
	d, ok := parseTimespan(r.Str(column))
	if !ok {
		return 0
	}
	return d
}

func parseTimespan(s string) (time.Duration, bool) {
	s, negative := strings.CutPrefix(s, "-")
	hms := strings.Split(s, ":")
	if len(hms) != 3 {
		return 0, false
	}
	days, hours, ok := strings.Cut(hms[0], ".")
	if !ok {
		days, hours = "0", hms[0]
	}
	seconds, fraction, _ := strings.Cut(hms[2], ".")
	if len(fraction) > 9 {
		return 0, false
	}
	fraction += "000000000"[len(fraction):]
	sum := int64(0)
	for _, part := range []struct {
		digits string
		limit  uint64
		unit   time.Duration
	}{
		{days, 106_750, 24 * time.Hour}, {hours, 23, time.Hour}, {hms[1], 59, time.Minute}, {seconds, 59, time.Second}, {fraction, 999_999_999, 1},
	} {
		n, err := strconv.ParseUint(part.digits, 10, 64)
		if err != nil || n > part.limit {
			return 0, false
		}
		sum += int64(n) * int64(part.unit)
	}
	if negative {
		sum = -sum
	}
	return time.Duration(sum), true
}
