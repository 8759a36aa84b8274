package edr_test

import (
	"os"
	"strings"
	"testing"
)

// The README's code is code that compiles and, as far as it can here, runs.
func TestReadmeShowsTheExamples(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, function := range map[string]string{"example_test.go": "func containFromEnv(", "example_run_test.go": "func runDayAndNight("} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(source), function)
		_, body, _ = strings.Cut(body, ") error {\n")
		body, _, found := strings.Cut(body, "\n}\n")
		if !found {
			t.Fatalf("%s: %s is gone", file, function)
		}
		body = strings.ReplaceAll("\n"+body, "\n\t", "\n")
		if !strings.Contains(string(readme), "```go"+body+"\n```") {
			t.Errorf("the README does not show:\n%s", body)
		}
	}
}
