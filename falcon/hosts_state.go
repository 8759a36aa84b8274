package falcon

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/crowdstrike/gofalcon/falcon/client/hosts"
	"github.com/crowdstrike/gofalcon/falcon/models"

	"github.com/jurymast/jurymast/internal/lenient"
	"github.com/jurymast/jurymast/internal/paging"
	"github.com/jurymast/jurymast/resilience"
)

// OnlineState is whether a sensor talks to Falcon.
type OnlineState string

// The states of a sensor. Unknown is Falcon's word: do not take it for offline.
const (
	Online        OnlineState = "online"
	Offline       OnlineState = "offline"
	OnlineUnknown OnlineState = "unknown"
)

// HostOnline is a host's state at the time of the call.
type HostOnline struct {
	ID       string
	CID      string
	State    OnlineState
	LastSeen time.Time
	Raw      json.RawMessage
}

var onlineRows = rows[HostOnline]{id: "id", parse: object(func(o lenient.Object, raw json.RawMessage) (HostOnline, error) {
	h := HostOnline{
		ID: o.Str("id"), CID: o.Str("cid"), State: OnlineState(o.Str("state")), LastSeen: o.Time("last_seen"), Raw: raw,
	}
	if h.ID == "" || h.State == "" {
		return HostOnline{}, errors.New("no id or no state")
	}
	return h, nil
})}

// Online lists whether hosts are online, a hundred a call. An id that Falcon does
// not know is a *RowError. Scope: Hosts read.
func (h *Hosts) Online(ids ...string) *List[HostOnline] {
	const name = "hosts.online"
	return byIDs(name, ids, 100, func(ctx context.Context, chunk []string) (paging.Page[HostOnline], error) {
		p := hosts.NewGetOnlineStateV1ParamsWithContext(ctx)
		p.Ids = chunk
		var op capture
		_, _ = hosts.New(&op, nil).GetOnlineStateV1(p)
		return page(ctx, h.c, name, &op, onlineRows, false, nil)
	}, func(o HostOnline) string { return o.ID })
}

// LoginQuery selects logins. The zero query is the last ten of the last 7 days.
type LoginQuery struct {
	From, To time.Time // both inclusive; default: 7 days ago, and now
	Limit    int       // logins a host, at most 100; default 10
}

// HostLogins are the logins on one host, as Falcon ordered them.
type HostLogins struct {
	ID     string
	CID    string
	Logins []Login
	Raw    json.RawMessage
}

// Login is one login.
type Login struct {
	Time time.Time
	User string
}

var loginRows = rows[HostLogins]{id: "device_id", parse: object(func(o lenient.Object, raw json.RawMessage) (HostLogins, error) {
	h := HostLogins{ID: o.Str("device_id"), CID: o.Str("cid"), Raw: raw}
	if h.ID == "" {
		return HostLogins{}, errors.New("no device_id")
	}
	for _, l := range o.Objects("recent_logins") {
		h.Logins = append(h.Logins, Login{Time: l.Time("login_time"), User: l.Str("user_name")})
	}
	return h, nil
})}

// LoginHistory lists who logged in on hosts, ten hosts a call. An id that Falcon
// does not know is a *RowError. Scope: Hosts read.
func (h *Hosts) LoginHistory(q LoginQuery, ids ...string) *List[HostLogins] {
	const name = "hosts.login_history"
	return byIDs(name, ids, 10, func(ctx context.Context, chunk []string) (paging.Page[HostLogins], error) {
		if q.Limit < 0 || q.Limit > 100 {
			return paging.Page[HostLogins]{}, resilience.Misusef("falcon %s: LoginQuery.Limit %d: want 1 to 100", name, q.Limit)
		}
		p := hosts.NewQueryDeviceLoginHistoryV2ParamsWithContext(ctx)
		p.Body = &models.MsaIdsRequest{Ids: chunk}
		if q.Limit > 0 {
			limit := int64(q.Limit)
			p.Limit = &limit
		}
		setTime(&p.From, q.From)
		setTime(&p.To, q.To)
		var op capture
		_, _ = hosts.New(&op, nil).QueryDeviceLoginHistoryV2(p)
		return page(ctx, h.c, name, &op, loginRows, false, nil)
	}, func(l HostLogins) string { return l.ID })
}

func setTime(field **string, t time.Time) {
	if !t.IsZero() {
		setIf(field, t.UTC().Format(time.RFC3339))
	}
}
