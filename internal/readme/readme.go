// Package readme holds README.md against the functions whose bodies it shows.
package readme

import (
	"os"
	"strings"
	"testing"
)

// Shows fails the test unless the README in path has, as a block of Go, the body of a
// function that returns an error: the source's text from begin, such as "func run(".
func Shows(t *testing.T, path, source, begin string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(program), begin)
	_, body, _ = strings.Cut(body, ") error {\n")
	body, _, found := strings.Cut(body, "\n}\n")
	if !found {
		t.Fatalf("%s: %s is gone", source, begin)
	}
	body = strings.ReplaceAll("\n"+body, "\n\t", "\n")
	if !strings.Contains(string(text), "```go"+body+"\n```") {
		t.Errorf("the README does not show:\n%s", body)
	}
}
