package conformance

import (
	"testing"

	"go.uber.org/goleak"
)

// T5 leaves a goroutine behind for ever: that is the hazard.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Azure/azure-sdk-for-go/sdk/internal/temporal.(*Resource[...]).Get"))
}
