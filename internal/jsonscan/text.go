// Package jsonscan walks through JSON without making anything of it: it checks a
// text with the same result as json.Valid (FuzzScan) and finds the values in it.
// encoding/json alone takes longer for that than reading an event, or a row of a
// long list, may take (BenchmarkEvents, BenchmarkListHosts).
//
// What is cut or is no JSON gives the position -1, never a panic.
package jsonscan

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// Text is a JSON text. Its methods take the position of something in it and give
// the position after it, or -1: it is not valid, or it is cut.
type Text []byte

// MaxDepth is encoding/json's limit.
const MaxDepth = 10000

// Space skips blanks.
func (t Text) Space(i int) int {
	for i < len(t) && t[i] <= ' ' && (t[i] == ' ' || t[i] == '\t' || t[i] == '\r' || t[i] == '\n') {
		i++
	}
	return i
}

// Value is any value; depth is that of what it is in. A position of -1 stays one.
func (t Text) Value(i, depth int) int {
	if i < 0 || i >= len(t) {
		return -1
	}
	switch t[i] {
	case '"':
		return t.str(i)
	case '{':
		return t.object(i, depth+1)
	case '[':
		return t.array(i, depth+1)
	case 't':
		return t.word(i, "true")
	case 'f':
		return t.word(i, "false")
	case 'n':
		return t.word(i, "null")
	}
	return t.number(i)
}

func (t Text) object(i, depth int) int {
	if depth > MaxDepth {
		return -1
	}
	i, more := t.Open(i, '}')
	for more {
		_, at := t.Key(i)
		i, more = t.Next(t.Value(at, depth), '}')
	}
	return i
}

func (t Text) array(i, depth int) int {
	if depth > MaxDepth {
		return -1
	}
	i, more := t.Open(i, ']')
	for more {
		i, more = t.Next(t.Value(i, depth), ']')
	}
	return i
}

// Open steps into an object or array, to its first member if there are any.
func (t Text) Open(i int, end byte) (at int, more bool) {
	i = t.Space(i + 1)
	if i < len(t) && t[i] == end {
		return i + 1, false
	}
	return i, true
}

// Next steps from behind a member to the next one, or behind the whole.
func (t Text) Next(i int, end byte) (at int, more bool) {
	if i < 0 {
		return -1, false
	}
	if i = t.Space(i); i >= len(t) {
		return -1, false
	}
	switch t[i] {
	case end:
		return i + 1, false
	case ',':
		return t.Space(i + 1), true
	}
	return -1, false
}

// Key is a member's name, in quotes, and where its value begins.
func (t Text) Key(i int) (name []byte, at int) {
	if i >= len(t) || t[i] != '"' {
		return nil, -1
	}
	end := t.str(i)
	if end < 0 {
		return nil, -1
	}
	at = t.Space(end)
	if at >= len(t) || t[at] != ':' {
		return nil, -1
	}
	return t[i:end], t.Space(at + 1)
}

// str looks at eight bytes at a time for the three things that matter in a
// string: its end, an escape and a control character, which JSON forbids.
func (t Text) str(i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for i++; ; {
		for len(t)-i >= 8 {
			w := binary.LittleEndian.Uint64(t[i:])
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			found := ((w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash) & high
			if found != 0 { // its lowest bit is exact, those above may not be
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		if i >= len(t) {
			return -1
		}
		switch c := t[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			if i = t.escape(i); i < 0 {
				return -1
			}
		default:
			i++
		}
	}
}

func (t Text) escape(i int) int {
	if i+1 >= len(t) {
		return -1
	}
	switch t[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if len(t)-i >= 6 && isHex(t[i+2]) && isHex(t[i+3]) && isHex(t[i+4]) && isHex(t[i+5]) {
			return i + 6
		}
	}
	return -1
}

// IsDigit reports whether c is 0 to 9.
func IsDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return IsDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func (t Text) word(i int, word string) int {
	if len(t)-i < len(word) || string(t[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func (t Text) number(i int) int {
	if t[i] == '-' {
		i++
	}
	if i < len(t) && t[i] == '0' {
		i++ // and no digit may follow
	} else if i = t.digits(i); i < 0 {
		return -1
	}
	if i < len(t) && t[i] == '.' {
		if i = t.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(t) && t[i]|0x20 == 'e' {
		if i++; i < len(t) && (t[i] == '+' || t[i] == '-') {
			i++
		}
		i = t.digits(i)
	}
	return i
}

// digits are one or more.
func (t Text) digits(i int) int {
	from := i
	for i < len(t) && IsDigit(t[i]) {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// Content is a valid value as text: a string's content; a number or a boolean as
// it is written; nothing for the others.
func Content(value []byte) []byte {
	switch value[0] {
	case '"':
		return Unquoted(value)
	case '{', '[', 'n':
		return nil
	}
	return value
}

// Unquoted is the content of a valid string. It is a part of the line, unless
// something in it is escaped or could be bad UTF-8.
func Unquoted(quoted []byte) []byte {
	for _, c := range quoted {
		if c == '\\' || c >= 0x80 {
			var s string
			_ = json.Unmarshal(quoted, &s)
			return []byte(s)
		}
	}
	return quoted[1 : len(quoted)-1]
}
