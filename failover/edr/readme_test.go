package edr_test

import (
	"os"
	"strings"
	"testing"
)

// The README's code is code that compiles: it is the function containFromEnv.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "func containFromEnv(ctx context.Context, hostname string) error {\n")
	body, _, found := strings.Cut(body, "\n}\n")
	if !found {
		t.Fatal("containFromEnv is gone")
	}
	body = strings.ReplaceAll("\n"+body, "\n\t", "\n")
	if !strings.Contains(string(readme), "```go"+body+"\n```") {
		t.Errorf("the README does not show:\n%s", body)
	}
}
