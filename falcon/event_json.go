package falcon

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// jsonLine checks that a line is JSON, with the same result as json.Valid
// (FuzzEventScan), which alone takes longer than reading an event may
// (BenchmarkEvents).
//
// Its methods take the position of something in the line and give the position
// after it, or -1: it is not valid, or it is cut.
type jsonLine []byte

// maxDepth is encoding/json's limit.
const maxDepth = 10000

func (l jsonLine) space(i int) int {
	for i < len(l) && l[i] <= ' ' && (l[i] == ' ' || l[i] == '\t' || l[i] == '\r' || l[i] == '\n') {
		i++
	}
	return i
}

// value is any value; depth is that of what it is in. A position of -1 stays one.
func (l jsonLine) value(i, depth int) int {
	if i < 0 || i >= len(l) {
		return -1
	}
	switch l[i] {
	case '"':
		return l.str(i)
	case '{':
		return l.object(i, depth+1)
	case '[':
		return l.array(i, depth+1)
	case 't':
		return l.word(i, "true")
	case 'f':
		return l.word(i, "false")
	case 'n':
		return l.word(i, "null")
	}
	return l.number(i)
}

func (l jsonLine) object(i, depth int) int {
	if depth > maxDepth {
		return -1
	}
	i, more := l.open(i, '}')
	for more {
		_, at := l.key(i)
		i, more = l.next(l.value(at, depth), '}')
	}
	return i
}

func (l jsonLine) array(i, depth int) int {
	if depth > maxDepth {
		return -1
	}
	i, more := l.open(i, ']')
	for more {
		i, more = l.next(l.value(i, depth), ']')
	}
	return i
}

// open steps into an object or array, to its first member if there are any.
func (l jsonLine) open(i int, end byte) (at int, more bool) {
	i = l.space(i + 1)
	if i < len(l) && l[i] == end {
		return i + 1, false
	}
	return i, true
}

// next steps from behind a member to the next one, or behind the whole.
func (l jsonLine) next(i int, end byte) (at int, more bool) {
	if i < 0 {
		return -1, false
	}
	if i = l.space(i); i >= len(l) {
		return -1, false
	}
	switch l[i] {
	case end:
		return i + 1, false
	case ',':
		return l.space(i + 1), true
	}
	return -1, false
}

// key is a member's name, in quotes, and where its value begins.
func (l jsonLine) key(i int) (name []byte, at int) {
	if i >= len(l) || l[i] != '"' {
		return nil, -1
	}
	end := l.str(i)
	if end < 0 {
		return nil, -1
	}
	at = l.space(end)
	if at >= len(l) || l[at] != ':' {
		return nil, -1
	}
	return l[i:end], l.space(at + 1)
}

// str looks at eight bytes at a time for the three things that matter in a
// string: its end, an escape and a control character, which JSON forbids.
func (l jsonLine) str(i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for i++; ; {
		for len(l)-i >= 8 {
			w := binary.LittleEndian.Uint64(l[i:])
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			found := ((w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash) & high
			if found != 0 { // its lowest bit is exact, those above may not be
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		if i >= len(l) {
			return -1
		}
		switch c := l[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			if i = l.escape(i); i < 0 {
				return -1
			}
		default:
			i++
		}
	}
}

func (l jsonLine) escape(i int) int {
	if i+1 >= len(l) {
		return -1
	}
	switch l[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if len(l)-i >= 6 && isHex(l[i+2]) && isHex(l[i+3]) && isHex(l[i+4]) && isHex(l[i+5]) {
			return i + 6
		}
	}
	return -1
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func (l jsonLine) word(i int, word string) int {
	if len(l)-i < len(word) || string(l[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func (l jsonLine) number(i int) int {
	if l[i] == '-' {
		i++
	}
	if i < len(l) && l[i] == '0' {
		i++ // and no digit may follow
	} else if i = l.digits(i); i < 0 {
		return -1
	}
	if i < len(l) && l[i] == '.' {
		if i = l.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(l) && l[i]|0x20 == 'e' {
		if i++; i < len(l) && (l[i] == '+' || l[i] == '-') {
			i++
		}
		i = l.digits(i)
	}
	return i
}

// digits are one or more.
func (l jsonLine) digits(i int) int {
	from := i
	for i < len(l) && isDigit(l[i]) {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// members are those of the object at i, parts of the line; nil if there is none
// that is valid. Of a name that comes twice it is the last.
func (l jsonLine) members(i int) map[string]json.RawMessage {
	if i >= len(l) || l[i] != '{' {
		return nil
	}
	out := make(map[string]json.RawMessage)
	i, more := l.open(i, '}')
	for more {
		name, at := l.key(i)
		end := l.value(at, 1)
		if i, more = l.next(end, '}'); i < 0 {
			return nil
		}
		out[string(unquoted(name))] = json.RawMessage(l[at:end])
	}
	return out
}

// jsonText is a valid value as text: a string's content; a number or a boolean as
// it is written; nothing for the others.
func jsonText(value []byte) []byte {
	switch value[0] {
	case '"':
		return unquoted(value)
	case '{', '[', 'n':
		return nil
	}
	return value
}

// unquoted is the content of a valid string. It is a part of the line, unless
// something in it is escaped or could be bad UTF-8.
func unquoted(quoted []byte) []byte {
	for _, c := range quoted {
		if c == '\\' || c >= 0x80 {
			var s string
			_ = json.Unmarshal(quoted, &s)
			return []byte(s)
		}
	}
	return quoted[1 : len(quoted)-1]
}
