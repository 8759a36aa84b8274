package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// Hosts is Falcon's hosts service. Scopes: Hosts read; Hosts write to contain, hide and tag.
type Hosts struct{ c *Client }

// ContainmentStatus is Falcon's word for the state of a host.
type ContainmentStatus string

// Falcon's containment states.
const (
	Normal         ContainmentStatus = "normal"
	ContainPending ContainmentStatus = "containment_pending"
	Contained      ContainmentStatus = "contained"
	LiftPending    ContainmentStatus = "lift_containment_pending"
)

// Host is a device as Falcon knows it. Fields that Falcon left out, or filled
// with something unexpected, are zero; Raw has everything.
type Host struct {
	ID              string // device id, also called agent id (aid)
	CID             string
	Hostname        string
	MachineDomain   string
	Platform        string // Windows, Mac, Linux
	OSVersion       string
	AgentVersion    string
	Status          ContainmentStatus
	FirstSeen       time.Time
	LastSeen        time.Time
	LocalIP         string
	ExternalIP      string
	MACAddress      string // 02-c7-00-11-22-33
	SerialNumber    string
	InstanceID      string // of the cloud that ServiceProvider names
	ServiceProvider string
	ProductType     string // Workstation, Server, Domain Controller, Pod
	Groups          []string
	Tags            []string
	// Hidden: see Hosts.Hide.
	Hidden bool
	// ReducedFunctionality: the sensor runs and protects little (RFM).
	ReducedFunctionality bool
	Raw                  json.RawMessage
}

func parseHost(o lenient.Object, raw json.RawMessage) (Host, error) {
	h := Host{
		ID: o.Str("device_id"), CID: o.Str("cid"), Hostname: o.Str("hostname"), MachineDomain: o.Str("machine_domain"),
		Platform: o.Str("platform_name"), OSVersion: o.Str("os_version"), AgentVersion: o.Str("agent_version"),
		Status: ContainmentStatus(o.Str("status")), FirstSeen: o.Time("first_seen"), LastSeen: o.Time("last_seen"),
		LocalIP: o.Str("local_ip"), ExternalIP: o.Str("external_ip"), MACAddress: o.Str("mac_address"),
		SerialNumber: o.Str("serial_number"), InstanceID: o.Str("instance_id"), ServiceProvider: o.Str("service_provider"),
		ProductType: o.Str("product_type_desc"), Groups: o.Strs("groups"), Tags: o.Strs("tags"),
		Hidden: o.Str("host_hidden_status") == "hidden", ReducedFunctionality: o.Str("reduced_functionality_mode") == "yes", Raw: raw,
	}
	if h.ID == "" {
		return Host{}, errors.New("no device_id")
	}
	return h, nil
}

// HostQuery selects hosts. The zero query is all of them.
type HostQuery struct {
	Filter FQL    // see Equals and And
	Sort   string // such as "hostname.asc"
	Hidden bool   // hidden hosts instead of the others, see Hide
	Limit  int    // rows a page, at most 10,000; default 5,000
	Cursor string // of an earlier List of the same query
}

// Query lists full host records.
func (h *Hosts) Query(q HostQuery) *List[Host] {
	const name = "hosts.query"
	perPage, bad := pageSize(name, "HostQuery.Limit", q.Limit, 5000, 10_000)
	limit := int64(perPage)
	return paging.New("falcon "+name, q.Cursor, func(ctx context.Context, token string) (paging.Page[Host], error) {
		if err := errors.Join(bad, q.Filter.Err()); err != nil {
			return paging.Page[Host]{}, err
		}
		var filter, sort, offset *string
		setIf(&filter, q.Filter.String())
		setIf(&sort, q.Sort)
		setIf(&offset, token)
		var op capture
		if q.Hidden {
			_, _ = hosts.New(&op, nil).CombinedHiddenDevicesByFilter(&hosts.CombinedHiddenDevicesByFilterParams{
				Filter: filter, Limit: &limit, Offset: offset, Sort: sort, Context: ctx,
			})
		} else {
			_, _ = hosts.New(&op, nil).CombinedDevicesByFilter(&hosts.CombinedDevicesByFilterParams{
				Filter: filter, Limit: &limit, Offset: offset, Sort: sort, Context: ctx,
			})
		}
		return page(ctx, h.c, name, &op, hostRows, token == "", func(more pagination, _ int) string { return more.Next })
	})
}

var hostRows = rows[Host]{id: "device_id", parse: object(parseHost)}

// Get returns one host, or an error that matches ErrNotFound.
func (h *Hosts) Get(ctx context.Context, id string) (Host, error) {
	const name = "hosts.get"
	if err := checkID(name, id); err != nil {
		return Host{}, err
	}
	w, err := h.c.write(detailsOf(ctx, []string{id}).op)
	if err != nil {
		return Host{}, err
	}
	// A POST that only reads.
	return send(ctx, h.c, resilience.Call{Name: name, Kind: resilience.Read}, w, func(a *answer) (Host, error) {
		env, err := a.open(name)
		if err != nil {
			return Host{}, err
		}
		for _, raw := range env.Resources {
			if r := hostRows.read(name, raw); r.Value.ID == id || r.Err != nil {
				return r.Value, r.Err
			}
		}
		return Host{}, &APIError{
			Operation: name, Status: http.StatusNotFound, TraceID: a.traceID(),
			Messages: []Message{{Code: http.StatusNotFound, Message: "no such host", ID: id}},
		}
	})
}

// Details lists the hosts of the given ids, 5,000 a call. An id that Falcon does
// not know is a *RowError.
func (h *Hosts) Details(ids ...string) *List[Host] {
	const name = "hosts.details"
	return byIDs(name, ids, 5000, func(ctx context.Context, chunk []string) (paging.Page[Host], error) {
		return page(ctx, h.c, name, detailsOf(ctx, chunk), hostRows, false, nil)
	}, func(h Host) string { return h.ID })
}

func detailsOf(ctx context.Context, ids []string) *capture {
	p := hosts.NewPostDeviceDetailsV2ParamsWithContext(ctx)
	p.Body = &models.MsaIdsRequest{Ids: ids}
	op := &capture{}
	_, _ = hosts.New(op, nil).PostDeviceDetailsV2(p)
	return op
}

// Containment is the result of a containment action.
type Containment struct {
	ID string
	// Already: the host was in, or on its way to, the wanted state before.
	Already bool
	// Status when it was read back (only if Already), "" otherwise: Falcon acts
	// after it has answered.
	Status ContainmentStatus
}

// Contain cuts the host off the network, apart from Falcon's own cloud. It may
// safely be repeated: Falcon answers 409 to a host that is contained or about to
// be, which is read back and reported as Already. Scope: Hosts write.
func (h *Hosts) Contain(ctx context.Context, id string) (Containment, error) {
	return h.act(ctx, "hosts.contain", "contain", id, Contained, ContainPending)
}

// LiftContainment lets the host back on the network; otherwise as Contain.
func (h *Hosts) LiftContainment(ctx context.Context, id string) (Containment, error) {
	return h.act(ctx, "hosts.lift_containment", "lift_containment", id, Normal, LiftPending)
}

func (h *Hosts) act(ctx context.Context, name, action, id string, done, pending ContainmentStatus) (Containment, error) {
	if err := checkID(name, id); err != nil {
		return Containment{}, err
	}
	w, err := h.c.write(actionOf(ctx, action, []string{id}).op)
	if err != nil {
		return Containment{}, err
	}
	call := resilience.Call{Name: name, Kind: resilience.Idempotent, Reserve: true}
	out, err := send(ctx, h.c, call, w, func(a *answer) (Containment, error) {
		if _, err := a.open(name); err != nil {
			return Containment{}, err
		}
		return Containment{ID: id}, nil
	})
	if api, ok := errors.AsType[*APIError](err); ok && api.Status == http.StatusConflict {
		host, readErr := h.Get(ctx, id)
		if readErr != nil {
			return Containment{}, errors.Join(err, readErr)
		}
		if host.Status == done || host.Status == pending {
			return Containment{ID: id, Already: true, Status: host.Status}, nil
		}
	}
	return out, err
}

func actionOf(ctx context.Context, action string, ids []string) *capture {
	p := hosts.NewPerformActionV2ParamsWithContext(ctx)
	p.ActionName = action
	p.Body = &models.MsaEntityActionRequestV2{Ids: ids, ActionParameters: []*models.MsaspecActionParameter{}}
	op := &capture{}
	_, _ = hosts.New(op, nil).PerformActionV2(p)
	return op
}

func checkID(operation, id string) error {
	if strings.TrimSpace(id) == "" {
		return resilience.Misusef("falcon %s: the host's id is empty: pass a device id, as in Host.ID", operation)
	}
	return nil
}

func setIf(field **string, value string) {
	if value != "" {
		*field = &value
	}
}
