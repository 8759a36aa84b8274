package edr_test

import (
	"testing"

	"github.com/jurymast/jurymast/internal/readme"
)

func TestReadmeShowsTheExamples(t *testing.T) {
	readme.Shows(t, "../../README.md", "example_test.go", "func containFromEnv(")
	readme.Shows(t, "../../README.md", "example_run_test.go", "func runDayAndNight(")
}
