package azure

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// Defender is the Microsoft Defender for Endpoint API. App permissions:
// Machine.Read.All; Machine.Isolate to isolate and to release.
type Defender struct {
	c        *Client
	pipeline runtime.Pipeline
	quotas   map[string]*resilience.Quota // by operation
}

// The documented limits of each Defender operation (facts/microsoft.md 2.2).
var defenderQuota = []resilience.Window{{Calls: 100, Per: time.Minute}, {Calls: 1500, Per: time.Hour}}

// The operations, as they appear in errors, spans and metrics.
const (
	opMachines  = "defender.machines.list"
	opMachine   = "defender.machines.get"
	opIsolate   = "defender.isolate"
	opUnisolate = "defender.unisolate"
	opActions   = "defender.machineactions.list"
	opAction    = "defender.machineactions.get"
)

func newDefender(c *Client) (*Defender, error) {
	d := &Defender{c: c, quotas: map[string]*resilience.Quota{}}
	var err error
	if d.pipeline, err = c.pipeline(c.place.audience); err != nil {
		return nil, err
	}
	for _, op := range []string{opMachines, opMachine, opIsolate, opUnisolate, opActions, opAction} {
		if d.quotas[op], err = c.cfg.Quotas.Get(op, defenderQuota...); err != nil {
			return nil, fmt.Errorf("azure: Config.Quotas: %w", err)
		}
	}
	return d, nil
}

// Name is the product and, if Config.DefenderURL is a regional host, the region:
// "defender/eu".
func (d *Defender) Name() string {
	host := strings.TrimPrefix(d.c.place.defender, "https://")
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
	return list(d, opMachines, "/api/machines", q, parseMachine)
}

// Machine returns one machine, or an error that matches ErrNotFound.
func (d *Defender) Machine(ctx context.Context, id string) (Machine, error) {
	path, err := idPath(opMachine, "/api/machines/", id)
	if err != nil {
		return Machine{}, err
	}
	return get(ctx, d, opMachine, path, parseMachine)
}

// Actions lists machine actions, the newest first.
func (d *Defender) Actions(q Query) *List[MachineAction] {
	return list(d, opActions, "/api/machineactions", q, parseAction)
}

// Action returns one machine action, or an error that matches ErrNotFound.
func (d *Defender) Action(ctx context.Context, id string) (MachineAction, error) {
	path, err := idPath(opAction, "/api/machineactions/", id)
	if err != nil {
		return MachineAction{}, err
	}
	return get(ctx, d, opAction, path, parseAction)
}

func (d *Defender) call(op string, kind resilience.Kind) resilience.Call {
	return resilience.Call{Name: op, Kind: kind, Quota: d.quotas[op], Reserve: kind != resilience.Read}
}

func (d *Defender) url(path string, query url.Values) string {
	u := d.c.place.defender + path
	if len(query) > 0 {
		u += "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
	}
	return u
}

func get[T any](ctx context.Context, d *Defender, op, path string, parse func(lenient.Object) (T, error)) (T, error) {
	var zero T
	o, err := send[lenient.Object](ctx, d.c, d.pipeline, request{call: d.call(op, resilience.Read), method: http.MethodGet, url: d.url(path, nil)})
	if err != nil {
		return zero, err
	}
	return parse(o)
}

// list pages by @odata.nextLink, which the pinned transport keeps on our hosts.
func list[T any](d *Defender, op, path string, q Query, parse func(lenient.Object) (T, error)) *List[T] {
	query := url.Values{}
	if q.Filter != "" {
		query.Set("$filter", string(q.Filter))
	}
	if q.Top > 0 {
		query.Set("$top", strconv.Itoa(q.Top))
	}
	return paging.New("azure "+op, q.Cursor, func(ctx context.Context, link string) (paging.Page[T], error) {
		if link == "" {
			link = d.url(path, query)
		}
		env, err := send[odataPage](ctx, d.c, d.pipeline, request{call: d.call(op, resilience.Read), method: http.MethodGet, url: link})
		if err != nil {
			return paging.Page[T]{}, emptyIfNone(op, err)
		}
		p := paging.Page[T]{Next: env.NextLink}
		for _, raw := range env.Value {
			p.Rows = append(p.Rows, readRow(op, raw, parse))
		}
		if q.Top > 0 && len(p.Rows) >= q.Top {
			p.Next = "" // a link after the last wanted row is not for us
		}
		return p, nil
	})
}

// emptyIfNone: the machines list answers 404 when there are no recent machines
// (facts/microsoft.md 2.2): an empty list, not an error.
func emptyIfNone(op string, err error) error {
	if f := resilience.Of(err); op == opMachines && f.Class == resilience.NotFound {
		return nil
	}
	return err
}

func idPath(op, path, id string) (string, error) {
	if strings.TrimSpace(id) == "" {
		return "", resilience.Misusef("azure %s: the id is empty: pass one, as in Machine.ID or MachineAction.ID", op)
	}
	return path + url.PathEscape(id), nil
}

// OData is a filter of a Defender list. Build it with Equals and And: a value
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
