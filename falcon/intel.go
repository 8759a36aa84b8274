package falcon

import "github.com/jurymast/jurymast/internal/lenient"

// Intel is Falcon Intelligence. It only reads. Scopes: Indicators, Actors, Reports
// and Rules (Falcon Intelligence) read, each for what its name says.
//
// Dates are numbers to its filters, seconds since 1970: those of this day are
// AtLeast("last_updated", now.Add(-24*time.Hour).Unix()).
type Intel struct{ c *Client }

// Of actors and reports: the rows a page, which are large in full, and an order in
// which new ones do not move the others.
const (
	usualDocuments = 500
	mostDocuments  = 5000
	usualOrder     = "created_date|asc"
)

// collection is the name of the fields that an actor or a report comes with.
func collection(full bool) []string {
	if full {
		return []string{"__full__"}
	}
	return []string{"__basic__"}
}

// values are what a list of entities, such as {"slug":"us","value":"United States"},
// is called.
func values(o lenient.Object, name string) (out []string) {
	for _, e := range o.Objects(name) {
		if v := entity(e); v != "" {
			out = append(out, v)
		}
	}
	return out
}

func entity(e lenient.Object) string {
	for _, field := range []string{"value", "name", "slug"} {
		if v := e.Str(field); v != "" {
			return v
		}
	}
	return ""
}
