package conformance

import (
	"os"
	"strings"
	"testing"
)

// studied are the versions whose hazards the tables are about: the SDKs', and
// those of what they are made of. Another version may have fixed a hazard, or
// have new ones: read what it changed, run with -update, look at what became of
// README.md, and only then change the version here.
var studied = map[string]string{
	"github.com/crowdstrike/gofalcon": "v0.22.0",
	"github.com/go-openapi/runtime":   "v0.27.1", // A7, A10, all of C
	"github.com/cenkalti/backoff/v5":  "v5.0.3",  // B1 to B9
	"golang.org/x/oauth2":             "v0.30.0", // A1 to A6, A9

	"github.com/Azure/azure-sdk-for-go/sdk/azcore":               "v1.24.0",
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity":           "v1.15.0",
	"github.com/Azure/azure-sdk-for-go/sdk/internal":             "v1.13.0", // T1, T2, T4, T5
	"github.com/AzureAD/microsoft-authentication-library-for-go": "v1.10.1",
}

// The test binary carries no list of modules, and go.mod is as good: in the main
// module it names the versions that are built.
func TestTheVersionsAreThoseStudied(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	built := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 {
			built[f[0]] = f[1]
		}
	}
	for module, version := range studied {
		if built[module] != version {
			t.Errorf("%s is %q, the tables are about %s", module, built[module], version)
		}
	}
}
