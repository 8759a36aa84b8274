package falcontest

import (
	"fmt"
	"slices"
	"strings"
)

// The Falcon Query Language, as far as host filters need it:
//
//	filter  = all { "," all }                 any of
//	all     = one { "+" one }                 all of
//	one     = "(" filter ")" | field ":" test
//	test    = [ "!" ] [ ">" | ">=" | "<" | "<=" | "~" | "*" ] ( value | "[" value { "," value } "]" )
//	        | [ "!" ] "*"                     the field has a value
//	value   = 'text' | "text" | null | true | false | number | now-7d
//
// A * in a text matches any run of characters, \ takes the next character as it
// is. ~ ignores case and punctuation; everything else is exact, the stricter
// assumption where the real API is not documented.

// maxNesting keeps a hostile filter from exhausting the stack.
const maxNesting = 100

// filterError says where a filter stops making sense.
type filterError struct {
	pos    int
	reason string
}

func (e *filterError) Error() string { return fmt.Sprintf("at %d: %s", e.pos, e.reason) }

type filterParser struct {
	src   string
	pos   int
	depth int
	known func(field string) bool
}

// parseFilter parses a filter whose fields are all known; nil knows every field.
func parseFilter(src string, known func(string) bool) (expr, error) {
	p := &filterParser{src: src, known: known}
	e, err := p.any()
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(p.src) {
		// A + that was not escaped in the URL arrives as a space and ends here.
		return nil, p.error("expected + or ,")
	}
	return e, nil
}

func (p *filterParser) error(reason string) error { return &filterError{p.pos, reason} }

func (p *filterParser) space() {
	for p.pos < len(p.src) && p.src[p.pos] == ' ' {
		p.pos++
	}
}

// accept skips spaces and then s, if it is there.
func (p *filterParser) accept(s string) bool {
	p.space()
	if !strings.HasPrefix(p.src[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func (p *filterParser) any() (expr, error) {
	e, err := p.all()
	if err != nil || !p.accept(",") {
		return e, err
	}
	alternatives := anyOf{e}
	for {
		if e, err = p.all(); err != nil {
			return nil, err
		}
		alternatives = append(alternatives, e)
		if !p.accept(",") {
			return alternatives, nil
		}
	}
}

func (p *filterParser) all() (expr, error) {
	e, err := p.one()
	if err != nil || !p.accept("+") {
		return e, err
	}
	parts := allOf{e}
	for {
		if e, err = p.one(); err != nil {
			return nil, err
		}
		parts = append(parts, e)
		if !p.accept("+") {
			return parts, nil
		}
	}
}

func (p *filterParser) one() (expr, error) {
	if !p.accept("(") {
		return p.test()
	}
	if p.depth++; p.depth > maxNesting {
		return nil, p.error("nested too deeply")
	}
	e, err := p.any()
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, p.error("expected )")
	}
	p.depth--
	return e, nil
}

func (p *filterParser) test() (expr, error) {
	p.space()
	start := p.pos
	t := &test{field: p.word("_.-")}
	switch {
	case t.field == "":
		return nil, p.error("expected a field")
	case p.known != nil && !p.known(t.field):
		p.pos = start
		return nil, p.error("unknown field " + t.field)
	case !p.accept(":"):
		return nil, p.error("expected :")
	}
	t.not = p.accept("!")
	for _, op := range []string{">=", "<=", ">", "<", "~", "*"} {
		if p.accept(op) {
			t.op = op
			break
		}
	}
	if t.op == "*" && p.atEnd() {
		return t, nil // the field has a value
	}
	return t, p.values(t)
}

func (p *filterParser) atEnd() bool {
	p.space()
	return p.pos == len(p.src) || strings.IndexByte("+,)", p.src[p.pos]) >= 0
}

func (p *filterParser) values(t *test) error {
	many := p.accept("[")
	for {
		v, err := p.value()
		if err != nil {
			return err
		}
		t.values = append(t.values, v)
		if !many || !p.accept(",") {
			break
		}
	}
	if many && !p.accept("]") {
		return p.error("expected ]")
	}
	if t.op != "" && slices.ContainsFunc(t.values, func(v value) bool { return v.null }) {
		return p.error("null takes no operator")
	}
	if t.compares() && (t.not || many || len(t.values[0].parts) > 1) {
		return p.error("a comparison takes one plain value")
	}
	return nil
}

func (p *filterParser) value() (value, error) {
	p.space()
	if p.pos < len(p.src) && (p.src[p.pos] == '\'' || p.src[p.pos] == '"') {
		return p.quoted()
	}
	start := p.pos
	w := p.word("_.:-")
	switch {
	case w == "null", w == "NULL":
		return value{null: true}, nil
	case w == "true", w == "false", isNumber.MatchString(w), dateMath.MatchString(w):
		return value{parts: []string{w}}, nil
	}
	p.pos = start
	return value{}, p.error("expected a quoted value")
}

// quoted reads a text and splits it at its wildcards.
func (p *filterParser) quoted() (value, error) {
	quote := p.src[p.pos]
	v := value{}
	var part strings.Builder
	for i := p.pos + 1; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == quote:
			p.pos = i + 1
			v.parts = append(v.parts, part.String())
			return v, nil
		case c == '*':
			v.parts = append(v.parts, part.String())
			part.Reset()
		case c == '\\' && i+1 < len(p.src):
			i++
			part.WriteByte(p.src[i])
		default:
			part.WriteByte(c)
		}
	}
	return v, p.error("unfinished text")
}

// word reads letters, digits and the extra characters.
func (p *filterParser) word(extra string) string {
	start := p.pos
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte(extra, c) < 0 {
			break
		}
		p.pos++
	}
	return p.src[start:p.pos]
}

// CheckFilter tells what is wrong with a filter in Falcon's query language, as far
// as the simulator knows the language; fields of any name will do.
func CheckFilter(filter string) error {
	_, err := parseFilter(filter, nil)
	return err
}
