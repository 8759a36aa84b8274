package falcon

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// PolicyInfo is what policies of all kinds have. Fields that Falcon left out, or
// filled with something unexpected, are zero.
type PolicyInfo struct {
	ID          string
	CID         string
	Name        string
	Description string
	Platform    string // Windows, Mac or Linux; all for content updates
	Enabled     bool
	Groups      []PolicyGroup // whose hosts take the policy
	CreatedBy   string
	Created     time.Time
	ModifiedBy  string
	Modified    time.Time
}

// PolicyGroup is a host group, as a policy names it.
type PolicyGroup struct {
	ID   string
	Name string
}

// Default reports whether this is the policy of the hosts that no other one takes.
// It has no groups.
func (p PolicyInfo) Default() bool { return p.Name == "platform_default" }

// HasGroup reports whether the policy has a host group of this id.
func (p PolicyInfo) HasGroup(id string) bool {
	for _, g := range p.Groups {
		if g.ID == id {
			return true
		}
	}
	return false
}

func parsePolicyInfo(o lenient.Object) (PolicyInfo, error) {
	p := PolicyInfo{
		ID: o.Str("id"), CID: o.Str("cid"), Name: o.Str("name"), Description: o.Str("description"), Platform: o.Str("platform_name"),
		Enabled: o.Str("enabled") == "true", CreatedBy: o.Str("created_by"), Created: o.Time("created_timestamp"),
		ModifiedBy: o.Str("modified_by"), Modified: o.Time("modified_timestamp"),
	}
	for _, g := range o.Objects("groups") {
		if id := g.Str("id"); id != "" {
			p.Groups = append(p.Groups, PolicyGroup{ID: id, Name: g.Str("name")})
		}
	}
	if p.ID == "" {
		return p, errors.New("no id")
	}
	return p, nil
}

// PolicyQuery selects policies. The zero query is all of them.
type PolicyQuery struct {
	// Filter may name platform_name, enabled, created_timestamp, modified_timestamp
	// and precedence. To other fields, name among them, Falcon answers with an empty
	// list and no error.
	Filter FQL
	// Sort is name, created_by, created_timestamp, enabled, modified_by,
	// modified_timestamp or precedence, with .asc or .desc.
	Sort   string
	Limit  int    // rows a page, at most 5,000; default 5,000
	Cursor string // of an earlier List of the same query
}

// policySort leaves platform_name out, which is in Falcon's specification and
// answers 500.
var policySort = regexp.MustCompile(`^(name|created_by|created_timestamp|enabled|modified_by|modified_timestamp|precedence)\.(asc|desc)$`)

const maxPolicies = 5000 // a page

// check tells what Falcon would refuse, and how many rows a page has.
func (q *PolicyQuery) check(name string) (rowsAPage int, err error) {
	rowsAPage, err = pageSize(name, "PolicyQuery.Limit", q.Limit, maxPolicies, maxPolicies)
	if q.Sort != "" && !policySort.MatchString(q.Sort) {
		err = errors.Join(err, resilience.Misusef("falcon %s: PolicyQuery.Sort %q: want name, created_by, created_timestamp, enabled, modified_by, "+
			"modified_timestamp or precedence, with .asc or .desc", name, q.Sort))
	}
	return rowsAPage, errors.Join(err, q.Filter.Err())
}

// policyIDs is how many policies one call reads; they are all in the URL.
const policyIDs = 100

// apart reads ids that Falcon answers 404 to in halves: it may mean that one of
// them is not known, and the others must not be lost with it.
func (get getter[T]) apart(ctx context.Context, ids []string) (paging.Page[T], error) {
	out, err := get(ctx, ids)
	if api, ok := errors.AsType[*APIError](err); !ok || api.Status != http.StatusNotFound || len(ids) < 2 {
		return out, err
	}
	var all paging.Page[T]
	for _, half := range [][]string{ids[:len(ids)/2], ids[len(ids)/2:]} {
		part, err := get.apart(ctx, half)
		if api, ok := errors.AsType[*APIError](err); err != nil && (!ok || api.Status != http.StatusNotFound) {
			return all, err
		}
		all.Rows = append(all.Rows, part.Rows...)
	}
	return all, nil
}

// whole is a list that comes in one page. The rows that could not be read are in
// the error, beside the others.
func whole[T any](p paging.Page[T], err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	var out []T
	var unread []error
	for _, r := range p.Rows {
		if r.Err != nil {
			unread = append(unread, r.Err)
		} else {
			out = append(out, r.Value)
		}
	}
	return out, errors.Join(unread...)
}

func checkPolicyID(operation, id string) error {
	if strings.TrimSpace(id) == "" {
		return resilience.Misusef("falcon %s: the policy's id is empty: pass PolicyInfo.ID", operation)
	}
	return nil
}
