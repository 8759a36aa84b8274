package azure

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// Defender is the Microsoft Defender for Endpoint API. App permissions:
// Machine.Read.All; those of the other operations stand at them.
type Defender struct{ *service }

// The operations, as they appear in errors, spans and metrics.
const (
	opMachines         = "defender.machines.list"
	opMachine          = "defender.machines.get"
	opFindByIP         = "defender.machines.findbyip"
	opIsolate          = "defender.isolate"
	opUnisolate        = "defender.unisolate"
	opScan             = "defender.scan"
	opCollect          = "defender.collectpackage"
	opPackageURI       = "defender.packageuri"
	opActions          = "defender.machineactions.list"
	opAction           = "defender.machineactions.get"
	opAlerts           = "defender.alerts.list"
	opAlertUpdate      = "defender.alerts.update"
	opAlertsUpdate     = "defender.alerts.batchupdate"
	opIndicators       = "defender.indicators.list"
	opIndicatorSubmit  = "defender.indicators.submit"
	opIndicatorImport  = "defender.indicators.import"
	opIndicatorDelete  = "defender.indicators.delete"
	opIndicatorsDelete = "defender.indicators.batchdelete"
)

// newDefender knows the documented limits of each operation (facts/microsoft.md 2.2).
func newDefender(c *Client) (*Defender, error) {
	s, err := c.newService("defender", c.place.defender)
	if err != nil {
		return nil, err
	}
	s.sunsets = defenderSunsets
	per := func(minute, hour int) []resilience.Window {
		return []resilience.Window{{Calls: minute, Per: time.Minute}, {Calls: hour, Per: time.Hour}}
	}
	return &Defender{s}, errors.Join(
		s.limit(per(100, 1500), opMachines, opMachine, opFindByIP, opIsolate, opUnisolate, opScan, opCollect, opActions, opAction,
			opAlerts, opAlertUpdate, opIndicators, opIndicatorSubmit, opIndicatorDelete),
		s.limit(per(2, 120), opPackageURI),
		s.limit(per(10, 500), opAlertsUpdate),
		s.limit(per(30, 1500), opIndicatorImport, opIndicatorsDelete),
	)
}

// Policy is the policy that guards the API: its state says whether Defender is
// being called at all.
func (d *Defender) Policy() *resilience.Policy { return d.policy }

// Name is the product and, if Config.DefenderURL is a regional host, the region:
// "defender/eu".
func (d *Defender) Name() string {
	host := strings.TrimPrefix(d.endpoint.url, "https://")
	if region, _, ok := strings.Cut(host, ".api.security.microsoft.com"); ok {
		return "defender/" + region
	}
	return "defender"
}

// List is a result of many pages, read by All and resumed by Cursor.
type List[T any] = paging.List[T]

// RowError is a row of a list that could not be read; the list goes on after it.
type RowError = paging.RowError

// ErrCursor: a cursor that was not made by List.Cursor.
var ErrCursor = paging.ErrCursor

// Query selects rows of a Defender list. The zero query is all of them.
type Query struct {
	Filter OData  // see Equals and And
	Top    int    // stop after so many rows; 0 means all
	Cursor string // of an earlier List of the same query
}

// Machines lists machines.
func (d *Defender) Machines(q Query) *List[Machine] {
	return list(d.service, opMachines, "/api/machines", q, parseMachine)
}

// Machine returns one machine, or an error that matches ErrNotFound.
func (d *Defender) Machine(ctx context.Context, id string) (Machine, error) {
	path, err := idPath(opMachine, "/api/machines/", id)
	if err != nil {
		return Machine{}, err
	}
	return get(ctx, d.service, opMachine, path, parseMachine)
}

// Actions lists machine actions, the newest first.
func (d *Defender) Actions(q Query) *List[MachineAction] {
	return list(d.service, opActions, "/api/machineactions", q, parseAction)
}

// Action returns one machine action, or an error that matches ErrNotFound.
func (d *Defender) Action(ctx context.Context, id string) (MachineAction, error) {
	path, err := idPath(opAction, "/api/machineactions/", id)
	if err != nil {
		return MachineAction{}, err
	}
	return get(ctx, d.service, opAction, path, parseAction)
}

// get reads one row.
func get[T any](ctx context.Context, s *service, op, path string, parse func(lenient.Object) (T, error)) (T, error) {
	r := request{call: s.call(op, resilience.Read), method: http.MethodGet, url: s.url(path, nil)}
	return send(ctx, s, r, row(op, parse))
}

// row reads an answer that is one row.
func row[T any](op string, parse func(lenient.Object) (T, error)) func(*reply) (T, error) {
	return func(rep *reply) (T, error) {
		o, err := into[lenient.Object](op)(rep)
		if err == nil {
			var v T
			if v, err = parse(o); err == nil {
				return v, nil
			}
			err = rep.malformed(op, err)
		}
		var zero T
		return zero, err
	}
}

// list is a list of what a query selects.
func list[T any](s *service, op, path string, q Query, parse func(lenient.Object) (T, error)) *List[T] {
	return pages(s, op, s.url(path, q.values()), q.Cursor, q.Top, parse)
}

func (q Query) values() url.Values {
	query := url.Values{}
	if q.Filter != "" {
		query.Set("$filter", string(q.Filter))
	}
	if q.Top > 0 {
		query.Set("$top", strconv.Itoa(q.Top))
	}
	return query
}

// pages goes from page to page along the links of the answers, which the pinned
// transport keeps on our hosts; top > 0 ends it after so many rows, which may be
// those of several pages: a server's longest page may be shorter.
func pages[T any](s *service, op, first, cursor string, top int, parse func(lenient.Object) (T, error)) *List[T] {
	before := map[string]int{} // rows of the pages before that of a link, if there is a top
	return paging.New("azure "+op, cursor, func(ctx context.Context, link string) (paging.Page[T], error) {
		seen := before[link]
		r := request{call: s.call(op, resilience.Read), method: http.MethodGet, url: cmp.Or(link, first), stays: link != ""}
		env, err := send(ctx, s, r, into[odataPage](op))
		if err != nil {
			return paging.Page[T]{}, emptyIfNone(op, err)
		}
		p := paging.Page[T]{Next: cmp.Or(env.NextLink, env.ARMLink)}
		for _, raw := range env.Value {
			p.Rows = append(p.Rows, readRow(op, raw, parse))
		}
		switch {
		case top <= 0:
		case seen+len(p.Rows) >= top:
			p.Rows, p.Next = p.Rows[:top-seen], "" // a link after the last wanted row is not for us
		case p.Next != "":
			before[p.Next] = seen + len(p.Rows)
		}
		return p, nil
	})
}

// emptyIfNone: the machines list answers 404 when there are no recent machines
// (facts/microsoft.md 2.2): an empty list, not an error. That the search by IP
// address does so too is assumed.
func emptyIfNone(op string, err error) error {
	if f := resilience.Of(err); (op == opMachines || op == opFindByIP) && f.Class == resilience.NotFound {
		return nil
	}
	return err
}

func idPath(op, path, id string) (string, error) {
	if strings.TrimSpace(id) == "" || id == "." || id == ".." { // which would be another path
		return "", resilience.Misusef("azure %s: the id is %q: pass one as a list gave it", op, id)
	}
	return path + url.PathEscape(id), nil
}

// OData is a filter of a list. Build it with Equals, And and the others: a value
// with a quote in it cannot break out of the filter.
type OData string

// Equals selects rows whose field has exactly this value.
func Equals(field, value string) OData {
	return OData(field + " eq '" + strings.ReplaceAll(value, "'", "''") + "'")
}

// StartsWith selects rows whose field begins with this value.
func StartsWith(field, value string) OData {
	return OData("startswith(" + field + ",'" + strings.ReplaceAll(value, "'", "''") + "')")
}

// And selects rows that match all filters; empty ones do not count.
func And(filters ...OData) OData {
	var parts []string
	for _, f := range filters {
		if f != "" {
			parts = append(parts, string(f))
		}
	}
	return OData(strings.Join(parts, " and "))
}
