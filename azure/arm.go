package azure

import (
	"net/url"
	"strings"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// Azure Resource Manager is the door to all of Azure's resource providers, and one
// failure domain: its name in errors and telemetry is "azure.management". What it
// throttles by is known from memory only (buckets of each principal and
// subscription: facts/microsoft.md 2.4), so there is no quota; a 429 is waited for.

// newManagement makes the service that all resource providers share.
func newManagement(c *Client) (*service, error) {
	return c.newService("management", c.place.management)
}

// versioned is the same service, asked for one version of its API.
func (s *service) versioned(version string) *service {
	v := *s
	v.version = version
	return &v
}

// armPath is a path made of segments, kinds and names in turn. A name that is
// empty, or that would lead to another path, is refused.
func armPath(op string, segments ...string) (string, error) {
	var path strings.Builder
	kind := ""
	for _, s := range segments {
		if strings.TrimSpace(s) == "" || s == "." || s == ".." {
			return "", resilience.Misusef("azure %s: %q is no name of %s", op, s, kind)
		}
		path.WriteString("/" + url.PathEscape(s))
		kind = s
	}
	return path.String(), nil
}

// armList lists what a resource provider has under a path, page by page along
// nextLink.
func armList[T any](s *service, op, path string, query url.Values, cursor string, parse func(lenient.Object) (T, error)) *List[T] {
	return pages(s, op, s.url(path, query), cursor, 0, parse)
}
