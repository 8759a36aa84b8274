package falcon_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/falcon"
	"github.com/jurymast/jurymast/falcon/falcontest"
	"github.com/jurymast/jurymast/resilience"
	"github.com/jurymast/jurymast/resilience/fault"
)

const (
	nobody     = "0000000000000000000000000000dead"
	tagsPath   = "/devices/entities/devices/tags/v1"
	actionPath = "/devices/entities/devices-actions/v2"
)

func deviceIDs(n int) (ids []string) {
	for _, h := range fleet(n) {
		ids = append(ids, h.DeviceID)
	}
	return ids
}

// rowIDs are the ids of the *RowErrors among errors, joined ones too.
func rowIDs(t *testing.T, errs ...error) (ids []string) {
	t.Helper()
	for _, err := range errs {
		if all, ok := err.(interface{ Unwrap() []error }); ok {
			ids = append(ids, rowIDs(t, all.Unwrap()...)...)
			continue
		}
		row, ok := errors.AsType[*falcon.RowError](err)
		if !ok {
			t.Errorf("not about a row: %v", err)
			continue
		}
		ids = append(ids, row.ID)
	}
	return ids
}

func TestHostDetailsComeInChunks(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(5100)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		asked := append(deviceIDs(5100), nobody)
		ids, errs := gather(t, c.Hosts.Details(asked...), func(h falcon.Host) string { return h.ID })
		if err := allOf(5100, ids); err != nil || !slices.Equal(rowIDs(t, errs...), []string{nobody}) || !errors.Is(errs[0], falcon.ErrNotFound) ||
			!strings.HasPrefix(errs[0].Error(), `falcon hosts.details: row "`+nobody) {
			t.Error(err, errs)
		}
		if n := count(srv, "/devices/entities/devices/v2"); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestOnline(t *testing.T) {
	hosts := fleet(150)
	hosts[1].OnlineState, hosts[2].OnlineState = "offline", "unknown"
	cloud(t, falcontest.Config{Hosts: hosts}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		got, errs := gather(t, c.Hosts.Online(append(deviceIDs(150), nobody)...), func(o falcon.HostOnline) string {
			if o.LastSeen.IsZero() || o.CID != falcontest.CID {
				t.Errorf("%+v", o)
			}
			return string(o.State)
		})
		want := []string{"online", "offline", "unknown"}
		if len(got) != 150 || !slices.Equal(got[:3], want) || !slices.Equal(rowIDs(t, errs...), []string{nobody}) {
			t.Errorf("%q, %v", got, errs)
		}
		if n := count(srv, "/devices/entities/online-state/v1"); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestHideAndUnhide(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(120)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx := t.Context()
		ids := deviceIDs(120)
		n, err := c.Hosts.Hide(ctx, append(ids[:110:110], nobody)...)
		if n != 110 || !slices.Equal(rowIDs(t, err), []string{nobody}) {
			t.Fatalf("%d hidden, %v", n, err)
		}
		idOf := func(h falcon.Host) string { return h.ID }
		if left, errs := gather(t, c.Hosts.Query(falcon.HostQuery{}), idOf); len(left) != 10 || errs != nil {
			t.Errorf("%d left, %v", len(left), errs)
		}
		if hidden, errs := gather(t, c.Hosts.Query(falcon.HostQuery{Hidden: true, Limit: 30}), idOf); len(hidden) != 110 || errs != nil {
			t.Errorf("%d hidden, %v", len(hidden), errs)
		}
		// Those that are hidden are as wanted, whole calls of them too.
		if n, err := c.Hosts.Hide(ctx, ids...); n != 10 || err != nil {
			t.Errorf("%d hidden, %v", n, err)
		}
		if n, err := c.Hosts.Unhide(ctx, ids[0]); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if h, err := c.Hosts.Get(ctx, ids[0]); err != nil || h.Hidden {
			t.Errorf("%+v, %v", h, err)
		}
		if h, err := c.Hosts.Get(ctx, ids[1]); err != nil || !h.Hidden {
			t.Errorf("%+v, %v", h, err)
		}
	})
}

// A conflict that reading does not clear up stays an error.
func TestAHideThatIsRefusedIsAnError(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		body := fmt.Sprintf(`{"meta":{},"resources":[],"errors":[{"code":409,"message":"not now","id":%q}]}`, first)
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: actionPath, Status: 409, Body: body, Header: http.Header{"Content-Type": {"application/json"}}})
		n, err := c.Hosts.Hide(t.Context(), first)
		if n != 0 || !slices.Equal(rowIDs(t, err), []string{first}) || !strings.Contains(err.Error(), "not now") {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestTags(t *testing.T) {
	cloud(t, falcontest.Config{Hosts: fleet(700)}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx := t.Context()
		tags := []string{"FalconGroupingTags/vip", "FalconGroupingTags/berlin"}
		n, err := c.Hosts.AddTags(ctx, tags, append(deviceIDs(700), nobody)...)
		if n != 700 || !slices.Equal(rowIDs(t, err), []string{nobody}) || !strings.Contains(err.Error(), "No device found") || count(srv, tagsPath) != 2 {
			t.Fatalf("%d, %v, %d calls", n, err, count(srv, tagsPath))
		}
		if n, err := c.Hosts.RemoveTags(ctx, tags[:1], first); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if h, _ := srv.Host(first); !slices.Equal(h.Tags, tags[1:]) {
			t.Errorf("%q", h.Tags)
		}
		srv.ResetRequests()
		for _, bad := range [][]string{nil, {"vip"}, {"FalconGroupingTags/"}, {"SensorGroupingTags/x"}} {
			if _, err := c.Hosts.AddTags(ctx, bad, first); resilience.Of(err).Class != resilience.Misuse {
				t.Errorf("%q: %v", bad, err)
			}
		}
		if len(srv.Requests()) != 0 {
			t.Error("something was sent")
		}
	})
}

// A row that says neither that it was changed nor why not is no success.
func TestATagThatWasNotGivenIsAnError(t *testing.T) {
	cloud(t, falcontest.Config{}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		body := fmt.Sprintf(`{"meta":{},"resources":[{"device_id":%q,"updated":false}],"errors":[]}`, first)
		srv.Faults().Add(fault.Rule{Kind: fault.Status, Path: tagsPath, Status: 202, Body: body, Header: http.Header{"Content-Type": {"application/json"}}})
		n, err := c.Hosts.AddTags(t.Context(), []string{"FalconGroupingTags/vip"}, first)
		if n != 0 || !slices.Equal(rowIDs(t, err), []string{first}) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestLoginHistory(t *testing.T) {
	at := func(h int) time.Time {
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(h) * time.Hour)
	}
	hosts := fleet(12)
	hosts[0].Logins = []falcontest.Login{{Time: at(-200), User: "old"}, {Time: at(-3), User: "anna"}, {Time: at(-2), User: "ben"}, {Time: at(-1), User: "anna"}}
	cloud(t, falcontest.Config{Hosts: hosts}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		logins := func(q falcon.LoginQuery) string {
			t.Helper()
			got, errs := gather(t, c.Hosts.LoginHistory(q, deviceIDs(12)...), func(l falcon.HostLogins) string {
				s := ""
				for _, one := range l.Logins {
					s += fmt.Sprintf("%s %s ", one.User, at(0).Sub(one.Time))
				}
				return s
			})
			if len(got) != 12 || errs != nil {
				t.Errorf("%q, %v", got, errs)
			}
			return strings.Join(got, "")
		}
		for _, tc := range []struct {
			q    falcon.LoginQuery
			want string
		}{
			{falcon.LoginQuery{}, "anna 1h0m0s ben 2h0m0s anna 3h0m0s "},
			{falcon.LoginQuery{Limit: 1}, "anna 1h0m0s "},
			{falcon.LoginQuery{From: at(-300), To: at(-2)}, "ben 2h0m0s anna 3h0m0s old 200h0m0s "},
		} {
			if got := logins(tc.q); got != tc.want {
				t.Errorf("%+v: %q, want %q", tc.q, got, tc.want)
			}
		}
		if n := count(srv, "/devices/combined/devices/login-history/v2"); n != 6 {
			t.Errorf("%d calls", n)
		}
		_, errs := gather(t, c.Hosts.LoginHistory(falcon.LoginQuery{Limit: 101}, first), func(falcon.HostLogins) string { return "" })
		if len(errs) != 1 || resilience.Of(errs[0]).Class != resilience.Misuse {
			t.Errorf("%v", errs)
		}
	})
}

func TestHostGroups(t *testing.T) {
	groups := []falcontest.HostGroup{{Name: "canary"}, {Name: "ring 1"}, {Name: "servers", Type: "dynamic"}}
	cloud(t, falcontest.Config{Hosts: fleet(600), HostGroups: groups}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ctx := t.Context()
		found := map[string]falcon.HostGroup{}
		_, errs := gather(t, c.HostGroups.Query(falcon.HostGroupQuery{Limit: 2}), func(g falcon.HostGroup) string { found[g.Name] = g; return g.ID })
		canary := found["canary"]
		if len(found) != 3 || errs != nil || count(srv, "/devices/combined/host-groups/v1") != 2 || canary.Type != falcon.StaticByIDGroup || canary.Created.IsZero() {
			t.Fatalf("%+v, %v", found, errs)
		}
		members := func() int {
			t.Helper()
			ids, errs := gather(t, c.Hosts.Query(falcon.HostQuery{Filter: falcon.Equals("groups", canary.ID)}), func(h falcon.Host) string { return h.ID })
			if errs != nil {
				t.Error(errs)
			}
			return len(ids)
		}
		if err := c.HostGroups.AddHosts(ctx, canary.ID, deviceIDs(550)...); err != nil || members() != 550 {
			t.Errorf("%d members, %v", members(), err)
		}
		if err := c.HostGroups.AddHosts(ctx, canary.ID, first); err != nil || members() != 550 {
			t.Errorf("%d members, %v", members(), err)
		}
		if err := c.HostGroups.RemoveHosts(ctx, canary.ID, deviceIDs(549)...); err != nil || members() != 1 {
			t.Errorf("%d members, %v", members(), err)
		}
		if err := c.HostGroups.AddHosts(ctx, nobody, first); !errors.Is(err, falcon.ErrNotFound) {
			t.Errorf("%v", err)
		}
		if err := c.HostGroups.AddHosts(ctx, found["servers"].ID, first); err == nil {
			t.Error("a host in a dynamic group")
		}
		if err := c.HostGroups.AddHosts(ctx, " ", first); resilience.Of(err).Class != resilience.Misuse {
			t.Errorf("%v", err)
		}
	})
}

// Falcon shows 10,000 rows by offset; what is beyond must not be taken for nothing.
func TestTheOffsetWindowIsAnError(t *testing.T) {
	var groups []falcontest.HostGroup
	for i := range 10_050 {
		groups = append(groups, falcontest.HostGroup{Name: fmt.Sprintf("g%05d", i)})
	}
	cloud(t, falcontest.Config{HostGroups: groups}, nil, func(t *testing.T, srv *falcontest.Server, c *falcon.Client) {
		ids, errs := gather(t, c.HostGroups.Query(falcon.HostGroupQuery{Limit: 3000}), func(g falcon.HostGroup) string { return g.Name })
		if len(ids) != 10_000 || !slices.IsSorted(ids) || len(errs) != 1 || !errors.Is(errs[0], falcon.ErrWindow) {
			t.Errorf("%d groups, %v", len(ids), errs)
		}
	})
}
