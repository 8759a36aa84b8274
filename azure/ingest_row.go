package azure

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/jurymast/jurymast/internal/jsonscan"
)

// truncated ends a string that was too long.
const truncated = "...[truncated]"

// Azure Monitor replaces a TimeGenerated beyond these (facts/microsoft.md 3).
const (
	maxRowAge   = 48 * time.Hour
	maxRowAhead = 24 * time.Hour
	clockMargin = time.Hour
)

const timeColumn = "TimeGenerated"

var errNoRow = errors.New("a row must be a JSON object")

// row makes a row ready to be sent. Nearly always it is the row itself, read once.
func (t *IngestTarget) row(raw []byte, now time.Time) (row []byte, cut bool, err error) {
	text := jsonscan.Text(raw)
	start := text.Space(0)
	if start >= len(text) || text[start] != '{' {
		return nil, false, errNoRow
	}
	row = raw
	if t.OriginalTime == "" && (t.MaxField < 0 || len(raw) <= t.MaxField) {
		if end := text.Value(start, 1); end < 0 || text.Space(end) != len(text) {
			return nil, false, errNoRow
		}
	} else if row, cut, err = t.mend(text, start, now); err != nil {
		return nil, false, err
	}
	if limit := t.MaxBytes - len("[]"); len(row) > limit {
		return nil, false, fmt.Errorf("the row has %d bytes, and a request carries %d", len(row), limit)
	}
	return row, cut, nil
}

// mend looks at every member: at the length of its value and at its name.
func (t *IngestTarget) mend(text jsonscan.Text, start int, now time.Time) (row []byte, cut bool, err error) {
	var stamp []byte
	kept := false // the original time is there already
	row = text
	shift := 0 // of positions in text to those in row
	i, more := text.Open(start, '}')
	for more {
		name, at := text.Key(i)
		end := text.Value(at, 2)
		if end < 0 {
			return nil, false, errNoRow
		}
		value := text[at:end]
		switch {
		case t.OriginalTime == "":
		case string(name[1:len(name)-1]) == timeColumn:
			stamp = value
		case string(name[1:len(name)-1]) == t.OriginalTime:
			kept = true
		}
		if value[0] == '"' && t.MaxField > 0 && len(value)-2 > t.MaxField {
			if short, long := truncate(value, t.MaxField); long {
				row = replace(row, at+shift, end+shift, short)
				shift += len(short) - len(value)
				cut = true
			}
		}
		i, more = text.Next(end, '}')
	}
	if i < 0 || text.Space(i) != len(text) {
		return nil, false, errNoRow
	}
	if stamp != nil && !kept && willBeReplaced(stamp, now) {
		first := `{"` + t.OriginalTime + `":` + string(stamp) + `,`
		row = append([]byte(first), row[start+1:]...)
	}
	return row, cut, nil
}

func replace(row []byte, from, to int, value []byte) []byte {
	out := make([]byte, 0, len(row)-(to-from)+len(value))
	return append(append(append(out, row[:from]...), value...), row[to:]...)
}

func willBeReplaced(stamp []byte, now time.Time) bool {
	at, err := time.Parse(time.RFC3339, string(jsonscan.Content(stamp)))
	if err != nil {
		return false
	}
	age := now.Sub(at)
	return age > maxRowAge-clockMargin || -age > maxRowAhead-clockMargin
}

// truncate shortens a valid JSON string so that what it stands for has at most limit
// bytes, the mark included, and ends between two characters.
func truncate(quoted []byte, limit int) (short []byte, long bool) {
	content := quoted[1 : len(quoted)-1]
	size, fits := 0, 0 // bytes so far; where to cut
	for i := 0; i < len(content); {
		if size <= limit-len(truncated) {
			fits = i
		}
		raw, plain := character(content[i:])
		i, size = i+raw, size+plain
		if size > limit {
			short = make([]byte, 0, fits+len(truncated)+2)
			short = append(append(append(short, '"'), content[:fits]...), truncated...)
			return append(short, '"'), true
		}
	}
	return quoted, false
}

// character is the length of the first character of a JSON string, as it is written
// and in UTF-8.
func character(s []byte) (raw, plain int) {
	switch {
	case s[0] != '\\':
		r, n := utf8.DecodeRune(s)
		return n, max(n, utf8.RuneLen(r)) // what is no UTF-8 will be U+FFFD
	case s[1] != 'u':
		return 2, 1
	}
	r := codeUnit(s)
	if utf16.IsSurrogate(r) {
		if utf16.DecodeRune(r, codeUnit(s[6:])) != utf8.RuneError {
			return 12, 4
		}
		r = utf8.RuneError
	}
	return 6, utf8.RuneLen(r)
}

// codeUnit reads \uXXXX, or gives nothing that could be one.
func codeUnit(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
