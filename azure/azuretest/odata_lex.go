package azuretest

import "strings"

// A filter is made of words (names, operators, numbers, dates), quoted strings
// and signs.
type lexKind uint8

const (
	lexEnd lexKind = iota
	lexWord
	lexString
	lexSign
)

type lexeme struct {
	kind lexKind
	text string // of a string: without its quotes
	at   int    // byte offset in the filter
}

// lex splits a filter. The last lexeme is always a lexEnd.
func lex(src string) ([]lexeme, error) {
	var out []lexeme
	for i := 0; i < len(src); {
		switch c := src[i]; {
		case c == ' ' || c == '\t':
			i++
		case strings.IndexByte("(),/:", c) >= 0:
			out = append(out, lexeme{lexSign, src[i : i+1], i})
			i++
		case c == '\'':
			text, length, ok := unquote(src[i:])
			if !ok {
				return nil, odataError("There is an unterminated string literal at position %d in '%s'.", i, src)
			}
			out = append(out, lexeme{lexString, text, i})
			i += length
		case isWord(c) || c == '-':
			end := i + 1
			// Only a date or a number goes on after a colon, a plus or a point.
			literal := isDigit(c) || c == '-'
			for end < len(src) && (isWord(src[end]) || src[end] == '-' || literal && strings.IndexByte(":+.", src[end]) >= 0) {
				end++
			}
			out = append(out, lexeme{lexWord, src[i:end], i})
			i = end
		default:
			return nil, odataError("Syntax error at position %d in '%s'.", i, src)
		}
	}
	return append(out, lexeme{lexEnd, "", len(src)}), nil
}

// flatten makes one word of a field that is named under another: properties/status.
func flatten(tokens []lexeme, under string) []lexeme {
	var out []lexeme
	for i := 0; i < len(tokens); i++ {
		if i+2 < len(tokens) && tokens[i].kind == lexWord && tokens[i].text == under &&
			tokens[i+1].kind == lexSign && tokens[i+1].text == "/" && tokens[i+2].kind == lexWord {
			i += 2
		}
		out = append(out, tokens[i])
	}
	return out
}

// unquote reads the string literal s begins with; a quote inside is doubled.
func unquote(s string) (text string, length int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 == len(s) || s[i+1] != '\'' {
			return b.String(), i + 1, true
		}
		b.WriteByte('\'')
		i++
	}
	return "", 0, false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
