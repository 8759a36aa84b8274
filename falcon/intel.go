package falcon

import (
	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/resilience"
)

// Intel is Falcon Intelligence. It only reads. Scopes: Indicators, Actors, Reports
// and Rules (Falcon Intelligence) read, each for what its name says.
//
// Dates are numbers to its filters, seconds since 1970: those of this day are
// AtLeast("last_updated", now.Add(-24*time.Hour).Unix()).
type Intel struct{ c *Client }

// pageSize is how many rows a page has, given what a query asks for.
func pageSize(name, field string, asked, usual, most int) (int, error) {
	switch {
	case asked == 0:
		return usual, nil
	case asked < 0 || asked > most:
		return 0, resilience.Misusef("falcon %s: %s is %d: want 1 to %d, or 0 for %d", name, field, asked, most, usual)
	}
	return asked, nil
}

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
