package azuretest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The subset of OData 4 $filter that the Defender API documents:
//
//	or    = and { "or" and }
//	and   = unary { "and" unary }
//	unary = "not" unary | group | value op value
//	group = "(" or ")" | func "(" value "," value ")" | list "/any(" name ":" or ")"
//	op    = "eq" | "ne" | "gt" | "ge" | "lt" | "le"
//	func  = "startswith" | "endswith" | "contains"
//	value = property | 'string' | number | 2024-01-31T00:00:00Z | guid | true | false | null
//
// As in OData, "not" binds tighter than a comparison, so it needs parentheses in
// front of one; strings compare by case; property names are taken in any case.

// schema is what a filter over rows of type T may name.
type schema[T any] struct {
	typ    string              // the vendor's name of the type, for messages
	under  string              // of Resource Manager: fields may be named under this, "properties"
	fields map[string]field[T] // by lower-case name
	expand string              // what $expand may name, if anything
}

type field[T any] struct {
	kind kind
	get  func(T) any // string, time.Time, int64 or []string; nil is null
}

func stringField[T any](get func(T) string) field[T] {
	return field[T]{kindString, func(row T) any {
		if s := get(row); s != "" {
			return s
		}
		return nil
	}}
}

func guidField[T any](get func(T) string) field[T] {
	f := stringField(get)
	return field[T]{kindGUID, f.get}
}

func timeField[T any](get func(T) time.Time) field[T] {
	return field[T]{kindTime, func(row T) any {
		if t := get(row); !t.IsZero() {
			return t
		}
		return nil
	}}
}

// kind is a type of the expression language.
type kind string

const (
	kindString  kind = "Edm.String"
	kindGUID    kind = "Edm.Guid"
	kindTime    kind = "Edm.DateTimeOffset"
	kindInt     kind = "Edm.Int64"
	kindBool    kind = "Edm.Boolean"
	kindStrings kind = "Collection(Edm.String)"
	kindNull    kind = "null"
)

func odataError(format string, args ...any) *apiError {
	return refuse(http.StatusBadRequest, "ODataError", "The query specified in the URI is not valid. "+format, args...)
}

// predicate and value also see the element that the variable of any() stands for.
type (
	predicate[T any] func(row T, element string) bool
	value[T any]     struct {
		kind kind
		get  func(row T, element string) any
	}
)

// maxDepth bounds nesting, and with it the stack.
const maxDepth = 100

type parser[T any] struct {
	src      string
	tokens   []lexeme
	schema   schema[T]
	depth    int
	variable string // of the any() around, or empty
}

// parseFilter compiles a $filter. Its errors are the vendor's ODataError.
func parseFilter[T any](src string, over schema[T]) (func(T) bool, error) {
	if strings.TrimSpace(src) == "" {
		return nil, odataError("The value for OData query '$filter' cannot be empty.")
	}
	tokens, err := lex(src)
	if err != nil {
		return nil, err
	}
	if over.under != "" {
		tokens = flatten(tokens, over.under)
	}
	p := &parser[T]{src: src, tokens: tokens, schema: over}
	match, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek().kind != lexEnd {
		return nil, p.unexpected()
	}
	return func(row T) bool { return match(row, "") }, nil
}

func (p *parser[T]) peek() lexeme { return p.tokens[0] }

func (p *parser[T]) next() lexeme {
	t := p.tokens[0]
	if t.kind != lexEnd {
		p.tokens = p.tokens[1:]
	}
	return t
}

// take consumes the next lexeme if it is that word or sign.
func (p *parser[T]) take(text string) bool {
	if t := p.peek(); (t.kind != lexWord && t.kind != lexSign) || t.text != text {
		return false
	}
	p.next()
	return true
}

func (p *parser[T]) expect(text string) error {
	if !p.take(text) {
		return p.unexpected()
	}
	return nil
}

func (p *parser[T]) unexpected() error {
	return odataError("Syntax error at position %d in '%s'.", p.peek().at, p.src)
}

func (p *parser[T]) or() (predicate[T], error) {
	if p.depth++; p.depth > maxDepth {
		return nil, odataError("The depth limit for expressions, %d, has been exceeded.", maxDepth)
	}
	defer func() { p.depth-- }()
	left, err := p.and()
	for err == nil && p.take("or") {
		var right predicate[T]
		if right, err = p.and(); err == nil {
			l := left
			left = func(row T, e string) bool { return l(row, e) || right(row, e) }
		}
	}
	return left, err
}

func (p *parser[T]) and() (predicate[T], error) {
	left, err := p.unary()
	for err == nil && p.take("and") {
		var right predicate[T]
		if right, err = p.unary(); err == nil {
			l := left
			left = func(row T, e string) bool { return l(row, e) && right(row, e) }
		}
	}
	return left, err
}

func (p *parser[T]) unary() (predicate[T], error) {
	negate := false
	for p.take("not") {
		negate = !negate
		if t := p.peek(); t.text != "not" && !p.group() {
			return nil, odataError("A unary operator with an incompatible type was detected for operator kind 'Not' at position %d in '%s'.", t.at, p.src)
		}
	}
	parse := p.comparison
	if p.group() {
		parse = p.grouped
	}
	match, err := parse()
	if err != nil || !negate {
		return match, err
	}
	return func(row T, e string) bool { return !match(row, e) }, nil
}

// group reports whether a whole condition follows, not the left side of one.
func (p *parser[T]) group() bool {
	t := p.peek()
	if t.kind == lexSign {
		return t.text == "("
	}
	follows := p.tokens[min(1, len(p.tokens)-1)]
	return t.kind == lexWord && follows.kind == lexSign && (follows.text == "(" || follows.text == "/")
}

func (p *parser[T]) grouped() (predicate[T], error) {
	if p.take("(") {
		match, err := p.or()
		if err == nil {
			err = p.expect(")")
		}
		return match, err
	}
	name := p.next()
	if p.take("/") {
		return p.any(name)
	}
	p.next() // the parenthesis group saw
	return p.function(name)
}

var functions = map[string]func(s, part string) bool{
	"startswith": strings.HasPrefix, "endswith": strings.HasSuffix, "contains": strings.Contains,
}

func (p *parser[T]) function(name lexeme) (predicate[T], error) {
	f, ok := functions[name.text]
	if !ok {
		return nil, odataError("An unknown function with name '%s' was found.", name.text)
	}
	s, err := p.value()
	if err != nil {
		return nil, err
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	part, err := p.value()
	if err != nil {
		return nil, err
	}
	if s.kind != kindString || part.kind != kindString {
		return nil, odataError("No function signature for the function with name '%s' matches the specified arguments: %s, %s.", name.text, s.kind, part.kind)
	}
	return func(row T, e string) bool {
		a, okA := s.get(row, e).(string)
		b, okB := part.get(row, e).(string)
		return okA && okB && f(a, b)
	}, p.expect(")")
}

// any reads what follows "machineTags/": any(tag: condition on tag).
func (p *parser[T]) any(name lexeme) (predicate[T], error) {
	list, err := p.property(name)
	if err != nil {
		return nil, err
	}
	if list.kind != kindStrings || p.variable != "" {
		return nil, odataError("Any can only be applied to a collection, which '%s' is not.", name.text)
	}
	for _, sign := range []string{"any", "("} {
		if err := p.expect(sign); err != nil {
			return nil, err
		}
	}
	variable := p.next()
	if variable.kind != lexWord {
		return nil, odataError("Syntax error at position %d in '%s'.", variable.at, p.src)
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	p.variable = variable.text
	defer func() { p.variable = "" }()
	match, err := p.or()
	if err != nil {
		return nil, err
	}
	return func(row T, _ string) bool {
		elements, _ := list.get(row, "").([]string)
		for _, e := range elements {
			if match(row, e) {
				return true
			}
		}
		return false
	}, p.expect(")")
}

// property resolves a name: the variable of any(), or a field of the row.
func (p *parser[T]) property(name lexeme) (value[T], error) {
	if p.variable != "" && name.text == p.variable {
		return value[T]{kindString, func(_ T, e string) any { return e }}, nil
	}
	f, ok := p.schema.fields[strings.ToLower(name.text)]
	if !ok {
		return value[T]{}, odataError("Could not find a property named '%s' on type '%s'.", name.text, p.schema.typ)
	}
	return value[T]{f.kind, func(row T, _ string) any { return f.get(row) }}, nil
}

// value reads a property or a literal.
func (p *parser[T]) value() (value[T], error) {
	t := p.next()
	constant := func(k kind, v any) (value[T], error) {
		return value[T]{k, func(T, string) any { return v }}, nil
	}
	switch {
	case t.kind == lexString:
		return constant(kindString, t.text)
	case t.kind != lexWord:
		return value[T]{}, odataError("Syntax error at position %d in '%s'.", t.at, p.src)
	case t.text == "null":
		return constant(kindNull, nil)
	case t.text == "true", t.text == "false":
		return constant(kindBool, t.text == "true")
	case isGUID(t.text):
		return constant(kindGUID, t.text)
	case t.text[0] == '-' || isDigit(t.text[0]):
		if n, err := strconv.ParseInt(t.text, 10, 64); err == nil {
			return constant(kindInt, n)
		}
		if at, ok := parseTime(t.text); ok {
			return constant(kindTime, at)
		}
		return value[T]{}, odataError("Unrecognized literal '%s' at position %d in '%s'.", t.text, t.at, p.src)
	}
	return p.property(t)
}
