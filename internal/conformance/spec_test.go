package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-openapi/loads"
	"github.com/go-openapi/spec"
	"github.com/go-openapi/strfmt"
	"github.com/go-openapi/validate"

	"github.com/jurymast/jurymast/falcon/falcontest"
)

// specification is CrowdStrike's own swagger of that day. It is not ours to ship
// and lies beside the checkout, where it lies at all.
const specification = "../../../shared/data/falcon-swagger-2023-05-30.json"

// specExceptions are where the simulator knowingly differs from the specification.
var specExceptions = exceptions{
	{call: "GET /sensors/entities/datafeed/v2 400", says: "resources in body is required", because: noResources},
	{"GET /iocs/", "status 400 is not promised", younger},
}

const younger = "gofalcon has a type for it, which is younger than the specification"

// The simulator's answers are what CrowdStrike's specification promises. Of
// operations that it does not have yet the models of a newer gofalcon are the judge.
func TestSimulatedFalconFitsTheSpecification(t *testing.T) {
	if _, err := os.Stat(specification); err != nil {
		t.Skipf("no specification: %v", err)
	}
	doc, err := loads.Spec(specification)
	if err != nil {
		t.Fatal(err)
	}
	excepted, compared := specExceptions.open(), 0
	playCalls(t, func(t *testing.T, call sdkCall, _ payload, a answer) {
		op := described(doc, a)
		if op == nil {
			t.Logf("%s: the specification does not have it", call.name)
			return
		}
		compared++
		for _, complaint := range against(doc, op, a) {
			excepted.judge(t, call.name, complaint)
		}
	}, func(t *testing.T, _ *falcontest.Server) {
		excepted.close(t)
		if compared == 0 {
			t.Error("the specification has none of the operations")
		}
	})
}

// described finds the operation that answered, nil if the specification has none.
func described(doc *loads.Document, a answer) *spec.Operation {
	for path, item := range doc.Spec().Paths.Paths {
		if !matches(path, a.path) {
			continue
		}
		op := map[string]*spec.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
			http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		}[a.method]
		if op != nil {
			return op
		}
	}
	return nil
}

// matches reports whether a path is one of a pattern, whose parts in braces may be
// anything.
func matches(pattern, path string) bool {
	want, is := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(is) {
		return false
	}
	for i := range want {
		if want[i] != is[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}

// against holds an answer against what the operation promises, and returns what
// does not fit.
func against(doc *loads.Document, op *spec.Operation, a answer) (complaints []string) {
	promised, ok := op.Responses.StatusCodeResponses[a.status]
	if !ok {
		return []string{fmt.Sprintf("status %d is not promised", a.status)}
	}
	if promised.Schema == nil || a.file {
		return nil
	}
	var body any
	digits := json.NewDecoder(bytes.NewReader(a.body))
	digits.UseNumber()
	if err := digits.Decode(&body); err != nil {
		return []string{err.Error()}
	}
	for _, err := range validate.NewSchemaValidator(promised.Schema, doc.Spec(), "", strfmt.Default).Validate(body).Errors {
		complaints = append(complaints, err.Error())
	}
	return complaints
}

// everyOperationWasPlayed holds the requests against falcontest's own table: each
// of its operations must have been asked for, and must have done something.
func everyOperationWasPlayed(t *testing.T, srv *falcontest.Server) {
	known := simulated(t)
	if len(known) == 0 {
		t.Error("no operations found in falcontest")
	}
	for _, pattern := range known {
		played := false
		for _, r := range srv.Requests() {
			played = played || r.Status/100 == 2 && matches(pattern, r.Method+" "+r.Path)
		}
		if !played {
			t.Errorf("falcontest serves %s, and no sdkCalls play it", pattern)
		}
	}
}

// simulated reads the keys of falcontest's table of operations from its source.
func simulated(t *testing.T) (patterns []string) {
	files, err := filepath.Glob("../../falcon/falcontest/*.go")
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]ast.Expr{}
	var table *ast.CompositeLit
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			decl, ok := n.(*ast.ValueSpec)
			for i := 0; ok && i < len(decl.Values); i++ {
				constants[decl.Names[i].Name] = decl.Values[i]
				if decl.Names[i].Name == "operations" {
					table, _ = decl.Values[i].(*ast.CompositeLit)
				}
			}
			_, isFunc := n.(*ast.FuncDecl)
			return !isFunc
		})
	}
	if table == nil {
		t.Fatal("falcontest has no table of operations any more")
	}
	var text func(ast.Expr) string
	text = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, _ := strconv.Unquote(e.Value)
			return s
		case *ast.BinaryExpr:
			return text(e.X) + text(e.Y)
		case *ast.Ident:
			return text(constants[e.Name])
		}
		t.Errorf("an operation's name is more than texts and constants: %T", e)
		return ""
	}
	for _, e := range table.Elts {
		patterns = append(patterns, text(e.(*ast.KeyValueExpr).Key))
	}
	return patterns
}
