package azure

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/internal/lenient"
)

// Whatever the scope, the path leads to a scope or nowhere.
func FuzzScope(f *testing.F) {
	for _, s := range []string{
		"1-2", "/subscriptions/a", "/subscriptions/a/resourceGroups/b", "subscriptions/a/", "/subscriptions/a/../b", "/subscriptions/%2e%2e", "//", "?x=1#y",
		"/subscriptions/a/resourceGroups/b/providers/c/d/e", "/providers/Microsoft.Management/managementGroups/m", "https://evil.test/x",
	} {
		f.Add(s, uint8(anywhere))
	}
	f.Fuzz(func(t *testing.T, scope string, l uint8) {
		path, err := scopePath("fuzz", scope, level(l%4))
		if err != nil {
			return
		}
		u, err := url.Parse("https://host" + path)
		if err != nil || u.Host != "host" || u.RawQuery != "" || u.Fragment != "" || u.EscapedPath() != path {
			t.Fatalf("%q gave %q: %v", scope, path, err)
		}
		lower := strings.ToLower(path)
		if !strings.HasPrefix(lower, "/subscriptions/") && !strings.HasPrefix(lower, "/providers/microsoft.management/managementgroups/") {
			t.Errorf("%q gave %q", scope, path)
		}
		for s := range strings.SplitSeq(path[1:], "/") {
			if s == "" || s == "." || s == ".." {
				t.Errorf("%q gave %q", scope, path)
			}
		}
	})
}

// Whatever comes back is a row or an error, never a panic.
func FuzzCloudRow(f *testing.F) {
	for _, s := range []string{
		`{"id":"a","properties":{"resourceIdentifiers":[{"type":"AzureResource"}],"extendedProperties":{"a":1},"entities":[1]}}`,
		`{"id":"/x/providers/Microsoft.ResourceHealth/availabilityStatuses/current","properties":{"availabilityState":"Available"}}`,
		`{"id":"a","properties":{"score":{"current":1,"max":2},"impact":[{"impactedRegions":[{}]}],"extensions":[{}]}}`, `{"properties":7}`, `null`, `[]`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		idOf(t, body, parseCloudAlert, func(v CloudAlert) string { return v.ID })
		idOf(t, body, parseCloudScore, func(v CloudScore) string { return v.ID })
		idOf(t, body, parseAssessment, func(v Assessment) string { return v.ID })
		idOf(t, body, parseCloudPlan, func(v CloudPlan) string { return v.ID })
		idOf(t, body, parseAvailability, func(v Availability) string { return v.ResourceID })
		idOf(t, body, parseEvent, func(v HealthEvent) string { return v.ID })
	})
}

func idOf[T any](t *testing.T, body string, parse func(lenient.Object) (T, error), id func(T) string) {
	row := readRow("fuzz", json.RawMessage(body), parse)
	if (row.Err == nil) != (id(row.Value) != "") {
		t.Errorf("%s gave %+v, %v", body, row.Value, row.Err)
	}
}

// Azure's services write one id in many ways; others are not to be taken for it.
func TestResourceKeyJoins(t *testing.T) {
	const id = "/subscriptions/A/resourceGroups/Web/providers/Microsoft.Compute/virtualMachines/VM1"
	for _, same := range []string{strings.ToLower(id), strings.ToUpper(id) + "/", " " + id[1:]} {
		if ResourceKey(same) != ResourceKey(id) {
			t.Errorf("%q is %q", same, ResourceKey(same))
		}
	}
	if ResourceKey(id+"0") == ResourceKey(id) {
		t.Error("VM10 is VM1")
	}
}

// Letters that are longer or shorter in the other case must not move the cut.
func TestParentOfAnyLetters(t *testing.T) {
	for _, id := range []string{"/subscriptions/a", "/x/" + strings.Repeat("\u0130", 50), "/x/" + strings.Repeat("\u212a", 50), "/p/providers/microsoft.security/ASSESSMENTS/n"} {
		if got := parent(id+"/providers/MICROSOFT.security/assessments/n", "Microsoft.Security", "assessments"); got != id {
			t.Errorf("%q, want %q", got, id)
		}
	}
	for _, id := range []string{"", "/", "/providers/Microsoft.Security", "/x/providers/Microsoft.Security/tasks/n", "/x/providers/Microsoft.SecurityInsights/assessments/n"} {
		if got := parent(id, "Microsoft.Security", "assessments"); got != "" {
			t.Errorf("%q is under %q", id, got)
		}
	}
}
