package falcon

import (
	"cmp"
	"context"
	"errors"

	"github.com/jurymast/jurymast/internal/lenient"
)

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

// documentQuery is a query for actors, or for reports.
type documentQuery struct {
	Filter FQL
	Search string
	Sort   string
	Full   bool
	Limit  int
	Cursor string
}

// documentPage is what one call asks for.
type documentPage struct {
	offset, limit        int64
	filter, sort, search *string
	fields               []string
}

// documents lists actors or reports; write makes the call for a page.
func documents[T any](c *Client, name, field string, q documentQuery, r rows[T], write func(context.Context, documentPage) *capture) *List[T] {
	limit, bad := pageSize(name, field, q.Limit, usualDocuments, mostDocuments)
	return byOffset(c, name, q.Cursor, limit, r, func(ctx context.Context, offset, limit int64) (*capture, error) {
		if err := errors.Join(bad, q.Filter.Err()); err != nil {
			return nil, err
		}
		p := documentPage{offset: offset, limit: limit, fields: collection(q.Full)}
		setIf(&p.filter, q.Filter.String())
		setIf(&p.sort, cmp.Or(q.Sort, usualOrder))
		setIf(&p.search, q.Search)
		return write(ctx, p), nil
	})
}

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
