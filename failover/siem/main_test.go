package siem

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// long runs what takes minutes with the race detector; .ci/nightly sets it.
var long = flag.Bool("long", false, "run every case of the tests that live through days")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
