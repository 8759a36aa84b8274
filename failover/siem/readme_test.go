package siem_test

import (
	"testing"

	"github.com/jurymast/jurymast/internal/readme"
)

func TestReadmeShowsTheExample(t *testing.T) {
	readme.Shows(t, "../../README.md", "example_test.go", "func falconToSentinel(")
}
