package azure

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// maxClaims bounds what a challenge may make of a token request.
const maxClaims = 16 << 10

// challenge is the claims that a 401 asks for by continuous access evaluation, as
// JSON; "" if it asks for none, or for nothing that makes sense (facts/microsoft.md
// 1.3).
func challenge(h http.Header) string {
	for _, value := range h.Values("WWW-Authenticate") {
		for scheme, params := range challenges(value) {
			if !strings.EqualFold(scheme, "Bearer") || params["error"] != "insufficient_claims" || len(params["claims"]) > maxClaims {
				continue
			}
			if claims := decodeClaims(params["claims"]); claims != "" {
				return claims
			}
		}
	}
	return ""
}

// decodeClaims reads base64, of either alphabet, padded or not.
func decodeClaims(s string) string {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	raw, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return ""
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || len(object) == 0 {
		return ""
	}
	return string(raw)
}

// challenges reads a header of RFC 9110, 11.6.1: schemes, each with parameters
// that are tokens or quoted strings, all between commas. What does not fit is
// passed over. The names of parameters are in lower case.
func challenges(s string) func(yield func(scheme string, params map[string]string) bool) {
	return func(yield func(string, map[string]string) bool) {
		scheme, params := "", map[string]string{}
		for s != "" {
			s = strings.TrimLeft(s, ", \t")
			name := s[:tokenLen(s)]
			s = s[len(name):]
			if name == "" {
				s = s[min(1, len(s)):] // not of this grammar
				continue
			}
			after := strings.TrimLeft(s, " \t")
			if value, rest, ok := parameter(after); ok {
				params[strings.ToLower(name)] = value
				s = rest
				continue
			}
			if scheme != "" && !yield(scheme, params) {
				return
			}
			scheme, params = name, map[string]string{}
		}
		if scheme != "" {
			yield(scheme, params)
		}
	}
}

// parameter reads "=value".
func parameter(s string) (value, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "=")
	if !ok {
		return "", "", false
	}
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		n := tokenLen(s)
		return s[:n], s[n:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", true // it never ends
}

// tokenLen is how much of s is a token, with the characters of base64 beside.
func tokenLen(s string) int {
	i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`,="`, r) })
	if i < 0 {
		return len(s)
	}
	return i
}
